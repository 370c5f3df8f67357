"""The loop: epochs of compiled steps, validation, checkpoints, and a clean stop on a signal."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from rezoo.errors import DivergedError, IntegrityError, Interrupted
from rezoo.evaluation.scoring import AnyScores
from rezoo.tasks import Task
from rezoo.training.checkpoints import Progress
from rezoo.training.reporting import Reporter
from rezoo.training.steps import Step

REPORT_EVERY_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Loop:
    """Drives a run from where `progress` stands to its end.

    Attributes:
        task: What the network is asked.
        step: The compiled training step.
        batches: Called with `(epoch, step)`; gives the batches from there to the end of the run.
        validate: Measures the network on the validation split.
        learning_rate: Function of the step, counted from 0 over the whole run.
        save: Writes the checkpoint.
        keep_best: Writes the network's weights as the run's best.
        log: Writes the history so far.
        epochs: Number of epochs.
        steps_per_epoch: Steps in each.
        batch_size: Images in a step.
        reporter: Hears of everything.
    """

    task: Task
    step: Step
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

    def run(self, progress: Progress) -> Progress:
        """Train to the end.

        Raises:
            DivergedError: The loss is not finite; the last checkpoint is kept.
            Interrupted: Ctrl-C or SIGTERM came; the state has been saved first.
        """
        source = iter(self.batches(progress.epoch, progress.step))
        with _stop_requests() as stop:
            while progress.epoch < self.epochs:
                self._epoch(source, progress, stop)
        return progress

    def _epoch(self, source: Iterator[Any], progress: Progress, stop: _Stop) -> None:
        clock = _Clock(progress)
        pending: list[tuple[Any, Any]] = []
        while progress.step < self.steps_per_epoch:
            images, labels = self._next(source, progress)
            pending.append(self.step(images, labels))
            progress.step += 1
            clock.images += self.batch_size
            last = progress.step == self.steps_per_epoch
            if last or stop.asked or clock.due():
                self._collect(pending, progress)
                self.reporter.step(progress.epoch, progress.step, self._figures(progress, clock))
            if stop.asked:
                clock.stop()
                self.save(progress)
                raise Interrupted(
                    f"stopped at epoch {progress.epoch + 1}, step {progress.step}; state saved",
                    hint="go on with the same command and --resume.",
                    exit_code=stop.exit_code,
                )
        self._end_epoch(progress, clock)

    def _next(self, source: Iterator[Any], progress: Progress) -> tuple[Any, Any]:
        """Return the next batch; where the data are too bad to go on, the state is saved first."""
        try:
            batch: tuple[Any, Any] = next(source)
        except IntegrityError:
            self.save(progress)
            raise
        return batch

    def _collect(self, pending: list[tuple[Any, Any]], progress: Progress) -> None:
        """Read losses and hits from the device; done rarely, because it waits for it."""
        first = progress.step - len(pending) + 1
        for offset, (loss, hits) in enumerate(pending):
            value = float(np.asarray(loss))
            if not math.isfinite(value):
                at = progress.epoch * self.steps_per_epoch + first + offset - 1
                raise DivergedError(
                    f"the loss is {value} at epoch {progress.epoch + 1}, step {first + offset}, "
                    f"learning rate {self.learning_rate(at):.3g}",
                    hint="lower --lr or lengthen the warm-up (--set warmup_epochs=5); "
                    "the last checkpoint is kept.",
                )
            progress.loss_sum += value
            progress.hits += int(np.asarray(hits))
        pending.clear()

    def _figures(self, progress: Progress, clock: _Clock) -> dict[str, float]:
        at = progress.epoch * self.steps_per_epoch + progress.step - 1
        return {
            "loss": progress.loss_sum / progress.step,
            self.task.hits.key: progress.hits / (progress.step * self.batch_size),
            "learning_rate": self.learning_rate(at),
            "images_per_s": clock.images_per_s(),
        }

    def _end_epoch(self, progress: Progress, clock: _Clock) -> None:
        figures = self._figures(progress, clock)
        clock.stop()
        scores = self.validate()
        record = {
            "epoch": progress.epoch + 1,
            "train_loss": figures["loss"],
            f"train_{self.task.hits.key}": figures[self.task.hits.key],
            "val_loss": scores.loss,
            **{f"val_{key}": value for key, value in scores.columns().items()},
            "learning_rate": figures["learning_rate"],
            "images_per_s": figures["images_per_s"],
            "wall_time_s": progress.wall_time_s,
            "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        best = _is_best(record, progress, f"val_{self.task.chosen_by.key}")
        progress.history.append(record)
        progress.epoch += 1
        progress.step, progress.loss_sum, progress.hits = 0, 0.0, 0
        if best:
            progress.best_epoch = progress.epoch
            self.keep_best()
        self.log(progress.history)
        self.save(progress)
        self.reporter.epoch(record, best=best)


def _is_best(record: dict[str, Any], progress: Progress, key: str) -> bool:
    """Compare by a validation figure, ties by loss."""
    if not progress.best_epoch:
        return True
    old = progress.history[progress.best_epoch - 1]
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


class _Stop:
    """Whether a signal has asked to stop after the current step."""

    asked = False
    exit_code = 130

    def request(self, number: int, frame: Any) -> None:
        if self.asked:  # the second one means now
            raise KeyboardInterrupt
        self.asked = True
        self.exit_code = 128 + number


@contextmanager
def _stop_requests() -> Iterator[_Stop]:
    """Let the step in progress finish when Ctrl-C or SIGTERM comes; the handlers are put back."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may install handlers
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop.request) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
