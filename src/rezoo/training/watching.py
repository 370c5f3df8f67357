"""Early warnings: what the figures of a run say about a fault, before its time is spent.

A `Watch` sees the figures and answers with texts; it reads no file and prints nothing. Each
warning is given once in a run, also where the run is resumed. The rules are made so that a run
that learns, however slowly, is left alone: a warning takes two signs where one may be chance.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean, median
from typing import Any

from rezoo.evaluation.metrics import AnyScores, Scores, wilson_interval
from rezoo.recipes.recipe import Recipe
from rezoo.training.first_batch import look_at
from rezoo.training.schedules import warmup_steps

FIRST = 10  # steps that show where the loss begins
WINDOW = 50  # steps that show where it is now
JUDGED_AFTER = (200, 1000)  # steps after the warm-up: an epoch, but so many at least and at most
AT_THE_END = 50  # steps after the warm-up from which a whole run is judged
VALIDATED_AFTER = (3, 300)  # epochs, and steps after the warm-up
_FALL = 0.02  # of the first loss: less is none
_GROWN = 10.0  # times that gradients grow where the learning rate is too large
_COME_APART = 3.0  # times the lowest loss
_NOTHING = 1e-12  # of a gradient; also of a loss, where nothing is left to learn
_CERTAIN = 3.0  # standard errors
_BY_HEART = 0.9  # of the training images are right
_NO_GRADIENT_TEXT = (
    "no gradient reaches the weights: its norm is 0 in {} steps, so nothing is learned. The input "
    "may be empty, or the logits may have overflowed"
)
_APART_TEXT = (
    "the loss is {:.3g} and has been above three times what it was or should be ({:.3g}) for {} "
    "steps; guessing gives {:.3g}. The learning rate is probably too large: lower --lr, or cut "
    "large gradients (--set clip_norm=1)"
)
_LEARNED = (
    "The labels may not belong to the images, or val may be of another kind than train "
    "(rezoo data show)"
)
_NOT_LEARNED = (
    "The labels may not belong to the images (rezoo data show), the learning rate may be far off, "
    "or the images may be too small to show anything"
)


class Watch:
    """Sees the figures of a run and says, once each, what they warn of.

    Attributes:
        recipe: Of the run.
        guessing: The loss of a network that finds all classes equally likely.
        most: Share of the most frequent class in the training split, where it is known.
        scaled: Whether the network should get values of about 0 and 1.
        memory: What must outlive a resumption, JSON values; kept with the checkpoint. Its key
            `given` has the warnings so far by kind.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        classes: int,
        steps_per_epoch: int,
        multi_label: bool = False,
        most: float | None = None,
        scaled: bool = True,
        memory: dict[str, Any] | None = None,
    ) -> None:
        self.recipe = recipe
        binary = multi_label or recipe.loss == "binary_cross_entropy"
        self.guessing = math.log(2 if binary else classes)
        self.most = most
        self.scaled = scaled
        self.memory = {} if memory is None else memory
        for key, value in (("given", {}), ("steps", 0), ("losses", 0.0), ("hits", 0)):
            self.memory.setdefault(key, value)
        self._classes_are_asked_apart = binary
        self._warmup = warmup_steps(recipe, steps_per_epoch)
        self._judged_at = self._warmup + min(max(steps_per_epoch, JUDGED_AFTER[0]), JUDGED_AFTER[1])
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._hits: deque[int] = deque(maxlen=WINDOW)
        self._norms: deque[float] = deque(maxlen=WINDOW)

    def see(self, loss: float, hits: int, gradient_norm: float) -> None:
        """Take in a step that went well; a norm that is not finite is left out."""
        self.memory["steps"] += 1
        if self.memory["steps"] <= FIRST:
            self.memory["losses"] += loss
            self.memory["hits"] += hits
        self._losses.append(loss)
        self._hits.append(hits)
        if math.isfinite(gradient_norm):
            self._norms.append(gradient_norm)
        self.memory["highest"] = max(self.memory.get("highest", 0.0), loss)
        if len(self._losses) == WINDOW:
            self.memory["lowest"] = min(self.memory.get("lowest", math.inf), fmean(self._losses))

    def batch(self, parts: Sequence[tuple[Any, Any]]) -> list[str]:
        """Judge the first batch of a run, before its first step, and no other one.

        Only its first part is looked at: images float32 `(B, H, W, C)` and labels, as
        `rezoo.training.first_batch.look_at` takes them.
        """
        return (
            []
            if self.memory["steps"]
            else self._new(look_at(*parts[0], most=self.most, scaled=self.scaled))
        )

    def judge(self) -> list[str]:
        """Return what the steps so far warn of, and has not been said."""
        return self._new(self._of_steps(self.memory["steps"] >= self._judged_at))

    def epoch(self, scores: AnyScores, *, number: int, train_hits: float) -> list[str]:
        """Judge an epoch's validation.

        Args:
            scores: `Scores` or `MultiLabelScores` of the validation split.
            number: Of the epoch, from 1.
            train_hits: Part of the training images that were right in this epoch, 0 to 1.
        """
        last = number >= self.recipe.epochs
        new = []
        if last and self.memory["steps"] >= self._warmup + AT_THE_END:
            new = self._new(self._of_steps(True))
        return new + self._new(self._of_validation(scores, number, train_hits, last))

    def cause(self, loss: float) -> str:
        """Return in words why the loss has just become what is not finite."""
        steps = self.memory["steps"]
        half = self.recipe.precision == "mixed_float16"
        if not steps:
            return "it is so from the first step: look for NaN in the images or in the weights"
        if not math.isnan(loss) and half:
            return "float16 overflows; mixed_bfloat16 and float32 do not"
        grown = _growth(self._norms)
        if grown:
            return f"{grown}: the learning rate is probably too large"
        if steps < WINDOW:
            return f"after so few steps ({steps}), the learning rate is probably too large"
        if not self._norms:
            return ""
        steady = (
            f"the gradient norm was {_span(self._norms)} in the {len(self._norms)} steps before"
        )
        return f"{steady}: look for an image that is not like the others" + (
            ", or leave float16: --set precision=float32" if half else ""
        )

    def _new(self, found: Iterable[tuple[str, str]]) -> list[str]:
        given, texts = self.memory["given"], []
        for kind, text in found:
            if kind not in given:
                given[kind] = text
                texts.append(text)
        return texts

    def _of_steps(self, due: bool) -> Iterator[tuple[str, str]]:
        full = len(self._losses) == WINDOW
        if len(self._norms) >= FIRST and max(self._norms) < _NOTHING < fmean(self._losses):
            yield "no gradient", _NO_GRADIENT_TEXT.format(len(self._norms))
        elif due and full and "learns" not in self.memory:
            self.memory["learns"] = self._learns()
            if not self.memory["learns"]:
                yield "not falling", self._why_not()
        lowest = min(self.memory.get("lowest", math.inf), self.guessing)
        if full and min(self._losses) > max(_COME_APART * lowest, self.guessing):
            now = median(self._losses)
            yield "coming apart", _APART_TEXT.format(now, lowest, WINDOW, self.guessing)

    def _learns(self) -> bool:
        """Whether the loss is lower or more is right than at first, or much is right anyway."""
        now, first = fmean(self._losses), self._first_loss()
        start = first if self._classes_are_asked_apart else min(first, self.guessing)
        seen, right = len(self._hits) * self.recipe.batch_size, sum(self._hits)
        chance = min(0.5, 2 * (self.most or 0.25))  # a random network may be right twice as often
        return (
            now < start * (1 - _FALL)
            or _rises(self.memory["hits"], FIRST * self.recipe.batch_size, right, seen)
            or right / seen - chance > _CERTAIN * math.sqrt(chance * (1 - chance) / seen)
        )

    def _first_loss(self) -> float:
        return self.memory["losses"] / FIRST

    def _why_not(self) -> str:
        now, first, rate = fmean(self._losses), self._first_loss(), self.recipe.learning_rate
        what = (
            f"the loss has not fallen in {self.memory['steps']} steps: {first:.4g} at first, "
            f"{now:.4g} now, and guessing gives {self.guessing:.4g}. "
        )
        highest = self.memory["highest"]
        apart = now > 1.1 * max(first, self.guessing) or highest > _COME_APART * self.guessing
        if apart or _growth(self._norms):
            return (
                f"{what}It has been {highest:.4g}: the learning rate ({rate:g}) is probably too "
                "large, lower --lr"
            )
        if abs(now - first) <= _FALL * first:
            return (
                f"{what}The learning rate ({rate:g}) is probably too small: raise --lr. Else "
                "almost everything is frozen, or the labels do not belong to the images: "
                "rezoo data show"
            )
        return (
            f"{what}The labels may not belong to the images (rezoo data show), or the learning "
            f"rate ({rate:g}) is too large"
        )

    def _of_validation(
        self, scores: AnyScores, number: int, train_hits: float, last: bool
    ) -> Iterator[tuple[str, str]]:
        if self.memory["given"].keys() & {"no gradient", "not falling", "coming apart"}:
            return  # why that is so has been said
        if "above chance" in self.memory or (said := at_chance(scores)) is None:
            self.memory["above chance"] = True
            return
        steps = self.memory["steps"] - self._warmup - self._lag()
        if steps < (AT_THE_END if last else VALIDATED_AFTER[1]):
            return
        if number < VALIDATED_AFTER[0] and not last:
            return
        if said:
            by_heart = f"{train_hits:.0%} are right in training, learned by heart. "
            why = by_heart + _LEARNED if train_hits > _BY_HEART else _NOT_LEARNED
            yield "at chance", f"after {number} epochs, {said}. {why}"

    def _lag(self) -> float:
        """Steps that the average of the weights, where that is measured, stays behind them."""
        decay = self.recipe.ema_decay
        return 3 * self.recipe.ema_every / (1 - decay) if decay else 0.0


