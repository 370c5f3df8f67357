"""The loop: epochs of compiled steps, validation, checkpoints, and a clean stop on a signal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rezoo.errors import DivergedError, IntegrityError, Interrupted
from rezoo.evaluation.metrics import AnyScores
from rezoo.tasks import Task
from rezoo.training.checkpoints import Progress
from rezoo.training.reporters import Reporter
from rezoo.training.step import Figures, Outcome, Part, TrainingStep
from rezoo.training.stopping import Stop, stop_requests
from rezoo.training.watching import Watch

REPORT_EVERY_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Loop:
    """Drives a run from where `progress` stands to its end.

    Attributes:
        task: What the network is asked.
        step: The compiled training step; knows in how many parts it takes a batch.
        batches: Called with `(epoch, step)`; gives the parts of batches from there to the end of
            the run.
        validate: Measures the network on the validation split.
        learning_rate: Function of the step, counted from 0 over the whole run.
        save: Writes the checkpoint.
        keep_best: Writes the network's weights as the run's best.
        log: Writes the history so far.
        epochs: Number of epochs.
        steps_per_epoch: Steps in each.
        batch_size: Images in a step.
        patience: Epochs without a better one after which the run ends; 0 for no end.
        start: Fits the head before the first epoch; returns the figures that training has.
        left_s: Seconds that are left for training; None for no end.
        watch: Warns of what goes wrong.
        reporter: Hears of everything.
    """

    task: Task
    step: TrainingStep
    batches: Callable[[int, int], Any]
    validate: Callable[[], AnyScores]
    learning_rate: Callable[[int], float]
    save: Callable[[Progress], None]
    keep_best: Callable[[], None]
    log: Callable[[list[dict[str, Any]]], None]
    epochs: int
    steps_per_epoch: int
    batch_size: int
    reporter: Reporter
    watch: Watch
    patience: int = 0
    start: Callable[[], dict[str, Any]] | None = None
    left_s: Callable[[], float] | None = None

    def run(self, progress: Progress) -> Progress:
        """Train to the end, or until there has been no better epoch for too long.

        Raises:
            DivergedError: The loss is not finite, or no gradient is, at any loss scale; the last
                checkpoint is kept.
            Interrupted: Ctrl-C or SIGTERM came; the state has been saved first.
        """
        if self.start and not progress.history and not progress.step:
            self._close(0, self.start(), progress)
        source = iter(self.batches(progress.epoch, progress.step))
        with stop_requests() as stop:
            took_s = 0.0
            while progress.epoch < self.epochs and not (over := self._is_over(progress, took_s)):
                begun = time.perf_counter()
                self._epoch(source, progress, stop)
                took_s = time.perf_counter() - begun
        if progress.epoch < self.epochs:
            self.reporter.note(f"stopped after epoch {progress.epoch} of {self.epochs}: {over}")
        return progress

    def _is_over(self, progress: Progress, took_s: float) -> str:
        """Return why the run ends before its last epoch; empty where it goes on.

        Patience follows from the progress alone, so nothing is trained when it is resumed.
        """
        best = progress.best_epoch or 0
        if self.patience and progress.epoch - best >= self.patience:
            return f"none of the last {self.patience} was better than epoch {best}"
        if self.left_s and self.left_s() < took_s:
            return "another one would take longer than the time that is left"
        return ""

    def _epoch(self, source: Iterator[Any], progress: Progress, stop: Stop) -> None:
        clock = _Clock(progress)
        pending: list[Outcome] = []
        while progress.step < self.steps_per_epoch:
            batch = self._next(source, progress)
            self._warn(self.watch.batch(batch))
            pending.append(self.step(batch))
            progress.step += 1
            clock.images += self.batch_size
            last = progress.step == self.steps_per_epoch
            if last or stop.asked or clock.due():
                recent = self._collect(pending, progress)
                figures = {**self._figures(progress, clock), **recent}
                self.reporter.step(progress.epoch, progress.step, figures)
                self._warn(self.watch.judge())
            if stop.asked:
                clock.stop()
                self.save(progress)
                raise Interrupted(
                    f"stopped at epoch {progress.epoch + 1}, step {progress.step}; state saved",
                    hint="go on with the same command and --resume.",
                    exit_code=stop.exit_code,
                )
        self._end_epoch(progress, clock)

    def _next(self, source: Iterator[Any], progress: Progress) -> list[Part]:
        """Return a whole batch, before any part of it leaves its mark on the network.

        Where the data are too bad to go on, the state is saved first.
        """
        try:
            return [next(source) for _ in range(self.step.parts)]
        except IntegrityError:
            self.save(progress)
            raise

    def _collect(self, pending: list[Outcome], progress: Progress) -> dict[str, float]:
        """Read figures from the device, rarely, because it waits for it; return their means."""
        first = progress.step - len(pending) + 1
        before = (progress.loss_sum, progress.hits, progress.norm_sum, progress.norms)
        for offset, outcome in enumerate(pending):
            figures = outcome.read()
            self._check(figures, progress.epoch, first + offset)
            self.watch.see(figures.loss, figures.hits, figures.gradient_norm)
            progress.loss_sum += figures.loss
            progress.hits += figures.hits
            if math.isfinite(figures.gradient_norm):
                progress.norm_sum += figures.gradient_norm
                progress.norms += 1
        count = len(pending)
        pending.clear()
        norms = progress.norms - before[3]
        return {
            "recent_loss": (progress.loss_sum - before[0]) / count,
            f"recent_{self.task.hits.key}": (progress.hits - before[1]) / (count * self.batch_size),
            "recent_gradient_norm": (progress.norm_sum - before[2]) / norms if norms else math.nan,
        }

    def _warn(self, texts: list[str]) -> None:
        for text in texts:
            self.reporter.warning(text)

    def _check(self, figures: Figures, epoch: int, step: int) -> None:
        if math.isfinite(figures.loss) and figures.loss_scale >= 1:
            return
        what = f"the loss is {figures.loss}"
        if math.isfinite(figures.loss):
            what = "no gradient is finite in float16, at any loss scale"
        rate = self.learning_rate(epoch * self.steps_per_epoch + step - 1)
        raise DivergedError(
            f"{what} at epoch {epoch + 1}, step {step}, learning rate {rate:.3g}"
            + (f"; {cause}" if (cause := self.watch.cause(figures.loss)) else ""),
            hint="lower --lr or lengthen the warm-up (--set warmup_epochs=5); "
            "the last checkpoint is kept.",
        )

    def _figures(self, progress: Progress, clock: _Clock) -> dict[str, float]:
        at = progress.epoch * self.steps_per_epoch + progress.step - 1
        return {
            "loss": progress.loss_sum / progress.step,
            self.task.hits.key: progress.hits / (progress.step * self.batch_size),
            "gradient_norm": progress.norm_sum / max(progress.norms, 1),
            "learning_rate": self.learning_rate(at),
            "images_per_s": clock.images_per_s(),
        }

    def _end_epoch(self, progress: Progress, clock: _Clock) -> None:
        figures = self._figures(progress, clock)
        clock.stop()
        self._close(progress.epoch + 1, figures, progress)

    def _close(self, epoch: int, figures: dict[str, Any], progress: Progress) -> None:
        """Validate after an epoch, counted from 1, or before the first; keep what is best."""
        with self.step.averaged():
            scores = self.validate()
            record = self._record(epoch, figures, scores, progress)
            best = _is_best(record, progress, f"val_{self.task.chosen_by.key}")
            if best:
                self.keep_best()
        hits = figures[self.task.hits.key]
        texts = self.watch.epoch(scores, number=epoch, train_hits=hits) if epoch else []
        progress.history.append(record)
        progress.complete(epoch, best=best)
        self.log(progress.history)
        self.save(progress)
        self.reporter.epoch(record, best=best)
        self._warn(texts)

    def _record(
        self, epoch: int, figures: dict[str, Any], scores: AnyScores, progress: Progress
    ) -> dict[str, Any]:
        return {
            "epoch": epoch,
            "train_loss": figures["loss"],
            f"train_{self.task.hits.key}": figures[self.task.hits.key],
            "val_loss": scores.loss,
            **{f"val_{key}": value for key, value in scores.columns().items()},
            **{key: figures[key] for key in ("gradient_norm", "learning_rate", "images_per_s")},
            "wall_time_s": progress.wall_time_s,
            "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def _is_best(record: dict[str, Any], progress: Progress, key: str) -> bool:
    """Compare by a validation figure, ties by loss."""
    if progress.best_epoch is None:
        return True
    old = next(r for r in progress.history if r["epoch"] == progress.best_epoch)
    return bool((record[key], -record["val_loss"]) > (old[key], -old["val_loss"]))


class _Clock:
    """Monotonic time of an epoch; validation and saving are not counted."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._begun = self._reported = time.perf_counter()
        self.images = 0

    def due(self) -> bool:
        now = time.perf_counter()
        if now - self._reported < REPORT_EVERY_S:
            return False
        self._reported = now
        return True

    def images_per_s(self) -> float:
        return self.images / max(time.perf_counter() - self._begun, 1e-9)

    def stop(self) -> None:
        self._progress.wall_time_s += time.perf_counter() - self._begun
