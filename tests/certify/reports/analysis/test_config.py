from __future__ import annotations

from typing import Any

import pytest

from neurocert.certify.errors import ConfigError
from neurocert.certify.reports.analysis.config import ALL_FIGURES, AnalysisConfig


def test_defaults_ask_for_everything_between_0_and_three_tenths() -> None:
    config = AnalysisConfig("network")
    assert config.figures == ALL_FIGURES
    assert (config.epsilons[0], config.epsilons[-1]) == (0.0, 0.3)


def test_a_section_stands_for_its_figures_in_the_pages_order() -> None:
    config = AnalysisConfig("network", figures=("rasters", "attacks"))
    assert config.figures == ("attack-curves", "attack-auc", "rasters")
    assert [section for section in ("training", "attacks", "landscape", "spiking") if config.wants(section)] == ["attacks", "spiking"]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown figure": ({"figures": ("rastrs",)}, r"there is no section or figure 'rastrs' \(sections: training, .*figures: training-loss"),
    "no figure": ({"figures": ()}, "figures: got none"),
    "no attack": ({"attacks": ()}, "attack: got none"),
    "unknown norm": ({"norm": "l0"}, "norm is 'l0'"),
    "one radius": ({"epsilons": (0.1,)}, "expected at least two radii, increasing"),
    "falling radii": ({"epsilons": (0.2, 0.1)}, r"epsilon is \[0.2, 0.1\], expected at least two radii, increasing"),
    "negative radius": ({"epsilons": (-0.1, 0.1)}, "expected finite numbers >= 0"),
    "too few samples": ({"samples": 3}, "samples: got 3, expected at least 4"),
    "too few indices": ({"samples": (1, 2, 3)}, "samples: got 3, expected at least 4"),
    "an index twice": ({"samples": (1, 2, 3, 1)}, "an index is named twice"),
    "radius": ({"radius": 0.0}, "radius is 0.0"),
    "even grid": ({"points": 20}, "points is 20, expected an odd number"),
    "seed": ({"seed": -1}, "seed is -1"),
}


@pytest.mark.parametrize(("fields", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AnalysisConfig("network", **fields)


def test_attacks_may_be_none_where_no_curve_is_asked_for() -> None:
    assert AnalysisConfig("network", attacks=(), figures=("hessian",)).attacks == ()
