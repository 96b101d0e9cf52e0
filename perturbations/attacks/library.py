"""The attacks of torchattacks, by name, on the sets of this package.

They expect inputs in [0, 1] and radii in that unit; what they return is stretched back to the network's own range, projected
onto the set, and judged by the network like any other point.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.perturbations.attacks.gradient import Attack, AttackResult, Sight, Worst
from neurocert.perturbations.balls import Ball

PREFIX = "torchattacks:"
LOGITS_ONLY = {"GN", "OnePixel", "Pixle", "SPSA", "Square", "VANILA"}
NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
"""Ours to theirs."""
RADII = ("eps", "max_epsilon")
"""What their attacks call a radius."""
FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError)
"""What their code raises on inputs that it does not expect."""


@dataclass(frozen=True)
class LibraryAttack(Attack):
    """One attack of torchattacks, with its own default parameters; its radius, step size and norm are the set's.

    Attributes:
        kind: the name of its class there.
        version: of the library.
    """

    kind: str
    version: str

    @property
    def name(self) -> str:  # type: ignore[override]
        return PREFIX + self.kind

    @property
    def sees(self) -> Sight:  # type: ignore[override]
        return "logits" if self.kind in LOGITS_ONLY else "both" if self.kind == "AutoAttack" else "gradients"

    def describe(self) -> str:
        return f"{self.kind} of torchattacks {self.version}, its own parameters at this radius, projected onto the set"

    def search(self, network: nn.Module, inputs: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> AttackResult:
        """
        Raises:
            InputError: an infinite input range, a norm that this attack does not know, or a failure of the library.
        """
        if not (math.isfinite(ball.low) and math.isfinite(ball.high)):
            raise InputError(
                f"{self.name}: the input range is [{ball.low:g}, {ball.high:g}], expected a finite one", "clip the set to a range"
            )
        worst = Worst(network, inputs, labels)
        if ball.epsilon > 0:
            unit = _Unit(worst.network, ball.low, ball.high).eval()
            with _quiet(network, int(torch.randint(2**31, (1,), generator=generator))), self._explained(inputs):
                attacker = getattr(_library(), self.kind)(unit, **self._parameters(unit, inputs, ball))
                found = unit.leave(attacker(unit.enter(inputs), labels).detach())
            worst.offer(ball.project(found.to(inputs.dtype), inputs))
        return worst.result()

    def _parameters(self, unit: _Unit, inputs: Tensor, ball: Ball) -> dict[str, Any]:
        """The radius and the norm of the set, a step size in the library's own proportion to the radius, classes and seed."""
        known = {name: value.default for name, value in inspect.signature(getattr(_library(), self.kind)).parameters.items()}
        radius = ball.epsilon / (unit.high - unit.low)
        given: dict[str, Any] = {name: radius for name in RADII if name in known}
        if "eps" in known and "alpha" in known:
            given["alpha"] = known["alpha"] / known["eps"] * radius
        if "norm" in known:
            given["norm"] = self._norm(ball)
        if "n_classes" in known:
            with torch.no_grad():
                given["n_classes"] = unit(unit.enter(inputs[:1])).shape[1]
        return given | ({"seed": int(torch.randint(2**31, ()))} if "seed" in known else {})

    def _norm(self, ball: Ball) -> str:
        norm = getattr(ball, "norm", None)
        if norm not in NORMS:
            raise InputError(f"{self.name}: the set is a {type(ball).__name__}, expected a ball of norm {', '.join(NORMS)}")
        return NORMS[norm]

    @contextmanager
    def _explained(self, inputs: Tensor) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            if isinstance(error, InputError):
                raise
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"{self.name} failed on inputs of shape {tuple(inputs.shape[1:])}: {said}", "choose another attack") from error


class _Unit(nn.Module):
    """A network whose inputs are stretched from [low, high] to [0, 1]."""

    def __init__(self, network: nn.Module, low: float, high: float) -> None:
        super().__init__()
        self.network, self.low, self.high = network, low, high

    def enter(self, inputs: Tensor) -> Tensor:
        return ((inputs - self.low) / (self.high - self.low)).clamp(0, 1)

    def leave(self, inputs: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * inputs

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(self.leave(inputs))


def library_attack(kind: str) -> LibraryAttack:
    """The attack of this name in torchattacks.

    Raises:
        InputError: the library is missing, or has no such attack.
    """
    library = _library()
    known = library_names()
    if kind not in known:
        raise InputError(f"torchattacks {library.__version__} has no attack {kind!r}, expected one of {', '.join(known)}")
    return LibraryAttack(kind, library.__version__)


def library_names() -> tuple[str, ...]:
    """Names of the attacks on one network that torchattacks offers.

    Raises:
        InputError: the library is missing.
    """
    library = _library()
    return tuple(sorted(set(library.__all__) - set(library.__wrapper__)))


def _library() -> ModuleType:
    try:
        import torchattacks
    except ImportError as error:
        raise InputError(f"torchattacks cannot be imported: {error}", "pip install --no-deps torchattacks adds it") from error
    return torchattacks


@contextmanager
def _quiet(network: nn.Module, seed: int) -> Iterator[None]:
    """The library draws from global generators, prints, and leaves gradients on parameters; none of it outlives the block."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    state = np.random.get_state()  # noqa: NPY002  (the generator that the library uses)
    with torch.random.fork_rng(), redirect_stdout(StringIO()), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            for parameter in learning:
                parameter.requires_grad_(False)
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
            for parameter in learning:
                parameter.requires_grad_(True)
