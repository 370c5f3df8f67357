"""Specs of what exists: frozen dataclasses that load without Keras, TensorFlow and NumPy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from rezoo.errors import IncompatibleError, SpecError
from rezoo.utils.files import FileRecord
from rezoo.utils.licences import forbids_commercial_use

if TYPE_CHECKING:
    import keras

    from rezoo.confidence import Calibration
    from rezoo.data.examples import Splits

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_CLASSES, MAX_IMAGE_SIZE, MIN_CROP_PCT = 1_000_000, 8192, 0.05
INTERPOLATIONS, CROP_MODES = ("bilinear", "bicubic"), ("center", "squash", "border")
MAX_CLASS_NAME = 1000  # characters; descriptions of ImageNet-21k have up to 300


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """An architecture, named by an entry point of the group `rezoo.architectures`.

    Attributes:
        name: The name that users type; also timm's name if timm has the network.
        build: Called as `build(name=…, input_shape=…, num_classes=…, classifier_activation=…,
            **config)`, with `stochastic_depth` and `seed` if training uses stochastic depth.
            Returns a functional `keras.Model` from `(N, H, W, C)` to logits `(N, num_classes)`,
            float32. It must import Keras inside its body, so that specs load without Keras.
        config: Arguments of `build` that distinguish the members of a family.
        family: The name of the family, for lists.
        summary: One line for lists.
        source: Paper and section.
        image_size, num_classes: Height and width in pixels, and classes, of published figures.
        params, macs: Trainable parameters, and multiply-adds for one image; None if not stated.
        in_timm: Whether timm has this network under this name, so that weights load there too.
    """

    name: str
    build: Callable[..., keras.Model]
    config: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""
    summary: str = ""
    source: str = ""
    image_size: int = 224
    num_classes: int = 1000
    params: int | None = None
    macs: int | None = None
    in_timm: bool = False


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A dataset, named by an entry point of the group `rezoo.datasets`.

    Attributes:
        name: The name that users type.
        open: Called without arguments; returns `rezoo.data.examples.Splits`. It must
            import NumPy, TensorFlow and the like inside its body.
        summary: One line for lists.
        classes: Number of classes; None if it is not known without opening the data.
        licence: Licence of the data, as its authors state it.
        recipe: Recipe for training from random weights.
        overrides: Recipe keys with another value for this data: digits must not be mirrored.
        val_fraction: Fraction of train for validation, if the data has no validation split.
        shareable: Whether its licence allows single images in the reference batch of a run.
        hub_id: Name of the dataset on the Hub, for model cards.
        image_size: Height and width for training, if neither recipe nor weights have one.
        mean, std: Of each channel on 0..1, for training from random weights; 1 or 3 values each.
    """

    name: str
    open: Callable[[], Splits]
    summary: str = ""
    classes: int | None = None
    licence: str = "unknown"
    recipe: str = "quick"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    val_fraction: float = 0.1
    shareable: bool = False
    hub_id: str = ""
    image_size: int = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if (mean := len(self.mean)) != (std := len(self.std)):
            raise SpecError(f"dataset {self.name!r}: mean has {mean} channels, std {std}")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image becomes the input of a network; stored with the weights.

    It is resized with antialiasing, and the centre is cropped. Values are divided by 255, `mean` is
    subtracted, the result divided by `std`: as timm does.

    Attributes:
        input_size: `(channels, height, width)`, channels first as in timm.
        crop_pct: Fraction of a resized side that the crop keeps, 0.05 to 1.
        crop_mode: What is resized to `floor(size / crop_pct)`. `"center"`: the shorter side;
            `"squash"`: both sides; `"border"`: the longer side, with a border of the mean colour.
        interpolation: `"bilinear"` or `"bicubic"`.
        mean, std: Per channel, on 0..1, RGB order.
        test_input_size, test_crop_pct: Those of the published accuracy; None if they are the same.
    """

    input_size: tuple[int, int, int] = (3, 224, 224)
    crop_pct: float = 0.875
    crop_mode: str = "center"
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    test_input_size: tuple[int, int, int] | None = None
    test_crop_pct: float | None = None

    def __post_init__(self) -> None:
        for name in ("input_size", "mean", "std"):  # tuples have a hash, lists have none
            object.__setattr__(self, name, tuple(getattr(self, name)))
        channels = self.input_size[0]
        for size in filter(None, (self.input_size, self.test_input_size)):
            if len(size) != 3 or size[0] != channels or channels not in (1, 3):
                raise SpecError(f"input_size: {size}; it must be (1 or 3 channels, height, width)")
            if not all(1 <= side <= MAX_IMAGE_SIZE for side in size[1:]):
                raise SpecError(f"input_size: {size}; sides are 1 to {MAX_IMAGE_SIZE}")
        for crop in (self.crop_pct, self.test_crop_pct):
            if crop is not None and not MIN_CROP_PCT <= crop <= 1:
                raise SpecError(f"crop_pct: {crop}; allowed is {MIN_CROP_PCT} to 1")
        for key, known in (("interpolation", INTERPOLATIONS), ("crop_mode", CROP_MODES)):
            if (value := getattr(self, key)) not in known:
                raise SpecError(f"{key}: {value!r}; allowed are {', '.join(map(repr, known))}")
        if not len(self.mean) == len(self.std) == channels:
            raise SpecError(f"mean and std must have {channels} values, one per channel")
        if not all(math.isfinite(v) for v in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise SpecError("mean and std must be finite, std above 0")

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.input_size[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.input_size[1:]

    def at(self, image_size: int | None, crop_mode: str | None = None) -> Self:
        """Return the same for square images of `image_size` pixels and for another `crop_mode`."""
        new: dict[str, Any] = {} if crop_mode is None else {"crop_mode": crop_mode}
        if image_size is not None:
            size = (self.channels, image_size, image_size)
            new |= {"input_size": size, "test_input_size": None}
        return dataclasses.replace(self, **new) if new else self

    def for_test(self) -> Self:
        """Return the preprocessing with which the published accuracy was measured."""
        return dataclasses.replace(
            self,
            input_size=self.test_input_size or self.input_size,
            crop_pct=self.test_crop_pct or self.crop_pct,
            test_input_size=None,
            test_crop_pct=None,
        )


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The origin of weights, recorded in everything that is made from them.

    Attributes:
        repo: `owner/name` on the Hub; empty for weights of a local folder.
        commit: Commit as 40 hexadecimal digits; empty for a local folder.
        sha256: SHA-256 of the weights file; empty if it has not been read.
        licence: Licence of the weights, as their authors state it.
        architecture: Network of the weights.
    """

    repo: str = ""
    commit: str = ""
    sha256: str = ""
    licence: str = ""
    architecture: str = ""

    def __str__(self) -> str:
        """Return the reference with the commit; for a local folder, a description."""
        if self.repo:
            return f"hf://{self.repo}@{self.commit}"
        return f"weights of {self.architecture} with SHA-256 {self.sha256[:12]}"


