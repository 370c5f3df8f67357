"""What exists, as data: frozen dataclasses that load without Keras, TensorFlow, NumPy or Rich."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from rezoo.errors import IncompatibleError, SpecError
from rezoo.utils.files import FileRecord

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
        build: Called as `build(name=…, input_shape=…, num_classes=…, classifier_activation=…,
            **config)`, with `stochastic_depth` and `seed` if training uses stochastic depth.
            Returns a functional `keras.Model` from `(N, H, W, C)` to logits `(N, num_classes)`,
            float32. It must import Keras inside its body, so that specs load without Keras.
        config: The arguments that tell this member of the family from the others.
        family: The name of the family, for lists.
        summary: One line for lists.
        source: The paper and section.
        image_size: Height and width in pixels that published figures assume.
        num_classes: Number of classes that they assume.
        params: Trainable parameters with `num_classes` classes, for lists; None if not stated.
        macs: Multiply-adds for one image of `image_size` pixels, for lists; None if not stated.
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
        shareable: Whether its licence lets single images travel with a published network;
            elsewhere a run's reference batch holds drawn pictures.
        hub_id: Its name among the Hub's datasets, for model cards.
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
    shareable: bool = False
    hub_id: str = ""
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
class Origin:
    """Where weights come from: what is recorded in everything that is made from them.

    Attributes:
        repo: `owner/name` on the Hub; empty for weights of a local folder.
        commit: The commit as 40 hexadecimal digits; empty for a local folder.
        sha256: Of the weights file, where it has been read.
        licence: As its authors state it.
        architecture: The network that the weights were made for.
    """

    repo: str = ""
    commit: str = ""
    sha256: str = ""
    licence: str = ""
    architecture: str = ""

    def __str__(self) -> str:
        """Return a reference that means exactly these weights, or what is known instead."""
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
        commit: The pinned commit, 40 hexadecimal digits; empty where only the hash is pinned.
        sha256: Of `model.safetensors`; empty where it is not known yet: then it is not loaded
            by name.
        size: Bytes of `model.safetensors`, where the exact number was read.
        licence: As its authors state it.
        num_classes: Width of the head.
        preprocessing: What the figures below were measured with; `config.json` must agree.
        macs: Multiply-adds for one image at the size that the weights are evaluated at.
        top1: Published top-1, 0 to 1, at the size that the weights are evaluated at.
        top5: Likewise top-5.
        top1_train_size: Published top-1 at the size that the weights were trained at.
        top5_train_size: Likewise top-5.
        default: Whether `pretrained=True` means these weights.
        note: What a user should know.
        catalogue: Who lists it.
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
    note: str = ""
    catalogue: str = ""

    @property
    def name(self) -> str:
        """`arch.tag`, what users type."""
        return f"{self.architecture}.{self.tag}"

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use; such weights are never a default."""
        return "-nc" in self.licence.lower()


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The contents of a `config.json`: which network, for which classes, from which pixels.

    Attributes:
        architecture: The registered name.
        num_classes: Width of the head.
        preprocessing: How images become inputs.
        class_names: Names in the order of the head, or empty where they are not known.
        class_descriptions: Readable names, where `class_names` are ids (ImageNet's `n02123045`).
        multi_label: Whether an image has any number of the classes: each logit is one's own.
        tag: What follows the dot in `arch.tag`.
        licence: Licence of the weights, where stated.
        base: The weights that these were made from.
        fingerprint: Of the network's structure, see `rezoo.models.fingerprint`.
        files: Name → what the bytes of the folder's files should be.
        extra: Unknown keys at the root, kept and not obeyed.
        extra_cfg: Unknown keys of `pretrained_cfg`, kept likewise.
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
    fingerprint: str = ""
    files: Mapping[str, FileRecord] = field(default_factory=dict)
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
