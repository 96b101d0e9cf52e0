"""The network architectures that a checkpoint or a recipe can name, with the schema of their parameters.

Cheap to import: torch is loaded when a network is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from neurocert.models.errors import InputError
from neurocert.models.schema import Size, Strict, explain

if TYPE_CHECKING:
    from neurocert.models.networks.classifier import Classifier, InputSpace
    from neurocert.models.semantics import Semantics

Block = Annotated[tuple[Size, Annotated[int, Field(ge=1, le=8)]], Field(strict=False)]


class FlexParameters(Strict):
    """What every network with PlasticFlex layers takes; see ``PlasticFlex`` and ``Layered``."""

    width: Annotated[float, Field(gt=0, le=16)] = 1.0
    mask: Literal["sigmoid", "hard-sigmoid", "binary", "hard-sigmoid-ste", "frozen"] = "hard-sigmoid"
    logits: Literal["threshold", "convolution"] = "threshold"
    slope: Annotated[float, Field(gt=0, le=100)] = 1.0
    logits_norm: bool = True
    mixing: Literal["mask", "maximum"] = "mask"
    surrogate: Literal["sech-squared", "arctangent", "rectangle"] = "sech-squared"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    border: Annotated[int, Field(ge=0, le=64)] = 0


class FlexVGGParameters(FlexParameters):
    """Parameters of ``FlexVGG``; see there."""

    blocks: Annotated[tuple[Block, ...], Field(min_length=1, max_length=64, strict=False)]
    hidden: Annotated[tuple[Size, ...], Field(max_length=16, strict=False)]


class VGGParameters(FlexParameters):
    """Parameters of ``VGG``; see there."""

    depth: Literal[6, 11, 16]
    flex: bool


class ConvNetParameters(Strict):
    """Parameters of ``ConvNet``; see there."""

    blocks: Annotated[tuple[Block, ...], Field(min_length=1, max_length=64, strict=False)]
    hidden: Annotated[tuple[Size, ...], Field(max_length=16, strict=False)]
    kernel_size: Annotated[int, Field(ge=1, le=15)] = 3
    surrogate: Literal["sech-squared", "arctangent", "rectangle"] = "sech-squared"


class LeNetParameters(Strict):
    """Parameters of ``LeNet``; see there."""

    channels: Annotated[tuple[Size, Size, Size], Field(strict=False)] = (8, 16, 32)
    hidden: Annotated[tuple[Size, ...], Field(min_length=1, max_length=16, strict=False)] = (200, 100)


class VisionTransformerParameters(Strict):
    """Parameters of ``VisionTransformer``; see there."""

    patch: Annotated[int, Field(ge=1, le=256)] = 4
    width: Size = 128
    depth: Annotated[int, Field(ge=1, le=64)] = 6
    heads: Annotated[int, Field(ge=1, le=64)] = 8
    feed_forward: Size = 256


@dataclass(frozen=True)
class Architecture:
    """A schema of parameters, and what builds a network from them and from what every network needs."""

    parameters: type[Strict]
    builder: Callable[..., Classifier]


def _flex_vgg(**arguments: Any) -> Classifier:
    from neurocert.models.networks.flex_vgg import FlexVGG

    return FlexVGG(**arguments)


def _conv_net(**arguments: Any) -> Classifier:
    from neurocert.models.networks.conv_net import ConvNet

    return ConvNet(**arguments)


def _lenet(**arguments: Any) -> Classifier:
    from neurocert.models.networks.lenet import LeNet

    return LeNet(**arguments)


def _vit(**arguments: Any) -> Classifier:
    from neurocert.models.networks.vit import VisionTransformer

    return VisionTransformer(**arguments)


def _vgg(**arguments: Any) -> Classifier:
    from neurocert.models.networks.vgg import VGG

    return VGG(**arguments)


_ARCHITECTURES = {
    "conv-net": Architecture(ConvNetParameters, _conv_net),
    "flex-vgg": Architecture(FlexVGGParameters, _flex_vgg),
    "lenet": Architecture(LeNetParameters, _lenet),
    "vit": Architecture(VisionTransformerParameters, _vit),
    "vgg": Architecture(VGGParameters, _vgg),
}


def architectures() -> tuple[str, ...]:
    """Names that ``build`` knows, sorted."""
    return tuple(sorted(_ARCHITECTURES))


def parameters(name: str) -> tuple[str, ...]:
    """Names of what an architecture takes."""
    return tuple(_ARCHITECTURES[name].parameters.model_fields)


def check_parameters(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, validated and with their defaults filled in.

    Raises:
        InputError: unknown architecture, or parameters that its schema refuses.
    """
    if name not in _ARCHITECTURES:
        raise InputError(f"unknown architecture {name!r}", f"known: {', '.join(architectures())}")
    try:
        return _ARCHITECTURES[name].parameters.model_validate(dict(parameters)).model_dump(mode="json")
    except ValidationError as error:
        raise InputError(f"architecture {name}: {explain(error)}") from error


def build(
    name: str,
    parameters: Mapping[str, Any],
    *,
    inputs: InputSpace,
    semantics: Semantics,
    classes: tuple[str, ...],
    mean: Sequence[float],
    std: Sequence[float],
) -> Classifier:
    """A network with fresh weights.

    Args:
        name: one of ``architectures()``.
        parameters: what that architecture takes; checked by its schema.
        inputs: shape and range of an input.
        semantics: static or spiking.
        classes: names of the logits.
        mean, std: normalisation per channel, in input units.

    Raises:
        InputError: unknown architecture, bad parameters, or parts that do not fit together.
    """
    checked = check_parameters(name, parameters)
    if len(mean) != inputs.shape[0]:
        raise InputError(f"normalisation: got {len(mean)} means, expected one per channel ({inputs.shape[0]})")
    return _ARCHITECTURES[name].builder(inputs=inputs, semantics=semantics, classes=classes, mean=mean, std=std, **checked)
