"""`Recipe`: everything about a training run but the network and the data, checked when built."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from rezoo.errors import SpecError
from rezoo.recipes.policies import parse_policy
from rezoo.specs import MAX_IMAGE_SIZE, MIN_CROP_PCT
from rezoo.utils.names import suggest


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
    image_size: int | None = None  # of the network's input, height and width in pixels
    train_size: int | None = None  # of training images; image_size where not set
    start_size: int | None = None  # of training images at first; they grow to train_size
    grow_epochs: tuple[float, float] = (0.0, 0.0)  # between which epochs they grow, by 32 pixels
    crop_pct: float | None = None  # of the test transform
    interpolation: str | None = None  # of the test transform: bilinear, bicubic
    crop_scale: tuple[float, float] = (0.08, 1.0)  # area of the random-resized crop
    crop_ratio: tuple[float, float] = (0.75, 4 / 3)  # its width / height
    crop_padding: int = 0  # pixels; above 0 in place of that crop: see data.crops.padded_crop
    flip: float = 0.5  # probability of a horizontal flip
    color_jitter: float = 0.0  # brightness, contrast and saturation: 1 +- so much at most
    auto_augment: str = ""  # ta_wide, ra, rand-m7-mstd0.5-inc1, augmix-m3 …; empty for none
    random_erase: float = 0.0  # probability
    mixup_alpha: float = 0.0  # of the Beta distribution; 0 for none
    cutmix_alpha: float = 0.0  # likewise; with both, half of the batches have either
    repeated_augmentation: int = 1  # how often an example stands in a batch
    # time
    epochs: int = 90
    steps: int | None = None  # length in steps, in place of epochs; rounded up to whole epochs
    batch_size: int = 256  # images in a step, on all devices together
    accumulation: int = 1  # parts of a batch that go through the network one after the other
    early_stopping_epochs: int = 0  # stop after so many without a better one; 0 for never
    # objective
    loss: str = "cross_entropy"  # cross_entropy, binary_cross_entropy
    bce_threshold: float = 0.0  # mixed targets above it count as 1, others as 0; 0: shares stay
    label_smoothing: float = 0.0
    class_weights: str = "none"  # none, balanced: each class counts as much as any other
    stochastic_depth: float = 0.0  # probability to leave out the last block; linear in the depth
    # optimization
    optimizer: str = "sgd"  # sgd, adamw, lamb, lars
    learning_rate: float = 0.1  # peak, after the warm-up, for this batch size
    min_learning_rate: float = 0.0  # where cosine, linear and poly end
    backbone_lr_scale: float = 1.0  # learning rate of all but the head, relative to the head's
    layer_lr_decay: float = 1.0  # of each stage, relative to the one behind it
    momentum: float = 0.9  # sgd, lars
    nesterov: bool = False  # sgd
    trust_coefficient: float = 0.001  # lars
    weight_decay: float = 1e-4
    decoupled_weight_decay: bool = False  # sgd: off, an L2 term in the gradient; on, beside it
    decay_norm_and_bias: bool = False  # whether decay (and lars' trust) reaches gamma, beta, bias
    clip_norm: float = 0.0  # of all gradients together; 0 for none
    schedule: str = "cosine"  # cosine, linear, poly, step, constant
    poly_power: float = 2.0
    step_at: tuple[float, ...] = (1 / 3, 2 / 3)  # schedule step: x0.1 at these parts of the run
    warmup_epochs: float = 0.0  # linear, from 0
    warmup_steps: int = 0  # the same in steps; the longer of the two holds
    ema_decay: float = 0.0  # of averaged weights and statistics, which are then the result
    ema_every: int = 1  # steps between two updates of the average
    # transfer
    head_start: str = "random"  # random, probe: a new head begins as logistic regression
    batch_norm: str = "train"  # train, frozen: statistics stay those of the weights
    # machine
    precision: str = "float32"  # float32, mixed_bfloat16, mixed_float16, auto: by the device
    seed: int = 0

    def __post_init__(self) -> None:
        for key, (allowed, text) in _RECIPE_RULES.items():
            value = getattr(self, key)
            if value is not None and not allowed(value):
                raise SpecError(f"recipe key {key} = {value!r}; allowed is {text}")
        if self.auto_augment:
            parse_policy(self.auto_augment)
        if not self.epochs and self.head_start != "probe":
            raise SpecError(
                "recipe key epochs = 0; allowed is 1 or more, or 0 with head_start = probe"
            )
        if self.batch_size % self.accumulation:
            raise SpecError(
                f"batch_size = {self.batch_size} is no multiple of "
                f"accumulation = {self.accumulation}"
            )
        if self.mixes and self.accumulation > 1 and self.micro_batch_size % 2:
            raise SpecError(
                f"batch_size = {self.batch_size} in {self.accumulation} parts: an odd number each",
                hint="neighbours are mixed, so each part must have an even number of images.",
            )
        self._check_sizes()

    def _check_sizes(self) -> None:
        start, (first, last) = self.start_size, self.grow_epochs
        full = self.train_size or self.image_size
        if start is None and last:
            raise SpecError(
                f"grow_epochs = [{first:g}, {last:g}] without start_size",
                hint="set start_size, from which training images grow to train_size.",
            )
        if start is None or full is None or start == full:
            return
        if start > full:
            name = "train_size" if self.train_size else "image_size"
            raise SpecError(
                f"start_size = {start} is larger than {name} = {full}",
                hint="training images grow: set start_size to that or less.",
            )
        if not last:
            raise SpecError(
                f"start_size = {start}, but no grow_epochs",
                hint="set grow_epochs to [first, last], between which training images grow.",
            )

    @property
    def micro_batch_size(self) -> int:
        """Images that go through the network at once."""
        return self.batch_size // self.accumulation

    @property
    def mixes(self) -> bool:
        """Whether examples are mixed with each other, so that targets are shares of classes."""
        return self.mixup_alpha > 0 or self.cutmix_alpha > 0

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


def _one_of(*names: str) -> tuple[Callable[[Any], bool], str]:
    return lambda v: v in names, f"{', '.join(names[:-1])} or {names[-1]}"


_RECIPE_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "image_size": (lambda v: 1 <= v <= MAX_IMAGE_SIZE, f"1 to {MAX_IMAGE_SIZE} pixels"),
    "train_size": (lambda v: 1 <= v <= MAX_IMAGE_SIZE, f"1 to {MAX_IMAGE_SIZE} pixels"),
    "start_size": (lambda v: 1 <= v <= MAX_IMAGE_SIZE, f"1 to {MAX_IMAGE_SIZE} pixels"),
    "grow_epochs": (lambda v: 0 <= v[0] <= v[1], "[first, last] with 0 <= first <= last"),
    "crop_pct": (lambda v: MIN_CROP_PCT <= v <= 1, f"{MIN_CROP_PCT} to 1"),
    "interpolation": (lambda v: v in ("bilinear", "bicubic"), "bilinear or bicubic"),
    "crop_scale": (_interval(1e-4, 1.0), "[low, high] with 0.0001 <= low <= high <= 1"),
    "crop_ratio": (_interval(0.01, 100.0), "[low, high] with 0.01 <= low <= high <= 100"),
    "crop_padding": (lambda v: 0 <= v <= MAX_IMAGE_SIZE, f"0 (none) to {MAX_IMAGE_SIZE}"),
    "flip": (lambda v: 0 <= v <= 1, "a probability, 0 to 1"),
    "color_jitter": (lambda v: 0 <= v <= 1, "0 to 1"),
    "random_erase": (lambda v: 0 <= v <= 1, "a probability, 0 to 1"),
    "mixup_alpha": (lambda v: 0 <= v <= 100, "0 (none) to 100"),
    "cutmix_alpha": (lambda v: 0 <= v <= 100, "0 (none) to 100"),
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
    "optimizer": _one_of("sgd", "adamw", "lamb", "lars"),
    "learning_rate": (lambda v: v > 0, "above 0"),
    "min_learning_rate": (lambda v: v >= 0, "0 or more"),
    "backbone_lr_scale": (lambda v: 0 <= v <= 1, "0 (frozen) to 1"),
    "layer_lr_decay": (lambda v: 0 < v <= 1, "above 0 to 1"),
    "momentum": (lambda v: 0 <= v < 1, "0 to below 1"),
    "trust_coefficient": (lambda v: v > 0, "above 0"),
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
    "head_start": _one_of("random", "probe"),
    "batch_norm": _one_of("train", "frozen"),
    "precision": _one_of("float32", "mixed_bfloat16", "mixed_float16", "auto"),
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
        "tuple[float, float]": lambda v: _are_numbers(v) and len(v) == 2,
        "tuple[float, ...]": _are_numbers,
    }[kind]
    if not good(value):
        raise SpecError(f"recipe key {key} = {value!r}; it must be {_KINDS[kind]}")
    return tuple(_as_float(key, v) for v in value) if kind.startswith("tuple") else value


def _are_numbers(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(x, (int, float)) and not isinstance(x, bool) for x in value
    )


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
    "tuple[float, ...]": "numbers, [first, second …]",
}
