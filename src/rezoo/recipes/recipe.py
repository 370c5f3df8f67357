"""`Recipe`: all hyperparameters of a training run, checked when it is built."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from rezoo.errors import SpecError
from rezoo.recipes.combinations import check
from rezoo.recipes.policies import parse_policy
from rezoo.specs import CROP_MODES, INTERPOLATIONS, MAX_IMAGE_SIZE, MIN_CROP_PCT
from rezoo.utils.documents import MAX_TEXT, short
from rezoo.utils.names import is_unicode, suggest


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All hyperparameters of a training run. One field, one TOML key.

    A recipe file may omit `image_size`, `crop_pct`, `crop_mode` and `interpolation`: then those
    of the weights or of the dataset apply. The `recipe.toml` of a run folder has every key. The
    comment after a field is its documentation: `rezoo info RECIPE` and the site show it.

    Raises:
        SpecError: A value is out of bounds, or values exclude each other.
    """

    name: str  # name for --recipe
    summary: str = ""  # one line for lists
    source: str = ""  # paper or code from which the values come
    # data
    image_size: int | None = None  # input of the network: height and width in pixels
    train_size: int | None = None  # side of training images in pixels; image_size if not set
    start_size: int | None = None  # side of training images in the first epochs
    grow_epochs: tuple[float, float] = (0.0, 0.0)  # first and last epoch of growth, by 32 pixels
    crop_pct: float | None = None  # part of the resized side that the test crop keeps
    crop_mode: str | None = None  # test images: centre of them, squashed, or with a border
    interpolation: str | None = None  # interpolation of the test resize
    crop_scale: tuple[float, float] = (0.08, 1.0)  # area of the random-resized crop; 1 is all
    crop_ratio: tuple[float, float] = (0.75, 4 / 3)  # width / height of the random-resized crop
    crop_padding: int = 0  # if above 0, a crop of the padded image replaces that crop
    crop_fill: str = "mean"  # around the padded image: the data's mean colour, or its reflection
    flip: float = 0.5  # probability of a horizontal flip
    flip_order: str = "random"  # alternate: half of the images, in the next epoch the other half
    color_jitter: float = 0.0  # brightness, contrast, saturation: times 1 ± at most this
    auto_augment: str = ""  # policy, such as ta_wide or rand-m7-mstd0.5-inc1; empty for none
    random_erase: float = 0.0  # probability of erasing a rectangle
    mixup_alpha: float = 0.0  # alpha of the Beta distribution of mixup; 0 for none
    cutmix_alpha: float = 0.0  # likewise for CutMix; with both, each is used in half of the batches
    repeated_augmentation: int = 1  # copies of an image in a batch, each with its own augmentation
    val_fraction: float | None = None  # part of train held out, if the data has no validation split
    # time
    epochs: int = 90  # passes over the training images
    steps: int | None = None  # length in steps instead of epochs; rounded up to whole epochs
    batch_size: int = 256  # images per step, on all devices together
    accumulation: int = 1  # micro-batches per step, whose gradients are averaged
    early_stopping_epochs: int = 0  # stop after so many epochs without a better one; 0: never
    # objective
    loss: str = "cross_entropy"  # loss function
    bce_threshold: float = 0.0  # mixed targets above this become 1, others 0; 0 keeps them
    label_smoothing: float = 0.0  # share of the target that is spread over all classes
    class_weights: str = "none"  # weights in the loss; balanced: each class as much as any other
    stochastic_depth: float = 0.0  # probability of dropping the last block; linear in the depth
    # optimization
    optimizer: str = "sgd"  # update rule
    learning_rate: float = 0.1  # peak, after the warm-up, for this batch size
    min_learning_rate: float = 0.0  # learning rate at the end of cosine, linear and poly
    freeze: tuple[str, ...] = ()  # layers that are not trained: stem, layer1, layer1.0, backbone …
    backbone_lr_scale: float = 1.0  # learning-rate multiplier of all but the head; 0: frozen
    layer_lr_decay: float = 1.0  # learning-rate multiplier of each stage, relative to the next one
    momentum: float = 0.9  # of sgd, lars and muon
    nesterov: bool = False  # of sgd
    trust_coefficient: float = 0.001  # of lars
    sgd_lr_scale: float = 0.1  # of muon: multiplier for SGD, which trains all but convolutions
    vector_lr_scale: float = 1.0  # of muon: another one for scales, shifts and biases
    weight_decay: float = 1e-4  # coefficient of the weight decay
    decoupled_weight_decay: bool = False  # of sgd: not an L2 term in the gradient
    decay_norm_and_bias: bool = False  # decay (and lars's trust) of gamma, beta, bias
    clip_norm: float = 0.0  # largest norm of all gradients together; 0 for none
    schedule: str = "cosine"  # course of the learning rate after the warm-up
    poly_power: float = 2.0  # exponent of the schedule poly
    step_at: tuple[float, ...] = (1 / 3, 2 / 3)  # schedule step: times 0.1 at these parts
    warmup_epochs: float = 0.0  # epochs in which the learning rate rises linearly from 0
    warmup_steps: int = 0  # likewise in steps; the longer of the two applies
    ema_decay: float = 0.0  # decay of averaged weights, which are the result; 0 for none
    ema_every: int = 1  # steps between two updates of the average
    # start
    stem_start: str = "random"  # whitened: the first filters are fitted to the images and fixed
    head_start: str = "random"  # a new head; probe: fitted by logistic regression
    batch_norm: str = "train"  # frozen: running statistics stay those of the weights
    # machine
    precision: str = "float32"  # policy of the layers' dtypes; auto: chosen by the device
    seed: int = 0  # seed of weights, data order and augmentation

    def __post_init__(self) -> None:
        for key, (allowed, text) in RECIPE_RULES.items():
            value = getattr(self, key)
            if value is not None and not allowed(value):
                raise SpecError(f"recipe key {key} = {short(value)}; allowed is {text}")
        if self.auto_augment:
            parse_policy(self.auto_augment)
        check(self)

    @property
    def micro_batch_size(self) -> int:
        """Images per micro-batch."""
        return self.batch_size // self.accumulation

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with each other, so that targets are fractional."""
        return self.mixup_alpha > 0 or self.cutmix_alpha > 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, origin: str) -> Self:
        """Build a recipe from parsed TOML or options.

        Args:
            values: Recipe keys and values.
            origin: Their origin, for messages.

        Raises:
            SpecError: A key is unknown, a value has the wrong type or is out of bounds.
        """
        types = {f.name: f.type for f in dataclasses.fields(cls)}
        cleaned = {}
        for key, value in values.items():
            if key not in types:
                raise SpecError(
                    f"{origin}: unknown recipe key {short(key)}",
                    hint=suggest(key, types, "the keys are"),
                )
            cleaned[key] = _coerce(key, value, str(types[key]))
        return cls(**cleaned)

    def to_dict(self) -> dict[str, Any]:
        """Return every key that has a value, in the order of the fields."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}


