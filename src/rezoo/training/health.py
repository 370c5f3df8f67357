"""Warnings of what is probably wrong with a run, from its first batch and its figures.

Each warning is given once in a run, resumed or not. A run that learns, however slowly, should get
none: a warning needs two signs if one may be chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Self

import numpy as np

from rezoo.evaluation.scoring.intervals import wilson_interval
from rezoo.evaluation.scoring.metrics import AnyScores, Scores
from rezoo.models.normalization import normalized
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing
from rezoo.training.schedules import warmup_steps
from rezoo.training.setup import Setup

FIRST = 10  # steps that define the loss at the start
WINDOW = 50  # steps that define the current loss
JUDGED_AFTER = (200, 1000)  # steps after the warm-up: an epoch, but within these bounds
AT_THE_END = 50  # steps after the warm-up from which a whole run is judged
VALIDATED_AFTER = (3, 300)  # epochs, and steps after the warm-up
_FALL = 0.02  # of the first loss
_GROWTH = 10.0  # of the gradient norm within 20 steps, if the learning rate is too large
_RISE = 3.0  # times the lowest loss
_LABELS_TEXT = "The labels may not belong to the images (rezoo data show)"

Warnings = Iterator[tuple[str, str]]  # kinds and texts


@dataclass(kw_only=True)
class Health:
    """Judges the figures of a run and returns warnings.

    Attributes:
        recipe: Of the run.
        classes: Number of classes.
        steps_per_epoch: Of the optimizer.
        multi_label: Whether an image has any number of the classes.
        most: Share of the most frequent class in the training split; None if it is not known.
        scaled: Whether inputs should have a mean of about 0 and a standard deviation of about 1.
        preprocessing: Of the images of a batch, which are uint8. If None, they are the network's
            input, float32.
        memory: JSON values that are kept in the checkpoint. The key `given` holds the warnings so
            far by kind.
        guessing: The loss of a network that finds all classes equally likely.
    """

    recipe: Recipe
    classes: int
    steps_per_epoch: int
    multi_label: bool = False
    most: float | None = None
    scaled: bool = True
    preprocessing: Preprocessing | None = None
    memory: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = {"given": {}, "steps": 0, "first_loss": 0.0, "first_hits": 0}
        start |= {"losses": [], "hits": [], "norms": []}
        self.memory.update({**start, **self.memory})
        self._binary = self.multi_label or self.recipe.loss == "binary_cross_entropy"
        self.guessing = math.log(2 if self._binary else self.classes)
        self._warmup = warmup_steps(self.recipe, self.steps_per_epoch)
        least, most = JUDGED_AFTER
        self._judged_at = self._warmup + min(max(self.steps_per_epoch, least), most)
        self._losses: list[float] = self.memory["losses"]
        self._hits: list[int] = self.memory["hits"]
        self._norms: list[float] = self.memory["norms"]

    @classmethod
    def of(cls, setup: Setup, memory: dict[str, Any]) -> Self:
        """Return the health of a run with the memory of its checkpoint."""
        labels, most = setup.train.examples.labels(), None
        if labels is not None and labels.ndim == 1:
            most = float(np.bincount(labels).max() / len(labels))
        return cls(
            recipe=setup.recipe,
            classes=setup.config.num_classes,
            steps_per_epoch=setup.steps_per_epoch,
            multi_label=setup.task.multi_label,
            most=most,
            scaled=setup.config.base is None,
            preprocessing=setup.config.preprocessing,
            memory=memory,
        )

    def add(self, loss: float, hits: int, gradient_norm: float) -> None:
        """Add the figures of a step whose loss is finite."""
        self.memory["steps"] += 1
        if self.memory["steps"] <= FIRST:
            self.memory["first_loss"] += loss / FIRST
            self.memory["first_hits"] += hits
        self._losses.append(loss)
        self._hits.append(hits)
        if math.isfinite(gradient_norm):
            self._norms.append(gradient_norm)
        for window, most in ((self._losses, WINDOW), (self._hits, WINDOW), (self._norms, 20)):
            del window[:-most]
        if len(self._losses) == WINDOW:
            self.memory["lowest"] = min(self.memory.get("lowest", math.inf), fmean(self._losses))

    def after_steps(self) -> list[str]:
        """Return new warnings about the steps so far."""
        return self._new(self._of_steps(due=self.memory["steps"] >= self._judged_at))

    def after_epoch(self, scores: AnyScores, *, number: int, train_hits: float) -> list[str]:
        """Return new warnings after the validation of epoch `number`, counted from 1.

        `train_hits` is the share of the training images that were right in this epoch.
        """
        last = number >= self.recipe.epochs
        due = last and self.memory["steps"] >= self._warmup + AT_THE_END
        new = self._new(self._of_steps(due=True)) if due else []
        return new + self._new(self._of_validation(scores, number, train_hits, last=last))

    def before_training(self, images: Any, labels: Any) -> list[str]:
        """Return warnings about the first batch of a run, before its first step.

        Images are `(B, H, W, C)`, labels int32 `(B,)` or float32 `(B, K)`. The figures in the texts
        are those of the network's input.
        """
        return [] if self.memory["steps"] else self._new(self._of_batch(images, labels))

    def cause(self, loss: float) -> str:
        """Return why the loss has become `loss`, which is not finite."""
        steps, half = self.memory["steps"], self.recipe.precision == "mixed_float16"
        if not steps:
            return "it is so from the first step: look for NaN in the images or in the weights"
        if half and not math.isnan(loss):
            return "float16 overflows; mixed_bfloat16 and float32 do not"
        if grown := self._growth():
            return f"{grown}: the learning rate is probably too large"
        if steps < WINDOW:
            return f"after so few steps ({steps}), the learning rate is probably too large"
        other = ", or leave float16: --set precision=float32" if half else ""
        return f"the gradients had not grown: look for an image that is not like the others{other}"

    def _new(self, found: Warnings) -> list[str]:
        given = self.memory["given"]
        new = {kind: text for kind, text in found if kind not in given}
        given.update(new)
        return list(new.values())

    def _of_batch(self, images: Any, labels: Any) -> Warnings:
        pixels, truth = np.asarray(images, np.float32), np.asarray(labels)
        if self.preprocessing is not None:
            pixels = normalized(pixels, self.preprocessing)
        mean, std = float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))
        if not np.isfinite(pixels).all():
            yield "not finite", "the first batch has values that are not finite (NaN or infinite)"
        elif np.ptp(pixels) <= 1e-6:
            text = f"every pixel of the first batch is the same ({pixels.flat[0]:.3g})"
            yield "empty input", f"{text}: the images are empty or read wrongly (rezoo data show)"
        elif self.scaled and (abs(mean) > 5 or not 0.05 <= std <= 10):
            text = f"the first batch has mean {mean:.3g} and standard deviation {std:.3g}"
            yield (
                "scale",
                f"{text}, not 0 and 1: the preprocessing's mean and std do not fit the images",
            )
        count, most = len(truth), self.most
        by_chance = count < 32 if most is None else most < 1 and most**count > 1e-6
        if (truth == truth[0]).all() and not by_chance:
            text = f"all {count} images of the first batch have the same label: labels are read"
            yield "one label", f"{text} wrongly, or the order is not random (rezoo data show)"

    def _of_steps(self, *, due: bool) -> Warnings:
        if len(self._losses) < WINDOW:
            return
        if due and "learns" not in self.memory:
            self.memory["learns"] = self._learns()
            if not self.memory["learns"]:
                yield "not falling", self._why_not()
        lowest = min(self.memory["lowest"], self.guessing)
        if min(self._losses) > max(_RISE * lowest, self.guessing):
            text = (
                f"the loss is {median(self._losses):.3g} and has been above three times what it "
                f"was or should be ({lowest:.3g}) for {WINDOW} steps; guessing gives "
                f"{self.guessing:.3g}. The learning rate is probably too large: lower --lr, or cut "
                "large gradients (--set clip_norm=1)"
            )
            yield "rising", text

    def _learns(self) -> bool:
        """Return whether the loss fell, or more images are right than at first or by chance."""
        first, size = self.memory["first_loss"], self.recipe.batch_size
        start = first if self._binary else min(first, self.guessing)
        seen, right = WINDOW * size, sum(self._hits)
        chance = min(0.5, 2 * (self.most or 0.25))  # a random network may be right twice as often
        before, asked = self.memory["first_hits"], FIRST * size
        together = (before + right) / (asked + seen)
        error = math.sqrt(together * (1 - together) * (1 / asked + 1 / seen))
        return (
            fmean(self._losses) < start * (1 - _FALL)
            or right / seen - before / asked > 3 * error
            or right / seen - chance > 3 * math.sqrt(chance * (1 - chance) / seen)
        )

    def _why_not(self) -> str:
        first, now, rate = self.memory["first_loss"], fmean(self._losses), self.recipe.learning_rate
        text = f"the loss has not fallen in {self.memory['steps']} steps: {first:.4g} at first, "
        text += f"{now:.4g} now, and guessing gives {self.guessing:.4g}. "
        high = max(first, now) > _RISE * self.guessing or now > 1.1 * max(first, self.guessing)
        if high or self._growth():
            return f"{text}The learning rate ({rate:g}) is probably too large: lower --lr"
        if abs(now - first) <= _FALL * first:
            return (
                f"{text}The learning rate ({rate:g}) is probably too small: raise --lr. Or almost "
                "everything is frozen, or the labels do not belong to the images (rezoo data show)"
            )
        return f"{text}{_LABELS_TEXT}, or the learning rate ({rate:g}) is too large"

    def _of_validation(
        self, scores: AnyScores, number: int, train_hits: float, *, last: bool
    ) -> Warnings:
        if self.memory["given"].keys() & {"not falling", "rising"}:
            return  # these have the same cause
        if "above chance" in self.memory or (text := at_chance(scores)) is None:
            self.memory["above chance"] = True
            return
        decay = self.recipe.ema_decay  # the average of the weights is measured, and lags behind
        lag = 3 * self.recipe.ema_every / (1 - decay) if decay else 0.0
        steps = self.memory["steps"] - self._warmup - lag
        early = number < VALIDATED_AFTER[0] or steps < VALIDATED_AFTER[1]
        if text and not (steps < AT_THE_END if last else early):
            why = f"{_LABELS_TEXT}, the learning rate may be far off, or the images be too small"
            if train_hits > 0.9:
                why = f"{train_hits:.0%} of the training images are right, learned by heart. "
                why += f"{_LABELS_TEXT}, or val may be of another kind than train"
            yield "at chance", f"after {number} epochs, {text}. {why}"

    def _growth(self) -> str:
        """Return a text if the gradients have grown in the last 20 steps, else an empty one."""
        norms = list(self._norms)
        before = median(norms[: max(1, len(norms) // 4)]) if norms else 0.0
        if not before or max(norms) < _GROWTH * before:
            return ""
        now = f"{before:.2g} to {max(norms):.2g}"
        return f"the gradient norm grew from {now} in the last {len(norms)} steps"


def at_chance(scores: AnyScores) -> str | None:
    """Return a text if a network does no better than chance; None if it does better.

    For single-label data, chance is the most frequent class, and the 95 % Wilson interval of top-1
    decides. For multi-label data, the mean average precision of a random order is about the
    classes' share of the images. The text is empty if there are too few images to decide.
    """
    if not isinstance(scores, Scores):
        share = fmean(count for _, count, _ in scores.per_class) / scores.count
        if scores.map > 1.2 * share:
            return None
        return f"mAP is {scores.map:.2%} and that of a random order about {share:.2%}"
    right, count = round(scores.top1 * scores.count), scores.count
    most = max(n for _, n, _ in scores.per_class) / count
    low, _ = wilson_interval(right, count)
    if low > most:
        return None
    if wilson_interval(round((most + 1) / 2 * count), count)[0] <= most:
        return ""
    return (
        f"top-1 on val is {scores.top1:.2%} ({right} of {count}), no better than answering always "
        f"the most frequent class ({most:.2%})"
    )
