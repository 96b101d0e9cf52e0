"""Until when bounds are looked for."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from neurocert.certify.errors import ConfigError, OutOfTime


@dataclass(frozen=True)
class Deadline:
    """A point in time.

    Attributes:
        at: on the clock of ``time.monotonic``, in seconds.
    """

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """So many seconds from now."""
        return cls(time.monotonic() + seconds)

    def check(self) -> None:
        """Ends whatever asks too late.

        Raises:
            OutOfTime: it has passed.
        """
        if time.monotonic() > self.at:
            raise OutOfTime("the deadline has passed")


NEVER = Deadline(math.inf)


def require_time_limit(seconds: float | None) -> None:
    """Refuses what cannot be a time limit; None is none.

    Raises:
        ConfigError: not a finite number above 0.
    """
    if seconds is not None and not (isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds < math.inf):
        raise ConfigError(f"time limit is {seconds!r}, expected a number of seconds above 0")
