"""What a run is asked to do, checked as a whole before anything is loaded."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from neurocert.certify.deadline import require_time_limit
from neurocert.certify.errors import ConfigError

NORMS = ("linf", "l2", "l1", "flips")
SUITE = "fgsm,pgd,spgd,apgd-ce,apgd-dlr,apgd-t,square,surrogates,softened,refined"
"""What ``certify attack`` runs unless told otherwise."""
GRID = "0,0.02,0.05,0.1,0.15,0.2,0.25,0.3"
"""Its radii; [0, 0.3] is the range of the PlasticFlex thesis."""
REQUIREMENT = re.compile(r"certified>=(?P<share>[0-9.eE+-]+)@(?P<epsilon>[0-9.eE+-]+)")


@dataclass(frozen=True)
class Requirement:
    """At least this share of the samples must be certified at this radius."""

    share: float
    epsilon: float

    def __str__(self) -> str:
        return f"certified>={self.share:g}@{self.epsilon:g}"


@dataclass(frozen=True)
class WeightTolerance:
    """Every weight may be off by up to relative |w| + absolute.

    Attributes:
        relative: share of each weight's size.
        absolute: in the unit of the weights.
        names: patterns of the parameters that may be, such as "*.weight"; the others are as stored.
    """

    relative: float = 0.0
    absolute: float = 0.0
    names: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        for name in ("relative", "absolute"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            _require(is_number and math.isfinite(value) and value >= 0, f"weights: {name} is {value!r}, expected a finite number >= 0")
        _require(self.relative + self.absolute > 0, "weights: got no tolerance, expected a relative or an absolute one above 0")
        _require(isinstance(self.names, tuple) and len(self.names) > 0, f"weights: names are {self.names!r}, expected a tuple of patterns")


@dataclass(frozen=True)
class RunConfig:
    """One run: a network, samples, radii, methods, attacks.

    Attributes:
        checkpoint: file, or the name of a shipped checkpoint.
        data: "digits", a folder of IDX files, an IDX file, or an .npz.
        epsilons: radii in input units, or numbers of flips; increasing.
        norm: "linf", "l2", "l1", or "flips" of binary inputs.
        methods: "interval", "linear", "optimised", "enumeration" (of flips), "auto-lirpa"; may be empty if there are attacks.
        attacks: names (``certify ls attacks``), or "torchattacks:NAME"; may be empty if there are methods.
        samples: the first so many of the test split, or their indices; None for the first 100, or all of fewer.
        seed: of the attacks' random starts.
        arithmetic: "float32" or "real"; None for that of the weights.
        requirements: thresholds on the certified share.
        weights: how far the weights may be off, together with the inputs; None for those that are stored.
        time_limit: seconds in which each method must bound a sample at a radius, else it is unknown; None for any. What is proved then
            depends on the machine and its load.
        saturation: also attack the whole input range, to see whether gradients lead anywhere.
        command: recorded in the report.
    """

    checkpoint: str
    data: str = "digits"
    epsilons: tuple[float, ...] = (0.005, 0.01, 0.02)
    norm: str = "linf"
    methods: tuple[str, ...] = ("interval", "linear")
    attacks: tuple[str, ...] = ("fgsm", "pgd")
    samples: int | tuple[int, ...] | None = None
    seed: int = 0
    arithmetic: str | None = None
    requirements: tuple[Requirement, ...] = ()
    weights: WeightTolerance | None = None
    time_limit: float | None = None
    saturation: bool = False
    command: str = "neurocert.certify.run"

    def __post_init__(self) -> None:
        for name in ("epsilons", "methods", "attacks", "requirements"):
            value = getattr(self, name)
            _require(isinstance(value, tuple), f"{name} is {value!r}, expected a tuple")
        _require(len(self.epsilons) > 0, "epsilon: got none, expected at least one radius")
        for epsilon in self.epsilons:
            is_number = isinstance(epsilon, int | float) and not isinstance(epsilon, bool)
            _require(is_number and math.isfinite(epsilon) and epsilon >= 0, f"epsilon is {epsilon!r}, expected a finite number >= 0")
        increasing = all(a < b for a, b in zip(self.epsilons, self.epsilons[1:], strict=False))
        _require(increasing, f"epsilon is {list(self.epsilons)}, expected increasing radii")
        _require(self.norm in NORMS, f"norm is {self.norm!r}, expected one of {', '.join(NORMS)}")
        if self.norm == "flips":
            parts = [epsilon for epsilon in self.epsilons if epsilon != int(epsilon)]
            _require(not parts, f"epsilon is {parts[0] if parts else 0:g}, expected whole numbers of flips, such as 1,2,3")
        _require(len(self.methods) + len(self.attacks) > 0, "method and attack: got none of either, expected at least one")
        for name in ("methods", "attacks"):
            values = getattr(self, name)
            _require(len(set(values)) == len(values), f"{name}: {list(values)} names one twice")
        _require(self.samples not in ((), 0), "samples: got none, expected a number >= 1 or a list of indices")
        if isinstance(self.samples, int):
            _require(self.samples >= 1, f"samples is {self.samples}, expected a number >= 1 or a list of indices")
        elif self.samples is not None:
            _require(min(self.samples) >= 0, f"samples: got index {min(self.samples)}, expected indices >= 0")
            _require(len(set(self.samples)) == len(self.samples), "samples: an index is named twice")
        _require(0 <= self.seed < 2**63, f"seed is {self.seed}, expected 0 <= seed < 2^63")
        require_time_limit(self.time_limit)
        for requirement in self.requirements:
            _require(requirement.epsilon in self.epsilons, f"require {requirement}: {requirement.epsilon:g} is not among the radii")


def parse_requirement(text: str) -> Requirement:
    """Reads "certified>=0.9@0.01".

    Raises:
        ConfigError: another form, or a share outside [0, 1].
    """
    match = REQUIREMENT.fullmatch(text.replace(" ", ""))
    if match is None:
        raise ConfigError(f"require is {text!r}, expected the form certified>=0.9@0.01")
    share, epsilon = parse_number(match["share"], "require"), parse_number(match["epsilon"], "require")
    _require(0 <= share <= 1, f"require {text!r}: the share is {share:g}, expected a number in [0, 1]")
    return Requirement(share, epsilon)


def parse_numbers(text: str, option: str) -> tuple[float, ...]:
    """Reads "0.005,0.01"."""
    return tuple(parse_number(part, option) for part in parse_names(text))


def parse_tolerance(relative: str | None, absolute: str | None, names: str | None) -> WeightTolerance | None:
    """Reads what the command line says of uncertain weights; None if it says nothing.

    Raises:
        ConfigError: a value that cannot be used, or names without a tolerance.
    """
    if relative is None and absolute is None and names is None:
        return None
    by_share, by_amount = (
        0.0 if text is None else parse_number(text, option)
        for text, option in ((relative, "weights-relative"), (absolute, "weights-absolute"))
    )
    return WeightTolerance(by_share, by_amount, ("*",) if names is None else parse_names(names))


def parse_number(text: str, option: str) -> float:
    """A finite number.

    Raises:
        ConfigError: anything else.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    _require(math.isfinite(value), f"{option} is {text!r}, expected a finite number")
    return value


def parse_names(text: str) -> tuple[str, ...]:
    """Reads "fgsm,pgd"; "none" and the empty text give none."""
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    return () if names == ("none",) else names


def parse_samples(text: str) -> int | tuple[int, ...]:
    """Reads "50" (the first fifty) or "3,17,20" or "3," (indices).

    Raises:
        ConfigError: not whole numbers.
    """
    parts = parse_names(text)
    if not parts or not all(part.isdecimal() and part.isascii() and len(part) < 10 for part in parts):
        raise ConfigError(f"samples is {text!r}, expected a number such as 50, or indices such as 3,17,20")
    return tuple(map(int, parts)) if "," in text else int(parts[0])


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)
