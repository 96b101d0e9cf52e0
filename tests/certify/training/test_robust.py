"""Training through bounds: schedule, regularisers, and networks that end up certifiable."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neurocert.certify import LinfBall, Verdict, verify
from neurocert.certify.bounds.interval import Interval
from neurocert.certify.training.live import LiveBounds
from neurocert.certify.training.robust import RobustObjective, draw_interval_weights, imbalance, linear_share, looseness, ramp, train
from neurocert.models.checkpoints import encode
from neurocert.models.data.digits import digits
from neurocert.models.data.samples import Samples
from neurocert.models.errors import RecipeError
from neurocert.models.networks.classifier import Classifier
from neurocert.models.training import loop
from neurocert.models.training.recipe import LinearSpec, Recipe, RobustSpec, load_recipe

EPSILON = 0.03
ROBUST: dict[str, Any] = {"norm": "linf", "epsilon": EPSILON, "stretch": 1.5, "warm_up_epochs": 1, "ramp_epochs": 5}
SNN = load_recipe("digits-flex-snn").semantics.model_dump()


def recipe(robust: dict[str, Any] | None = None, semantics: dict[str, Any] | None = None, **training: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "small",
            "description": "a small network",
            "classes": [str(digit) for digit in range(10)],
            "architecture": {"name": "conv-net", "parameters": {"blocks": [[8, 2]], "hidden": [32]}},
            "semantics": semantics or {"spiking": None},
            "data": {"source": "digits"},
            "training": {"seed": 2, "epochs": 10, "batch_size": 50, "optimiser": "adam", "learning_rate": 0.01} | training,
            "robust": robust,
        }
    )


def certified(network: Classifier, samples: Samples, method: str = "interval", epsilon: float = EPSILON) -> int:
    certificates = verify(network, samples.inputs, samples.labels, LinfBall(epsilon), method, attack=None)
    return sum(certificate.verdict is Verdict.CERTIFIED for certificate in certificates)


CLIP = load_recipe("digits-vgg6-snn").semantics.model_dump()


@pytest.mark.parametrize("semantics", [None, SNN, CLIP], ids=["static", "spiking", "clip"])
def test_certifies_far_more_than_plain_training(semantics: dict[str, Any] | None) -> None:
    epochs: list[loop.Epoch] = []
    robust, metadata = train(recipe(ROBUST, semantics), on_epoch=epochs.append)
    plain, _ = train(recipe(None, semantics))
    validation = digits("validation")
    assert certified(robust, validation) > max(0.5 * len(validation), 2 * certified(plain, validation))
    best = epochs[metadata.provenance.best_epoch - 1]
    assert best.counts == "certified" and best.validation.correct == max(epoch.validation.correct for epoch in epochs)
    assert certified(robust, validation) >= best.validation.correct - 1  # counted in float32 there, and step by step through time


def test_linear_bounds_certify_what_was_trained_through_them() -> None:
    """At a radius where intervals lose: more than where intervals alone were trained, and by linear bounds only."""
    settings, validation = ROBUST | {"epsilon": 0.06, "stretch": 1.0}, digits("validation").take(range(150))
    intervals, _ = train(recipe(settings, seed=3))
    linear, _ = train(recipe(settings | {"linear": {"start": 1.0, "end": 1.0}}, seed=3))
    before, after = (certified(network, validation, "linear", 0.06) for network in (intervals, linear))
    assert after >= before > 0.7 * len(validation)
    assert certified(linear, validation, "interval", 0.06) < 0.1 * len(validation)


def test_same_recipe_same_bytes() -> None:
    short = ROBUST | {"ramp_epochs": 1}
    first, second, other = (encode(*train(recipe(short, SNN, epochs=3, seed=seed))) for seed in (1, 1, 2))
    assert first == second
    assert first != other


@pytest.mark.parametrize(
    "change",
    [
        {"epsilon": 0.01},
        {"stretch": 2.0},
        {"warm_up_epochs": 0},
        {"ramp_epochs": 2},
        {"clean_weight": 0.5},
        {"tightness": 0.0},
        {"balance": 0.0},
        {"weights": "default"},
        {"linear": {"start": 1.0, "end": 0.0}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_counts(change: dict[str, Any]) -> None:
    settings = ROBUST | {"ramp_epochs": 1}
    hashes = {train(recipe(changed, epochs=4))[1].tensors_sha256 for changed in (settings, settings | change)}
    assert len(hashes) == 2


def test_without_the_table_it_is_the_plain_training() -> None:
    assert encode(*train(recipe(epochs=1))) == encode(*loop.train(recipe(epochs=1)))


def test_the_plain_training_refuses_the_table() -> None:
    with pytest.raises(RecipeError, match="recipe small trains through bounds") as error:
        loop.train(recipe(ROBUST))
    assert error.value.hint == "use neurocert.certify.training.robust.train"


def test_divergence_is_an_error() -> None:
    with pytest.raises(RecipeError, match=r"recipe small: in epoch \d+ of 10 the loss is (nan|inf)"):
        train(recipe(ROBUST, optimiser="sgd", learning_rate=100.0, momentum=0.99))


def test_ramp() -> None:
    spec = RobustSpec(norm="linf", epsilon=0.1, warm_up_epochs=2, ramp_epochs=4)
    assert [ramp(spec, epoch) for epoch in (0.0, 1.99, 2.0, 3.0, 5.5, 6.0, 9.0)] == [0.0, 0.0, 0.0, 0.25, 0.875, 1.0, 1.0]
    sudden = RobustSpec(norm="linf", epsilon=0.1, warm_up_epochs=1, ramp_epochs=0)
    assert [ramp(sudden, epoch) for epoch in (0.5, 1.0)] == [0.0, 1.0]


def test_linear_share() -> None:
    falling = RobustSpec(norm="linf", epsilon=0.1, warm_up_epochs=0, ramp_epochs=4, linear=LinearSpec(start=1.0, end=0.5))
    assert [linear_share(falling, share) for share in (0.0, 0.5, 1.0)] == [1.0, 0.75, 0.5]
    assert linear_share(RobustSpec(norm="linf", epsilon=0.1, warm_up_epochs=0, ramp_epochs=4), 0.5) == 0.0


def test_the_mix_lies_between_its_parts_and_is_left_out_where_nothing_of_it_counts() -> None:
    network, _ = train(recipe(epochs=2))
    samples = digits("validation").take(range(20))

    def loss(start: float, end: float, epoch: float) -> float:
        robust = ROBUST | {"weights": "default", "tightness": 0.0, "balance": 0.0, "linear": {"start": start, "end": end}}
        return RobustObjective(network.eval(), recipe(robust)).loss(samples.inputs, samples.labels, epoch).item()

    plain = RobustObjective(network.eval(), recipe(ROBUST | {"weights": "default"}))
    intervals = plain.loss(samples.inputs, samples.labels, 6.0).item()
    assert loss(1.0, 1.0, 6.0) < loss(1.0, 0.5, 6.0) < intervals
    assert loss(1.0, 0.0, 6.0) == intervals
    assert loss(1.0, 0.0, 3.0) < loss(0.5, 0.0, 3.0)


def test_training_that_ends_with_linear_bounds_counts_what_they_certify() -> None:
    network, _ = train(recipe(epochs=4))
    samples = digits("validation")
    plain = ROBUST | {"weights": "default"}
    settings = plain | {"linear": {"start": 1.0, "end": 1.0}}, plain
    linear, intervals = (RobustObjective(network, recipe(robust)).evaluate(samples)[0].correct for robust in settings)
    assert linear > intervals
    assert linear <= certified(network, samples, "linear") + 1  # which refines its intervals, too


def test_loss_follows_the_ramp() -> None:
    """Clean before it; after it that of the worst margins, which is larger; between them a mix and the regularisers."""
    torch.manual_seed(0)
    plain = recipe(ROBUST | {"weights": "default", "tightness": 0.0, "balance": 0.0})
    network, _ = train(recipe(epochs=2))
    network.eval()
    samples = digits("train").take(range(20))

    def loss(epoch: float, recipe: Recipe = plain) -> float:
        return RobustObjective(network, recipe).loss(samples.inputs, samples.labels, epoch).item()

    clean = nn.functional.cross_entropy(network(samples.inputs), samples.labels).item()
    assert loss(0.5) == pytest.approx(clean)
    assert clean < loss(3.0) < loss(6.0)
    assert loss(6.0) == loss(9.0)
    assert loss(6.0, recipe(ROBUST | {"weights": "default", "clean_weight": 1.0})) == pytest.approx(clean)
    assert loss(3.0, recipe(ROBUST | {"weights": "default"})) > loss(3.0)


def test_evaluation_counts_what_is_certified() -> None:
    network, _ = train(recipe(epochs=4))
    samples = digits("validation")
    score, _ = RobustObjective(network, recipe(ROBUST | {"weights": "default"})).evaluate(samples)
    assert (score.correct, score.n) == (pytest.approx(certified(network, samples), abs=1), len(samples))


def test_interval_weights_keep_widths() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(*[layer for _ in range(6) for layer in (nn.Linear(400, 400), nn.ReLU())])
    draw_interval_weights(network)
    lower, upper = torch.full((20, 400), -0.5), torch.full((20, 400), 0.5)
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, nn.Linear):
                centre, radius = layer((lower + upper) / 2), (upper - lower) / 2 @ layer.weight.abs().T
                lower, upper = centre - radius, centre + radius
            else:
                lower, upper = lower.relu(), upper.relu()
    assert 0.4 < float((upper - lower).mean()) < 1.2


def bounds_of(neurons: list[tuple[Tensor, Tensor]], width: float) -> LiveBounds:
    intervals = tuple(Interval(lower, upper) for lower, upper in neurons)
    return LiveBounds(torch.zeros(1), torch.zeros(1), None, Interval(torch.zeros(4), torch.full((4,), width)), intervals)


def test_looseness() -> None:
    """Nothing up to twice the input's width; 0.6 of the way where it is five times as wide."""
    narrow, wide = (torch.zeros(3), torch.full((3,), 2.0)), (torch.zeros(3), torch.full((3,), 5.0))
    assert looseness(bounds_of([narrow], 1.0)).item() == 0.0
    assert looseness(bounds_of([wide], 1.0)).item() == pytest.approx(0.6)
    assert looseness(bounds_of([narrow, wide], 1.0)).item() == pytest.approx(0.3)


def test_a_network_without_switches_has_nothing_to_regularise() -> None:
    none = bounds_of([], 1.0)
    assert looseness(none).item() == 0.0 and imbalance(none).item() == 0.0


def test_imbalance() -> None:
    def of(*centres: float) -> float:
        ends = torch.tensor(centres)
        return imbalance(bounds_of([(ends - 1.0, ends + 1.0)], 1.0)).item()

    assert of(-1.0, 1.0, 2.0, -2.0) == 0.0
    assert of(-1.0, -1.0, -3.0, -4.0) == pytest.approx(2.0)
    assert of(-1.0, -1.0, 0.5) == pytest.approx(0.5)  # centres sum to 1/4 of the other side's; the deviations are even


def test_regularisers_stay_finite_where_nothing_is_undecided() -> None:
    ends = torch.zeros(3, requires_grad=True)
    found = bounds_of([(ends, ends + 0.0)], 1.0)
    (looseness(found) + imbalance(found)).backward()
    assert ends.grad is not None and torch.isfinite(ends.grad).all()
