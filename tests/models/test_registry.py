from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from neurocert.models.errors import InputError
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.networks.flex_vgg import FlexVGG
from neurocert.models.registry import architectures, build, check_parameters
from neurocert.models.semantics import Semantics


def built(name: str, parameters: dict[str, Any], mean: tuple[float, ...] = (0.5,)) -> Classifier:
    space = InputSpace((1, 6, 6), 0.0, 1.0)
    return build(name, parameters, inputs=space, semantics=Semantics(None), classes=("a", "b"), mean=mean, std=mean)


def test_builds_what_the_parameters_say() -> None:
    network = built("flex-vgg", {"blocks": [[3, 2]], "hidden": [5], "mask": "sigmoid"})
    assert isinstance(network, FlexVGG)
    assert network.state_dict()["synapses.0.0.convolution.weight"].shape == (3, 1, 3, 3)
    assert "mask sigmoid" in repr(network)


def test_unknown_architecture_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown architecture 'resnet'") as error:
        built("resnet", {})
    assert error.value.hint == f"known: {', '.join(architectures())}" == "known: conv-net, flex-vgg, lenet, vgg, vit"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "architecture flex-vgg: blocks: Field required; hidden: Field required"),
        ({"blocks": [[3]], "hidden": []}, r"blocks.0.1: Field required"),
        (
            {"blocks": [[3, 1]], "hidden": [], "mask": "tanh"},
            "'hard-sigmoid-ste' or 'frozen', got 'tanh'",
        ),
        ({"blocks": [[3, 1]], "hidden": [], "width": 0}, "width: Input should be greater than 0, got 0"),
        ({"blocks": [[3, 1]], "hidden": [True]}, "hidden.0: Input should be a valid integer, got True"),
        ({"blocks": [[3, 1]], "hidden": [], "colour": "red"}, "colour: Extra inputs are not permitted, got 'red'"),
    ],
)
def test_bad_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        built("flex-vgg", parameters)


def test_normalisation_of_another_number_of_channels() -> None:
    with pytest.raises(InputError, match=r"got 2 means, expected one per channel \(1\)"):
        built("flex-vgg", {"blocks": [[3, 1]], "hidden": []}, mean=(0.5, 0.5))


def test_defaults_are_filled_in() -> None:
    filled = check_parameters("flex-vgg", {"blocks": [(3, 1)], "hidden": ()})
    routing = {"mask": "hard-sigmoid", "logits": "threshold", "slope": 1.0, "logits_norm": True, "mixing": "mask"}
    rest = {"width": 1.0, "surrogate": "sech-squared", "dropout": 0.0, "border": 0}
    assert filled == {"blocks": [[3, 1]], "hidden": [], **routing, **rest}


def test_import_does_not_load_torch() -> None:
    code = (
        "import sys; from neurocert.models import registry; from neurocert.models.training import recipe; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
