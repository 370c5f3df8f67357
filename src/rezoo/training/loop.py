"""The training loop: epochs of compiled steps, validation, checkpoints, and a stop on a signal."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo.artifacts import weights
from rezoo.errors import CallbackError, IntegrityError, Interrupted
from rezoo.evaluation.forward import compiled_forward
from rezoo.evaluation.scoring.metrics import AnyScores, measure
from rezoo.training import checkpoints, input_wait, linear_probe, old_run, run_folder
from rezoo.training.agreement import Agreement, Wishes
from rezoo.training.checkpoints import Progress
from rezoo.training.generations import Generations
from rezoo.training.health import Health
from rezoo.training.readings import Readings
from rezoo.training.reporters import Reporter
from rezoo.training.saving import Saver
from rezoo.training.setup import Setup
from rezoo.training.step import MicroBatch, TrainingStep
from rezoo.training.timetable import Clock, Timetable
from rezoo.utils import device
from rezoo.utils.signals import stop_signals

_BEHIND = 2  # steps that a GPU has before it while their predecessors' figures are read
_TIMED_EVERY = 50  # steps: a GPU then has none before it, so it does wait for the next batch


class Loop:
    """Trains from the last checkpoint of a run folder, or from the start, to the end.

    Attributes:
        setup: Network, data and recipe.
        step: The compiled training step.
        folder: The run folder.
        reporter: Receives the events.
        forward: The network's compiled forward pass.
        progress: Where the run is.
        health: Returns warnings.

    Args:
        deadline: Of `time.monotonic()`, less what the run took before it was resumed: no epoch
            begins that would end after it. None for no limit.
        timetable: When to save inside an epoch.
    """

    def __init__(
        self,
        setup: Setup,
        step: TrainingStep,
        folder: Path,
        reporter: Reporter,
        *,
        deadline: float | None = None,
        timetable: Timetable = Timetable(),  # noqa: B008 - it is frozen
    ) -> None:
        self.setup = setup
        self.step = step
        self.folder = folder
        self.reporter = reporter
        old_run.remove_partial(folder)
        files, signatures = Generations(folder), (setup.signature, setup.signature_before)
        self._devices = setup.devices
        restored = checkpoints.restore(files, step.state(), *signatures, devices=setup.devices)
        self.progress = restored or Progress()
        self._saver, self._timetable = Saver(files), timetable
        self._before_s = self.progress.total_s - time.monotonic()
        # the time before the run was resumed counts, too
        self._deadline = (deadline or math.inf) - self.progress.total_s
        setup.train.reasons.update(dict.fromkeys(self.progress.left_out, "found before"))
        self.health = Health.of(setup, self.progress.watched)
        self.forward = compiled_forward(setup.network, setup.config.preprocessing)
        self._readings = Readings(setup, self.progress, self.health)
        self._agreement = Agreement(setup.devices)
        self._behind = _BEHIND if device.on_gpu() else 0

    def run(self) -> Progress:
        """Train to the end, or until there has been no better epoch for too long.

        Raises:
            DivergedError: The loss is not finite, or no gradient is, at any loss scale. The last
                checkpoint is kept.
            Interrupted: Ctrl-C or SIGTERM; the state has been saved.
            ResourceError: A checkpoint could not be written. Those before it are kept.
        """
        progress, epochs, why = self.progress, self.setup.recipe.epochs, ""
        with self._saver:
            if self.setup.starts_with_probe and not progress.history and not progress.step:
                self._close(0, self._fit_head())
            batches = self.setup.train_batches(progress.epoch, progress.step)
            with stop_signals() as signals:
                while progress.epoch < epochs and not (why := self._reason_to_end()):
                    self._epoch(batches, signals)
        if why:
            self.reporter.note(f"stopped after epoch {progress.epoch} of {epochs}: {why}")
        return progress

    def validate(self) -> AnyScores:
        """Measure the network on the validation split."""
        setup = self.setup
        batches, gather = setup.validation_share, self._devices.gather
        return measure(setup.task, self.forward, batches, gather=gather)

    def save(self) -> None:
        """Write the checkpoint, and wait until it is on the disk."""
        self._begin_to_save()
        self._saver.wait()

    def _begin_to_save(self) -> None:
        """Copy the state; the first host writes it while training goes on."""
        unreadable = self.setup.train
        unreadable.merge(self._devices.exchange(unreadable.reasons))
        self.progress.left_out = sorted(unreadable.reasons)
        self.progress.total_s = self._before_s + time.monotonic()
        if self._devices.is_first:
            self._saver.save(self.step.state(), self.progress, self.setup.signature)

    def _wishes(self, signals: list[int], step: int) -> Wishes:
        """Return what this host wishes to do after a step of the epoch, counted from 1."""
        saver, table, per_epoch = self._saver, self._timetable, self.setup.steps_per_epoch
        at = self.progress.epoch * per_epoch + step
        due = table.is_due(at, since_s=saver.since_s, save_s=saver.save_s) and step < per_epoch
        save = due and (bool(table.steps) or not saver.is_busy)
        return Wishes(signals[0] if signals else 0, int(save))

    def _reason_to_end(self) -> str:
        """Return why the run ends before its last epoch; empty if it does not.

        Patience depends on the progress alone, so a resumed run that has ended trains no further.
        """
        patience, best = self.setup.recipe.early_stopping_epochs, self.progress.best_epoch or 0
        if patience and self.progress.epoch - best >= patience:
            return f"none of the last {patience} was better than epoch {best}"
        why = self.reporter.reason_to_end()
        if self._deadline - time.monotonic() < self.progress.epoch_s:
            why = "another one would take longer than the time that is left"
        return str(self._devices.from_first(why))

    def _epoch(self, batches: Iterator[MicroBatch], signals: list[int]) -> None:
        setup, progress, clock = self.setup, self.progress, Clock()
        while progress.step < setup.steps_per_epoch:
            self._saver.check()
            batch = self._next(batches, clock)
            if not progress.epoch and not progress.step:
                self._warn(self.health.before_training(*map(self._devices.part, batch[0])))
            wishes = self._agreement.pass_on(self._wishes(signals, progress.step + 1))
            outcome = self.step(batch, wishes)
            progress.step += 1
            self._readings.add(outcome)
            clock.images += setup.recipe.batch_size
            last = progress.step == setup.steps_per_epoch
            now = self._agreement.after(outcome, self._wishes(signals, progress.step))
            if last or any(now) or clock.due(self.reporter.interval_s):
                self._report(clock, unread=0 if last or any(now) else self._behind)
                if signals and self._devices.hosts == 1:  # it may have come meanwhile
                    now = now._replace(signal=signals[0])
            if any(now):
                self._readings.read()
                progress.wall_time_s += clock.new_s()
                self._begin_to_save()
            if now.signal:
                self._stop(now.signal)
        figures = self._readings.means(clock)
        progress.wall_time_s += clock.new_s()
        self._close(progress.epoch + 1, figures)

    def _report(self, clock: Clock, *, unread: int) -> None:
        """Report the figures of all steps but the last ones, which the device may not have done."""
        if recent := self._readings.read(unread):
            figures = {**self._readings.means(clock), **recent}
            with self._kept_if_a_callback_fails(clock):
                self.reporter.step(self.progress.epoch, self._readings.last_read, figures)
            self._warn(self.health.after_steps())

    @contextmanager
    def _kept_if_a_callback_fails(self, clock: Clock) -> Iterator[None]:
        """Save the state if a callback fails; not on several hosts, which save together."""
        try:
            yield
        except CallbackError:
            if self._devices.hosts == 1:
                self._read_and_save(clock)
            raise

    def _read_and_save(self, clock: Clock) -> None:
        self._readings.read()
        self.progress.wall_time_s += clock.new_s()
        self.save()

    def _stop(self, number: int) -> None:
        """Wait until the state is saved, and end the run."""
        self._saver.wait()
        raise Interrupted(
            f"stopped at epoch {self.progress.epoch + 1}, step {self.progress.step}; state saved",
            hint="continue with the same command and --resume.",
            exit_code=128 + number,
        )

    def _next(self, batches: Iterator[MicroBatch], clock: Clock) -> list[MicroBatch]:
        """Return a whole batch, before the network sees any part of it.

        If too many images cannot be read, the state is saved before the error is raised; not on
        several hosts, which save together or not at all.
        """
        # the first batch of a process is not counted: the pipeline starts
        timed = not self._behind or (self.progress.step + 1) % _TIMED_EVERY == 0
        if timed:
            self._readings.wait()
        try:
            with clock.next_batch(timed=timed and self._readings.any):
                return [next(batches) for _ in range(self.step.micro_batches)]
        except IntegrityError:
            if self._devices.hosts == 1:
                self._read_and_save(clock)
            raise

    def _fit_head(self) -> dict[str, Any]:
        """Fit a new head to the features of the training images, with the test transform.

        The time counts as training. Returns the figures of an epoch, without rate and norm.
        """
        setup, began = self.setup, time.perf_counter()
        self.reporter.status(f"features of {setup.head_images:,} images for the head")
        images = setup.unaugmented_batches(setup.head_images, self._devices)
        parts = linear_probe.features(setup.network, images, setup.config.preprocessing)
        inputs, labels = map(self._devices.gather, parts)
        self.reporter.status("logistic regression, its strength by cross-validation")
        classes, seed = setup.config.num_classes, setup.recipe.seed
        probe, logits = linear_probe.fit_head(
            setup.network, inputs, labels, classes, seed=seed, devices=self._devices
        )
        if self.step.update.average:
            self.step.update.average.restart()
        loss, hits = setup.objective(*map(keras.ops.convert_to_tensor, (logits, labels)))
        elapsed_s = time.perf_counter() - began
        self.progress.wall_time_s += elapsed_s
        self.reporter.note(str(probe))
        return {
            "loss": float(np.asarray(loss)),
            setup.task.hits.key: int(np.asarray(hits)) / len(inputs),
            "gradient_norm": None,
            "learning_rate": 0.0,
            "images_per_s": len(inputs) / elapsed_s,
        }

    def _close(self, epoch: int, figures: dict[str, Any]) -> None:
        """Validate after an epoch, counted from 1, or before the first; keep the best weights."""
        setup, progress = self.setup, self.progress
        with self.step.averaged():
            scores = self.validate()
            record = run_folder.record(setup, progress, epoch, figures, scores)
            best = progress.improves(record, f"val_{setup.task.chosen_by.key}")
            if best and self._devices.is_first:
                weights.save_model(setup.network, setup.config, self.folder)
        hits = figures[setup.task.hits.key]
        texts = self.health.after_epoch(scores, number=epoch, train_hits=hits) if epoch else []
        given = input_wait.warnings(progress.history)
        progress.history.append(record)
        texts += [text for text in input_wait.warnings(progress.history) if text not in given]
        progress.total_s = self._before_s + time.monotonic()
        progress.complete(epoch, best=best)
        if self._devices.is_first:
            run_folder.write_history(self.folder, setup, progress.history)
        self._begin_to_save()
        self.reporter.epoch(record, best=best)
        self._warn(texts)

    def _warn(self, texts: list[str]) -> None:
        for text in texts:
            self.reporter.warning(text)