def at_chance(scores: AnyScores) -> str | None:
    """Return in words that a network does no better than chance; None where it does.

    Of one label, chance is to answer always the most frequent class, and the 95 % Wilson interval
    of top-1 decides; of several labels, the mean average precision of a random order is about the
    classes' share of the images. Empty where there are too few images to tell.
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
        f"top-1 on val is {scores.top1:.2%} ({right} of {count}), which cannot be told from "
        f"answering always the most frequent class ({most:.2%})"
    )


def _rises(before: int, of: int, now: int, out_of: int) -> bool:
    """Whether a part is larger than before, by more than chance would make it."""
    together = (before + now) / (of + out_of)
    error = math.sqrt(together * (1 - together) * (1 / of + 1 / out_of))
    return now / out_of - before / of > _CERTAIN * error


def _growth(norms: Sequence[float]) -> str:
    """Return in words that gradients have grown, or nothing."""
    if len(norms) < 2:
        return ""
    steps = min(20, len(norms))
    recent = list(norms)[-steps:]
    before, now = median(recent[: max(1, steps // 4)]), max(recent)
    if now < _GROWN * before or not before:
        return ""
    return f"the gradient norm grew from {before:.2g} to {now:.2g} in the last {steps} steps"


def _span(values: Sequence[float]) -> str:
    return f"{min(values):.2g} to {max(values):.2g}"
