"""Until when bounds are looked for."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from neurocert.certify.errors import OutOfTime


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
        """
        Raises:
            OutOfTime: it has passed.
        """
        if time.monotonic() > self.at:
            raise OutOfTime("the deadline has passed")


NEVER = Deadline(math.inf)