@dataclass(frozen=True, kw_only=True)
class WeightsSpec:
    """Published weights: one entry of a catalogue.

    Attributes:
        architecture: The registered name.
        tag: What follows the dot in `arch.tag`.
        repo: `owner/name` on the Hub.
        commit: Pinned commit, 40 hexadecimal digits; empty if only the hash is pinned.
        sha256: SHA-256 of `model.safetensors`; if empty, that of the Hub is compared.
        size: Size of `model.safetensors` in bytes; None if it is not known.
        licence: Licence of the weights, as their authors state it.
        num_classes: Width of the head.
        preprocessing: Preprocessing of the published figures; `config.json` must agree.
        macs: Multiply-adds for one image at the size for evaluation; None if not stated.
        top1, top5: Published accuracies as fractions, at the size for evaluation.
        top1_train_size, top5_train_size: The same at the size for training.
        default: Whether `pretrained=True` means these weights.
        extra_data: Training data other than ImageNet-1k; empty if there are none.
        note: A remark for users.
        catalogue: Name of the catalogue.
    """

    architecture: str
    tag: str
    repo: str
    commit: str = ""
    sha256: str = ""
    size: int | None = None
    licence: str = "unknown"
    num_classes: int = 1000
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    macs: int | None = None
    top1: float | None = None
    top5: float | None = None
    top1_train_size: float | None = None
    top5_train_size: float | None = None
    default: bool = False
    extra_data: str = ""
    note: str = ""
    catalogue: str = ""

    @property
    def name(self) -> str:
        """`arch.tag`, the name that users type."""
        return f"{self.architecture}.{self.tag}"

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use; such weights are never a default."""
        return forbids_commercial_use(self.licence)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The content of a `config.json`: architecture, classes and preprocessing.

    Attributes:
        architecture: The registered name.
        num_classes: Width of the head.
        preprocessing: How images become inputs.
        class_names: Names in the order of the head; empty if they are not known.
        class_descriptions: Readable names, if `class_names` are ids (ImageNet's `n02123045`).
        multi_label: Whether an image has any number of the classes, each with its own logit.
        tag: What follows the dot in `arch.tag`.
        licence: Licence of the weights; empty if it is not stated.
        base: Origin of the weights that training started from; None for random ones.
        calibration: What its confidence means; None if it has not been measured.
        fingerprint: Of the network's structure, see `rezoo.models.fingerprint`.
        files: The manifest: file name → its size and SHA-256.
        extra, extra_cfg: Unknown keys at the root and of `pretrained_cfg`, kept without effect.
    """

    architecture: str
    num_classes: int
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    class_names: tuple[str, ...] = ()
    class_descriptions: tuple[str, ...] = ()
    multi_label: bool = False
    tag: str = ""
    licence: str = ""
    base: Origin | None = None
    calibration: Calibration | None = None
    fingerprint: str = ""
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    extra_cfg: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.num_classes <= MAX_CLASSES:
            raise SpecError(f"num_classes: {self.num_classes}; allowed is 0 to {MAX_CLASSES}")
        for what, names in (("names", self.class_names), ("descriptions", self.class_descriptions)):
            if names and len(names) != self.num_classes:
                count = self.num_classes
                raise IncompatibleError(f"{len(names)} class {what} for num_classes = {count}")
            if any(len(name) > MAX_CLASS_NAME for name in names):
                raise IncompatibleError(f"a class name has over {MAX_CLASS_NAME:,} characters")

    def label(self, index: int) -> str:
        """Return the description of class `index`, else its name, else its number."""
        names = self.class_descriptions or self.class_names
        return names[index] if names else str(index)
