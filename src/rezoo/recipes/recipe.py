"""`Recipe`: everything about a training run but the network and the data, checked when built."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from rezoo.errors import SpecError
from rezoo.names import suggest
from rezoo.recipes.policies import parse_policy
from rezoo.specs import MAX_IMAGE_SIZE, MIN_CROP_PCT


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
    color_jitter: float = 0.0  # brightness, contrast and saturation: 1 +- so much at most
    auto_augment: str = ""  # ta_wide, ra, rand-m7-mstd0.5-inc1, augmix-m3 …; empty for none
    random_erase: float = 0.0  # probability
    mixup_alpha: float = 0.0  # of the Beta distribution; 0 for none
    cutmix_alpha: float = 0.0  # likewise; with both, half of the batches have either
    repeated_augmentation: int = 1  # how often an example stands in a batch
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
        if self.auto_augment:
            parse_policy(self.auto_augment)
        if self.batch_size % self.repeated_augmentation:
            raise SpecError(
                f"batch_size = {self.batch_size} is no multiple of "
                f"repeated_augmentation = {self.repeated_augmentation}"
            )

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


_RECIPE_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "image_size": (lambda v: 1 <= v <= MAX_IMAGE_SIZE, f"1 to {MAX_IMAGE_SIZE} pixels"),
    "crop_pct": (lambda v: MIN_CROP_PCT <= v <= 1, f"{MIN_CROP_PCT} to 1"),
    "interpolation": (lambda v: v in ("bilinear", "bicubic"), "bilinear or bicubic"),
    "crop_scale": (_interval(1e-4, 1.0), "[low, high] with 0.0001 <= low <= high <= 1"),
    "crop_ratio": (_interval(0.01, 100.0), "[low, high] with 0.01 <= low <= high <= 100"),
    "flip": (lambda v: 0 <= v <= 1, "a probability, 0 to 1"),
    "color_jitter": (lambda v: 0 <= v <= 1, "0 to 1"),
    "random_erase": (lambda v: 0 <= v <= 1, "a probability, 0 to 1"),
    "mixup_alpha": (lambda v: 0 <= v <= 100, "0 (none) to 100"),
    "cutmix_alpha": (lambda v: 0 <= v <= 100, "0 (none) to 100"),
    "repeated_augmentation": (lambda v: 1 <= v <= 64, "1 to 64"),
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