_PREFIX = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")  # of a layer's name


def _interval(low: float, high: float) -> Callable[[Any], bool]:
    return lambda pair: low <= pair[0] <= pair[1] <= high


def _one_of(*names: str) -> tuple[Callable[[Any], bool], str]:
    return lambda v: v in names, f"{', '.join(names[:-1])} or {names[-1]}"


# allowed values of each key: a test, and its description in messages and on the site
RECIPE_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "image_size": (lambda v: 1 <= v <= MAX_IMAGE_SIZE, f"1 to {MAX_IMAGE_SIZE} pixels"),
    "train_size": (lambda v: 1 <= v <= MAX_IMAGE_SIZE, f"1 to {MAX_IMAGE_SIZE} pixels"),
    "start_size": (lambda v: 1 <= v <= MAX_IMAGE_SIZE, f"1 to {MAX_IMAGE_SIZE} pixels"),
    "grow_epochs": (lambda v: 0 <= v[0] <= v[1], "[first, last] with 0 <= first <= last"),
    "crop_pct": (lambda v: MIN_CROP_PCT <= v <= 1, f"{MIN_CROP_PCT} to 1"),
    "crop_mode": _one_of(*CROP_MODES),
    "interpolation": _one_of(*INTERPOLATIONS),
    "crop_scale": (_interval(1e-4, 1.0), "[low, high] with 0.0001 <= low <= high <= 1"),
    "crop_ratio": (_interval(0.01, 100.0), "[low, high] with 0.01 <= low <= high <= 100"),
    "crop_padding": (lambda v: 0 <= v <= MAX_IMAGE_SIZE, f"0 (none) to {MAX_IMAGE_SIZE}"),
    "crop_fill": _one_of("mean", "reflection"),
    "flip": (lambda v: 0 <= v <= 1, "a probability, 0 to 1"),
    "flip_order": _one_of("random", "alternate"),
    "color_jitter": (lambda v: 0 <= v <= 1, "0 to 1"),
    "random_erase": (lambda v: 0 <= v <= 1, "a probability, 0 to 1"),
    "mixup_alpha": (lambda v: 0 <= v <= 100, "0 (none) to 100"),
    "cutmix_alpha": (lambda v: 0 <= v <= 100, "0 (none) to 100"),
    "val_fraction": (lambda v: 0 < v <= 0.5, "above 0, at most 0.5"),
    "repeated_augmentation": (lambda v: 1 <= v <= 64, "1 to 64"),
    "epochs": (lambda v: 0 <= v <= 100_000, "1 or more, or 0 with head_start = probe"),
    "steps": (lambda v: v >= 1, "1 or more"),
    "batch_size": (lambda v: 1 <= v <= 1_000_000, "1 or more"),
    "accumulation": (lambda v: v >= 1, "1 or more"),
    "early_stopping_epochs": (lambda v: v >= 0, "0 (never) or more"),
    "loss": _one_of("cross_entropy", "binary_cross_entropy"),
    "bce_threshold": (lambda v: 0 <= v < 1, "0 (none) to below 1"),
    "label_smoothing": (lambda v: 0 <= v < 1, "0 to below 1"),
    "class_weights": _one_of("none", "balanced"),
    "stochastic_depth": (lambda v: 0 <= v < 1, "0 (none) to below 1"),
    "optimizer": _one_of("sgd", "adamw", "lamb", "lars", "muon"),
    "learning_rate": (lambda v: v > 0, "above 0"),
    "min_learning_rate": (lambda v: v >= 0, "0 or more"),
    "freeze": (lambda v: all(map(_PREFIX.fullmatch, v)), "stem, backbone, stages or layers"),
    "backbone_lr_scale": (lambda v: 0 <= v <= 1, "0 (frozen) to 1"),
    "layer_lr_decay": (lambda v: 0 < v <= 1, "above 0 to 1"),
    "momentum": (lambda v: 0 <= v < 1, "0 to below 1"),
    "trust_coefficient": (lambda v: v > 0, "above 0"),
    "sgd_lr_scale": (lambda v: v > 0, "above 0"),
    "vector_lr_scale": (lambda v: v > 0, "above 0"),
    "weight_decay": (lambda v: 0 <= v < 1, "0 to below 1"),
    "clip_norm": (lambda v: v >= 0, "0 (none) or more"),
    "schedule": _one_of("cosine", "linear", "poly", "step", "constant"),
    "poly_power": (lambda v: 0 < v <= 10, "above 0 to 10"),
    "step_at": (
        lambda v: list(v) == sorted(v) and all(0 < x <= 1 for x in v),
        "rising parts of the run, above 0 to 1",
    ),
    "warmup_epochs": (lambda v: v >= 0, "0 or more"),
    "warmup_steps": (lambda v: v >= 0, "0 or more"),
    "ema_decay": (lambda v: 0 <= v < 1, "0 (none) to below 1"),
    "ema_every": (lambda v: v >= 1, "1 or more"),
    "stem_start": _one_of("random", "whitened"),
    "head_start": _one_of("random", "probe"),
    "batch_norm": _one_of("train", "frozen"),
    "precision": _one_of("float32", "mixed_bfloat16", "mixed_float16", "auto"),
    "seed": (lambda v: 0 <= v < 2**31, "0 to 2147483647"),
}


