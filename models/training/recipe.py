"""Training recipes: TOML files that say everything a training depends on."""

from __future__ import annotations

import hashlib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from neurocert.models.errors import InputError, RecipeError
from neurocert.models.files import printable, read_file
from neurocert.models.registry import check_parameters
from neurocert.models.schema import ArchitectureSpec, Classes, Name, Number, SemanticsSpec, Strict, explain

SUFFIX = ".toml"
MAX_BYTES = 2**20
BUILT_IN = "digits"


class DataSpec(Strict):
    """What is learned.

    Attributes:
        source: "digits" comes with the package; any other word names data whose folder the user gives.
        low, high: the range of the input, in input units.
    """

    source: Name
    low: Number = 0.0
    high: Number = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> DataSpec:
        if not self.low < self.high:
            raise ValueError(f"got low {self.low} and high {self.high}, expected low < high")
        return self


class TrainingSpec(Strict):
    """How it is learned: cross-entropy by mini-batches, through surrogate gradients and time where the network spikes.

    Attributes:
        seed: of initialisation, shuffling and noise.
        momentum: of "sgd"; "adam" has its usual moments.
        schedule: of the learning rate, "cosine" down to 0 or "constant".
        weight_decay: L2 penalty as the optimiser applies it, on every parameter.
        l1: weight of the sum of absolute values of all convolution and linear weights.
        label_smoothing: share of the target spread over all classes.
        input_noise: half width of uniform noise added to every pixel (then clipped to the range), in input units.
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    batch_size: Annotated[int, Field(ge=2, le=65_536)]
    optimiser: Literal["sgd", "adam"]
    learning_rate: Annotated[float, Field(gt=0, le=100)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    l1: Annotated[float, Field(ge=0, le=1)] = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    input_noise: Annotated[float, Field(ge=0, le=1e30)] = 0.0


class LinearSpec(Strict):
    """Linear bounds of the margins, mixed with the interval ones: (1 - share) interval + share linear.

    Source: Zhang et al. 2020 (CROWN-IBP), there from 1 to 0.

    Attributes:
        start, end: the share at the beginning of the ramp and after it, linear in between; a linear pass costs several times an
            interval pass, and where the share is 0 there is none.
    """

    start: Annotated[float, Field(ge=0, le=1)] = 1.0
    end: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _some(self) -> LinearSpec:
        if self.start == self.end == 0:
            raise ValueError("got start 0 and end 0, expected one of them above 0; leave the table out for intervals alone")
        return self


class RobustSpec(Strict):
    """Training through bounds: the loss is that of the worst margins in a box around each image.

    Source: Shi et al. 2021 (weights, warm-up, regularisers); Gowal et al. 2018 (schedule, larger radius in training).

    Attributes:
        norm: of the ball that is certified.
        epsilon: its radius, in input units; validation images certified there choose the best epoch.
        stretch: the radius trained for, as a multiple of ``epsilon``.
        warm_up_epochs: passes at radius 0.
        ramp_epochs: passes after that, over which the radius grows linearly and the regularisers fade.
        clean_weight: weight of the clean cross-entropy after the ramp; 1 before it.
        tightness: weight of the regulariser against layers that widen bounds.
        balance: weight of the regulariser against layers whose neurons are mostly on or mostly off.
        weights: "interval" draws convolutions and linear layers so that widths neither grow nor fade; "default" keeps torch's.
        linear: linear bounds beside the interval ones, if there are any.
    """

    norm: Literal["linf"]
    epsilon: Annotated[float, Field(gt=0, le=1e30)]
    stretch: Annotated[float, Field(ge=1, le=10)] = 1.0
    warm_up_epochs: Annotated[int, Field(ge=0, le=10_000)]
    ramp_epochs: Annotated[int, Field(ge=0, le=10_000)]
    clean_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    tightness: Annotated[float, Field(ge=0, le=100)] = 0.5
    balance: Annotated[float, Field(ge=0, le=100)] = 0.5
    weights: Literal["interval", "default"] = "interval"
    linear: LinearSpec | None = None


class MasksSpec(Strict):
    """How the masks of PlasticFlex layers are held in training.

    Source: PlasticFlex thesis, Eq. 3.5 and Algorithm 3.

    Attributes:
        weight: lambda of the penalty, added to the loss: the mean over layers, calls, samples and positions of (M - target)^2
            for "squared" and of abs(M - target) for "l1".
        target: tau, the value that masks are drawn to.
        penalty: "squared" or "l1".
        freeze_after: E_f, the epoch after which each layer's mean mask over the training split is binarised at 1/2 and stored,
            and thresholds and logits are dropped; the stored weights are then those of a later epoch. None: masks stay trainable.
    """

    weight: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    target: Annotated[float, Field(ge=0, le=1)] = 0.5
    penalty: Literal["squared", "l1"] = "squared"
    freeze_after: Annotated[int, Field(ge=1, le=10_000)] | None = None


class AugmentationSpec(Strict):
    """What happens to each training image before noise, anew in each epoch.

    Attributes:
        crop: pixels of the data's lowest value put around the image, of which a random window of its size is cut.
        flip: mirrored left to right, half of the time.
    """

    crop: Annotated[int, Field(ge=0, le=64)] = 0
    flip: bool = False


class SnanSpec(Strict):
    """A spiking neuron-astrocyte network before the classifier, which learns from its firing-rate maps.

    Attributes:
        seed: of connections, of the choice of images, and of noise.
        per_class: training images of each class that the classifier learns from.
        held_out: validation images, and test images, of each class.
        shown: training images of each class that the spiking network is shown, once.
        situation: the labels that it is shown; all where this is left out.
        noise: share of the enlarged pixels that are inverted in training and validation images; the network is shown clean ones.
        spiking: false for the control, whose maps are the enlarged images resampled, without a network.
        settings: fields of ``neurocert.models.snan.settings.Settings`` that are not the paper's.
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    per_class: Annotated[int, Field(ge=1)]
    held_out: Annotated[int, Field(ge=1)]
    shown: Annotated[int, Field(ge=1)]
    situation: Annotated[tuple[int, ...], Field(strict=False, min_length=1)] | None = None
    noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    spiking: bool = True
    settings: Annotated[dict[str, Any], Field(default_factory=dict)]


