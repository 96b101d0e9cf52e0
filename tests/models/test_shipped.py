"""The checkpoints and recipes that come with the package are what they say they are."""

from __future__ import annotations

import pytest
import torch

from neurocert.models.checkpoints import load, resolve, shipped
from neurocert.models.data.digits import Split, digits
from neurocert.models.data.samples import require_fit
from neurocert.models.masks import routing
from neurocert.models.training.loop import train
from neurocert.models.training.recipe import load_recipe, recipes

VARIANTS = ("ann", "ann-flex", "snn", "snn-bp", "snn-bp-flex", "snn-flex")
FIRST = ("digits-flex-ann", "digits-flex-ann-robust", "digits-flex-snn", "digits-flex-snn-robust")
SIX = tuple(f"digits-vgg6-{variant}" for variant in VARIANTS)
DIGITS = (*FIRST, *SIX)
MNIST = ("mnist-conv-lif-robust", "mnist-flex-ann", "mnist-flex-ann-robust", "mnist-flex-snn")
HYBRIDS = (
    *(f"digits-snan{kind}" for kind in ("", "-control", "-vit")),
    *(f"mnist-snan{kind}" for kind in ("", "-control", "-situation", "-vit")),
)
FAMILIES = ("mnist-vgg6", "mnist-vgg6-small", "cifar10-vgg11", "imagenet100-vgg16")
ROBUST = ("digits-vgg6", "mnist-vgg6-small")
every_shipped = pytest.mark.parametrize("name", DIGITS)


def test_what_is_there() -> None:
    assert shipped() == DIGITS
    others = [f"{family}-{variant}" for family in FAMILIES for variant in VARIANTS]
    others += [f"{family}-{variant}-robust" for family in ROBUST for variant in VARIANTS]
    assert recipes() == tuple(sorted([*DIGITS, *MNIST, *HYBRIDS, *others]))


@every_shipped
def test_small(name: str) -> None:
    assert resolve(name).stat().st_size <= 300_000


@every_shipped
def test_made_by_the_recipe_of_its_name(name: str) -> None:
    metadata, recipe = load(name).metadata, load_recipe(name)
    assert (metadata.provenance.recipe.name, metadata.provenance.recipe.sha256) == (recipe.name, recipe.sha256)
    assert metadata.semantics == recipe.semantics
    assert metadata.provenance.data.sha256 == digits("train").sha256


@every_shipped
@pytest.mark.parametrize("split", ["train", "validation", "test"])
@torch.no_grad()
def test_as_accurate_as_it_says(name: str, split: Split) -> None:
    checkpoint, samples = load(name), digits(split)
    require_fit(samples, checkpoint.network.inputs, len(checkpoint.network.classes))
    stated = getattr(checkpoint.metadata.provenance.accuracy, split)
    assert stated.n == len(samples)
    # Not to the sample: another machine's float32 sums may move one that lies on a border.
    assert int((checkpoint.network(samples.inputs).argmax(1) == samples.labels).sum()) == pytest.approx(stated.correct, abs=1)
    assert stated.correct >= (0.96 if name in FIRST else 0.95) * stated.n


def test_one_spikes_and_one_does_not() -> None:
    assert load("digits-flex-ann").semantics.spiking is None
    described = "LIF, spike iff V > 1, hard reset to 0 (in-step), decay 0.5, T=4, direct encoding, mean readout"
    assert load("digits-flex-snn").semantics.describe() == described


@torch.no_grad()
def test_masks_route_both_ways() -> None:
    """A mask stuck at 0 or 1 would make the layer a plain pooling or a plain convolution."""
    for name in FIRST:
        network = load(name).network
        masks = network.synapses[0][0].mask(network.normalise(digits("test").inputs))  # type: ignore[index, operator]
        assert 0.1 < masks.mean() < 0.9


@pytest.mark.parametrize("name", SIX)
def test_the_six_variants_say_how_their_training_went(name: str) -> None:
    metadata = load(name).metadata
    assert metadata.history is not None
    assert len(metadata.history.loss) == metadata.provenance.epochs
    best = metadata.history.validation[metadata.provenance.best_epoch - 1]
    assert best == max(metadata.history.validation)
    assert len(metadata.history.routing) == (4 if "flex" in name else 0)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in SIX if "flex" in name])
def test_masks_of_every_layer_route_both_ways(name: str) -> None:
    for layer in routing(load(name).network, digits("test").inputs[:100]):
        assert 0.1 < layer.conv_ratio < 0.9


def test_a_variant_is_what_its_recipe_gives() -> None:
    """One of the six, trained again."""
    name = "digits-vgg6-ann"
    provenance = train(load_recipe(name))[1].provenance
    stated = load(name).metadata.provenance
    assert provenance.recipe == stated.recipe and provenance.data == stated.data
    for split in ("train", "validation", "test"):
        again, shipped_one = getattr(provenance.accuracy, split), getattr(stated.accuracy, split)
        assert again.n == shipped_one.n
        # Not to the sample: another machine's float32 sums lead to other weights.
        assert again.correct == pytest.approx(shipped_one.correct, abs=0.015 * again.n)