def _coerce(key: str, value: Any, annotation: str) -> Any:
    """Check `value` against the field's annotation; text (from `--set`) is parsed as TOML would."""
    kind = annotation.removesuffix(" | None")
    allowed, wanted = _KINDS[kind]
    if isinstance(value, str) and kind == "tuple[str, ...]" and not value.startswith("["):
        value = [part.strip() for part in value.split(",")]
    if isinstance(value, str) and kind != "str":
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if not allowed(value):
        raise SpecError(f"recipe key {key} = {short(value)}; it must be {wanted}")
    if kind.startswith("tuple"):
        return tuple(_as_float(key, v) if "float" in kind else v for v in value)
    return _as_float(key, value) if kind == "float" else value


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _all(value: Any, allowed: Callable[[Any], bool]) -> bool:
    return (
        isinstance(value, (list, tuple)) and len(value) <= _MOST_VALUES and all(map(allowed, value))
    )


def _as_float(key: str, value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        raise SpecError(f"recipe key {key}: the number is too large") from None
    if not math.isfinite(number):
        raise SpecError(f"recipe key {key} = {value}; it must be finite")
    return number


_MOST_VALUES = 100  # in a list; step_at has a number for each step of the schedule
# annotation of a field: a test of its values, and their description in messages
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "str": (
        lambda v: _is_name(v) and is_unicode(v),
        f"text in Unicode of at most {MAX_TEXT:,} characters",
    ),
    "int": (lambda v: isinstance(v, int) and not isinstance(v, bool), "an integer"),
    "float": (_is_number, "a number"),
    "bool": (lambda v: isinstance(v, bool), "true or false"),
    "tuple[float, float]": (
        lambda v: _all(v, _is_number) and len(v) == 2,
        "two numbers, [low, high]",
    ),
    "tuple[float, ...]": (lambda v: _all(v, _is_number), "numbers, [first, second …]"),
    "tuple[str, ...]": (lambda v: _all(v, _is_name), "names, [first, second …]"),
}