OPTIONAL = ("robust", "masks", "augmentation", "snan")
"""Tables that a recipe may leave out, and then are no part of its hash."""


def _static_or_table(value: Any) -> Any:
    """TOML has no null: the word "static" stands for a network without spikes."""
    if isinstance(value, str) and value != "static":
        raise ValueError(f'got {value!r}, expected "static" or a table [semantics.spiking]')
    return {"spiking": None} if value == "static" else value


class Recipe(Strict):
    """A training, completely described.

    Attributes:
        name: of the network that comes out.
        description: one sentence for people.
        classes: names of the logits, label 0 first.
        architecture, semantics: the network.
        data, training: what it learns, and how.
        robust: how it is made certifiable, if it is.
        masks: how PlasticFlex masks are held; by default they learn freely.
        augmentation: how training images are varied, if they are.
        snan: what stands before it, if anything does.
    """

    name: Name
    description: Name
    classes: Classes
    architecture: ArchitectureSpec
    semantics: Annotated[SemanticsSpec, BeforeValidator(_static_or_table)]
    data: DataSpec
    training: TrainingSpec
    robust: RobustSpec | None = None
    masks: MasksSpec | None = None
    augmentation: AugmentationSpec | None = None
    snan: SnanSpec | None = None

    @model_validator(mode="after")
    def _buildable(self) -> Recipe:
        check_parameters(self.architecture.name, self.architecture.parameters)
        return self

    @model_validator(mode="after")
    def _ramp_ends(self) -> Recipe:
        if self.robust and (before := self.robust.warm_up_epochs + self.robust.ramp_epochs) >= self.training.epochs:
            raise ValueError(f"robust: warm-up and ramp take {before} epochs of {self.training.epochs}, expected some left at full radius")
        return self

    @model_validator(mode="after")
    def _freezes_in_time(self) -> Recipe:
        if self.masks is None or self.masks.freeze_after is None:
            return self
        if self.masks.freeze_after >= self.training.epochs:
            raise ValueError(
                f"masks.freeze_after is {self.masks.freeze_after} of {self.training.epochs} epochs, expected some left after it"
            )
        if self.robust is not None:
            raise ValueError("masks.freeze_after and a table [robust]: masks cannot be frozen while bounds are trained through them")
        return self

    @model_validator(mode="after")
    def _one_table(self) -> Recipe:
        if self.robust and self.snan:
            raise ValueError("got both tables [robust] and [snan], expected one of them at most")
        return self

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON (all fields, defaults filled in): the same for the same training however the file is laid out.

        A table of ``OPTIONAL``, or the table [robust.linear], that is not there is left out.
        """
        absent: dict[str, Any] = {name: True for name in OPTIONAL if getattr(self, name) is None}
        if self.robust is not None and self.robust.linear is None:
            absent["robust"] = {"linear"}
        return hashlib.sha256(self.model_dump_json(exclude=absent).encode()).hexdigest()


def recipes() -> tuple[str, ...]:
    """Names of the recipes that come with the package, sorted."""
    return tuple(sorted(path.stem for path in _folder().glob(f"*{SUFFIX}")))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe that comes with the package, by its name, or any TOML file, by its path.

    Raises:
        RecipeError: not found, not TOML, or not a recipe; with the path of the field that is wrong.
    """
    name = str(name_or_path)
    path = _folder() / f"{name}{SUFFIX}" if name in recipes() else Path(name_or_path)
    try:
        data = read_file(path, MAX_BYTES)
    except InputError as error:
        raise RecipeError(f"{name}: {printable(error.message)}", error.hint or f"{_known()}; or give the path of a TOML file") from error
    try:
        return parse_recipe(data)
    except RecipeError as error:
        raise RecipeError(f"{name}: {printable(error.message)}", error.hint) from error


def parse_recipe(data: bytes) -> Recipe:
    """The recipe in the bytes of a TOML file.

    Raises:
        RecipeError: not TOML, or not a recipe.
    """
    try:
        return Recipe.model_validate(tomllib.loads(data.decode()))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecipeError(f"is not TOML: {error}") from error
    except ValidationError as error:
        raise RecipeError(f"is not a recipe: {explain(error)}") from error


def _known() -> str:
    """Names of the recipes whose data come with the package, and how many others there are."""
    names = recipes()
    near = [name for name in names if name.startswith(BUILT_IN)]
    return f"known recipes: {', '.join(near)}, and {len(names) - len(near)} more (certify ls recipes)"


def _folder() -> Path:
    return Path(str(resources.files("neurocert.models") / "recipes"))
