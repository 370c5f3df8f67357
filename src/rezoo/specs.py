"""What exists, as data: frozen dataclasses that load without Keras, TensorFlow, NumPy or Rich."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from rezoo.errors import IncompatibleError, SpecError
from rezoo.names import suggest

if TYPE_CHECKING:
    import keras

    from rezoo.data.examples import Splits

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_CLASSES = 1_000_000
MAX_IMAGE_SIZE = 8192
MIN_CROP_PCT = 0.05


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """An architecture: what an entry point of the group `rezoo.architectures` names.

    Attributes:
        name: What users type; also timm's name where timm has the network.
        build: Called as `build(name=…, input_shape=…, num_classes=…,
            classifier_activation=…, **config)`; returns a functional `keras.Model`
            that gives logits `(N, num_classes)` float32 from `(N, H, W, C)`. It must
            import Keras inside its body: specs are loaded where Keras must not be.
        config: The arguments that tell this member of the family from the others.
        family: The name of the family, for lists.
        summary: One line for lists.
        source: The paper and section.
        image_size: Height and width in pixels that published figures assume.
    """

    name: str
    build: Callable[..., keras.Model]
    config: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""
    summary: str = ""
    source: str = ""
    image_size: int = 224


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A dataset: what an entry point of the group `rezoo.datasets` names.

    Attributes:
        name: What users type.
        open: Called without arguments; returns `rezoo.data.examples.Splits`. It must
            import NumPy, TensorFlow and the like inside its body.
        summary: One line for lists.
        classes: Number of classes, where it is known without opening.
        licence: Licence of the data, as its authors state it.
        recipe: The recipe that suits training from random weights.
        overrides: Recipe keys that this data needs otherwise (a digit must not be mirrored).
        val_fraction: The part of train that validates, where the data has no split for it.
        image_size: Height and width that training uses where neither recipe nor weights say.
        mean: Per-channel mean on 0..1 for networks trained from random weights.
        std: Per-channel standard deviation on 0..1, likewise. Its length is the number of channels.
    """

    name: str
    open: Callable[[], Splits]
    summary: str = ""
    classes: int | None = None
    licence: str = "unknown"
    recipe: str = "quick"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    val_fraction: float = 0.1
    image_size: int = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise SpecError(
                f"dataset {self.name!r}: mean has {len(self.mean)} channels, std {len(self.std)}"
            )


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image becomes the input of a network; travels with the weights.

    The shorter side is resized to `floor(size / crop_pct)` with antialiasing, the centre
    is cropped, values are divided by 255, `mean` is subtracted and `std` divided by
    (the geometry and the keys of timm's `pretrained_cfg`).

    Attributes:
        input_size: `(channels, height, width)`, channels first as timm writes it.
        crop_pct: The part of the resized shorter side that the crop keeps, 0.05 to 1.
        interpolation: `"bilinear"` or `"bicubic"`.
        mean: Per channel, on 0..1, RGB order.
        std: Per channel, on 0..1, RGB order.
        test_input_size: What the quoted accuracy was measured at, where it is not `input_size`.
        test_crop_pct: Likewise for `crop_pct`.
    """

    input_size: tuple[int, int, int] = (3, 224, 224)
    crop_pct: float = 0.875
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    test_input_size: tuple[int, int, int] | None = None
    test_crop_pct: float | None = None

    def __post_init__(self) -> None:
        channels = self.input_size[0]
        for size in filter(None, (self.input_size, self.test_input_size)):
            if len(size) != 3 or size[0] != channels or channels not in (1, 3):
                raise SpecError(f"input_size: {size}; it must be (1 or 3 channels, height, width)")
            if not all(1 <= side <= MAX_IMAGE_SIZE for side in size[1:]):
                raise SpecError(f"input_size: {size}; sides are 1 to {MAX_IMAGE_SIZE}")
        for crop in (self.crop_pct, self.test_crop_pct):
            if crop is not None and not MIN_CROP_PCT <= crop <= 1:
                raise SpecError(f"crop_pct: {crop}; allowed is {MIN_CROP_PCT} to 1")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise SpecError(
                f"interpolation: {self.interpolation!r}; allowed are 'bilinear' and 'bicubic'"
            )
        if not len(self.mean) == len(self.std) == channels:
            raise SpecError(f"mean and std must have {channels} values, one a channel")
        if not all(math.isfinite(v) for v in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise SpecError("mean and std must be finite, std above 0")

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.input_size[0]

    @property
    def size(self) -> tuple[int, int]:
        """`(height, width)` in pixels."""
        return self.input_size[1:]

    def at(self, image_size: int | None) -> Self:
        """Return the same preprocessing for square images of `image_size` pixels."""
        if image_size is None:
            return self
        size = (self.channels, image_size, image_size)
        return dataclasses.replace(self, input_size=size, test_input_size=None)

    def for_test(self) -> Self:
        """Return the preprocessing that the quoted accuracy was measured with."""
        return dataclasses.replace(
            self,
            input_size=self.test_input_size or self.input_size,
            crop_pct=self.test_crop_pct or self.crop_pct,
            test_input_size=None,
            test_crop_pct=None,
        )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The contents of a `config.json`: which network, for which classes, from which pixels.

    Attributes:
        architecture: The registered name.
        num_classes: Width of the head.
        preprocessing: How images become inputs.
        class_names: Names in the order of the head, or empty where they are not known.
        class_descriptions: Readable names, where `class_names` are ids (ImageNet's `n02123045`).
        tag: What follows the dot in `arch.tag`.
        licence: Licence of the weights, where stated.
        extra: rezoo's own and unknown keys at the root, kept and not obeyed.
        extra_cfg: Unknown keys of `pretrained_cfg`, kept likewise.
    """

    architecture: str
    num_classes: int
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    class_names: tuple[str, ...] = ()
    class_descriptions: tuple[str, ...] = ()
    tag: str = ""
    licence: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    extra_cfg: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.num_classes <= MAX_CLASSES:
            raise SpecError(f"num_classes: {self.num_classes}; allowed is 0 to {MAX_CLASSES}")
        for key in ("class_names", "class_descriptions"):
            names = getattr(self, key)
            if names and len(names) != self.num_classes:
                raise IncompatibleError(
                    f"{len(names)} {key.replace('_', ' ')} for num_classes = {self.num_classes}"
                )

    def label(self, index: int) -> str:
        """Return what to call class `index`: its description, its name or its number."""
        for names in (self.class_descriptions, self.class_names):
            if names:
                return names[index]
        return str(index)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything about a training run but the network and the data. One field, one TOML key.

    A recipe file may leave out `image_size`, `crop_pct` and `interpolation`: then the
    weights or the dataset decide. A run folder's `recipe.toml` has every key.
    """

    name: str  # what --recipe takes
    summary: str = ""  # one line for lists
    source: str = ""  # paper, or where the values come from
    # data
    image_size: int | None = None  # height and width in pixels
    crop_pct: float | None = None  # of the test transform
    interpolation: str | None = None  # of the test transform: bilinear, bicubic
    crop_scale: tuple[float, float] = (0.08, 1.0)  # area of the random-resized crop
    crop_ratio: tuple[float, float] = (0.75, 4 / 3)  # its width / height
    flip: float = 0.5  # probability of a horizontal flip
    # time
    epochs: int = 90
    batch_size: int = 256  # global
    # optimization
    optimizer: str = "sgd"  # sgd, adamw
    learning_rate: float = 0.1  # peak, after the warm-up, for this batch size
    backbone_lr_scale: float = 1.0  # learning rate of all but the head, relative to the head's
    momentum: float = 0.9  # sgd only
    nesterov: bool = False  # sgd only
    weight_decay: float = 1e-4  # sgd: L2 in the gradient (coupled); adamw: decoupled
    decay_norm_and_bias: bool = False  # whether it reaches gamma, beta and biases
    schedule: str = "cosine"  # cosine, step, constant
    warmup_epochs: float = 0.0  # linear, from 0
    step_epochs: int = 30  # schedule "step": x0.1 each so many epochs
    label_smoothing: float = 0.0
    # machine
    precision: str = "float32"  # float32, mixed_bfloat16
    seed: int = 0

    def __post_init__(self) -> None:
        for key, (allowed, text) in _RECIPE_RULES.items():
            value = getattr(self, key)
            if value is not None and not allowed(value):
                raise SpecError(f"recipe key {key} = {value!r}; allowed is {text}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, origin: str) -> Self:
        """Build a recipe from parsed TOML or options.

        Args:
            values: Recipe keys and values.
            origin: Where they come from, for messages.

        Raises:
            SpecError: An unknown key (with near ones), a wrong type or a value out of bounds.
        """
        types = {f.name: f.type for f in dataclasses.fields(cls)}
        cleaned = {}
        for key, value in values.items():
            if key not in types:
                raise SpecError(
                    f"{origin}: unknown recipe key {key!r}",
                    hint=suggest(key, types, "the keys are"),
                )
            cleaned[key] = _coerce(key, value, str(types[key]))
        return cls(**cleaned)

    def to_dict(self) -> dict[str, Any]:
        """Return every key that has a value, in the order of the fields."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}


def _interval(low: float, high: float) -> Callable[[Any], bool]:
    return lambda pair: low <= pair[0] <= pair[1] <= high


_RECIPE_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "image_size": (lambda v: 1 <= v <= MAX_IMAGE_SIZE, f"1 to {MAX_IMAGE_SIZE} pixels"),
    "crop_pct": (lambda v: MIN_CROP_PCT <= v <= 1, f"{MIN_CROP_PCT} to 1"),
    "interpolation": (lambda v: v in ("bilinear", "bicubic"), "bilinear or bicubic"),
    "crop_scale": (_interval(1e-4, 1.0), "[low, high] with 0.0001 <= low <= high <= 1"),
    "crop_ratio": (_interval(0.01, 100.0), "[low, high] with 0.01 <= low <= high <= 100"),
    "flip": (lambda v: 0 <= v <= 1, "a probability, 0 to 1"),
    "epochs": (lambda v: 1 <= v <= 100_000, "1 or more"),
    "batch_size": (lambda v: 1 <= v <= 1_000_000, "1 or more"),
    "optimizer": (lambda v: v in ("sgd", "adamw"), "sgd or adamw"),
    "learning_rate": (lambda v: v > 0, "above 0"),
    "backbone_lr_scale": (lambda v: 0 <= v <= 1, "0 (frozen) to 1"),
    "momentum": (lambda v: 0 <= v < 1, "0 to below 1"),
    "weight_decay": (lambda v: 0 <= v < 1, "0 to below 1"),
    "schedule": (lambda v: v in ("cosine", "step", "constant"), "cosine, step or constant"),
    "warmup_epochs": (lambda v: v >= 0, "0 or more"),
    "step_epochs": (lambda v: v >= 1, "1 or more"),
    "label_smoothing": (lambda v: 0 <= v < 1, "0 to below 1"),
    "precision": (lambda v: v in ("float32", "mixed_bfloat16"), "float32 or mixed_bfloat16"),
    "seed": (lambda v: 0 <= v < 2**31, "0 to 2147483647"),
}


def _coerce(key: str, value: Any, annotation: str) -> Any:
    """Check `value` against the field's annotation; text (from `--set`) is parsed as TOML would."""
    kind = annotation.removesuffix(" | None")
    if isinstance(value, str) and kind != "str":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise SpecError(f"recipe key {key} = {value!r}; it must be {_KINDS[kind]}") from None
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = _as_float(key, value)
    if kind == "float" and isinstance(value, float) and not math.isfinite(value):
        raise SpecError(f"recipe key {key} = {value}; it must be finite")
    good = {
        "str": lambda v: isinstance(v, str),
        "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
        "float": lambda v: isinstance(v, float),
        "bool": lambda v: isinstance(v, bool),
        "tuple[float, float]": lambda v: (
            isinstance(v, (list, tuple))
            and len(v) == 2
            and all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in v)
        ),
    }[kind]
    if not good(value):
        raise SpecError(f"recipe key {key} = {value!r}; it must be {_KINDS[kind]}")
    return tuple(_as_float(key, v) for v in value) if kind.startswith("tuple") else value


def _as_float(key: str, value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise SpecError(f"recipe key {key}: the number is beyond all bounds") from None


_KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple[float, float]": "two numbers, [low, high]",
}
