"""Callbacks of Keras in a run: loggers such as those of W&B and MLflow, and early stopping."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rezoo.errors import CallbackError, SpecError
from rezoo.training.reporters import Plan, Reporter

_NAMES = {"top1": "accuracy", "val_top1": "val_accuracy"}  # Keras's for ours
_NO_FIGURES = ("epoch", "finished_utc")
_SCHEDULES = ("LearningRateScheduler", "ReduceLROnPlateau")


class KerasCallbacks(Reporter):
    """Calls hooks of `keras.callbacks.Callback` objects with the figures of a run.

    These hooks are called: `set_params`, `set_model`, `on_train_begin`, `on_epoch_begin`,
    `on_train_batch_end`, `on_epoch_end` and `on_train_end`. Epochs and batches are counted from 0,
    as in Keras. A run ends after the epoch in which a callback sets `model.stop_training`.

    Raises:
        SpecError: One is not a callback, or sets the learning rate, which the recipe does.
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self._callbacks = [_checked(callback) for callback in callbacks]
        self._network: Any = None
        self._epoch = self._epochs = 0
        if any(map(_watches_batches, self._callbacks)):
            self.interval_s = 0.0

    def built(self, network: Any, optimizer: Any) -> None:
        """Give the callbacks the network, with its optimizer as the attribute `optimizer`."""
        self._network = network
        # past Keras, which would make the optimizer a part of what the network saves
        object.__setattr__(network, "optimizer", optimizer)
        object.__setattr__(network, "stop_training", False)
        self._call("set_model", network)

    def started(self, plan: Plan, epoch: int, step: int) -> None:
        """Pass on the length of the run and the epoch in which it starts."""
        self._epochs = max(plan.recipe.epochs, 1)  # a linear probe counts as one
        params = {"epochs": self._epochs, "steps": plan.steps_per_epoch, "verbose": 0}
        self._call("set_params", params)
        self._call("on_train_begin")
        self._epoch = epoch
        if epoch < self._epochs:
            self._call("on_epoch_begin", epoch)

    def step(self, epoch: int, step: int, figures: dict[str, float]) -> None:
        """Pass on the figures of the epoch so far."""
        self._call("on_train_batch_end", step - 1, _logs(figures))

    def epoch(self, record: dict[str, Any], *, best: bool) -> None:
        """Pass on the figures of an epoch; those before the first are left out."""
        if not record["epoch"] and self._epochs > 1:
            return
        self._call("on_epoch_end", self._epoch, _logs(record))
        self._epoch += 1
        if self._epoch < self._epochs and not self._network.stop_training:
            self._call("on_epoch_begin", self._epoch)

    def reason_to_end(self) -> str:
        """Return that a callback asks for the end, if one does."""
        stops = self._network is not None and self._network.stop_training
        return "a callback has set model.stop_training" if stops else ""

    def finished(self) -> None:
        """Tell the callbacks that no event follows."""
        if self._network is not None:
            self._call("on_train_end")

    def _call(self, hook: str, *values: Any) -> None:
        for callback in list(self._callbacks):
            try:
                getattr(callback, hook)(*values)
            except Exception as error:
                self._callbacks.remove(callback)  # the others may still close their files
                raise CallbackError(
                    f"the callback {type(callback).__name__} failed in {hook}: "
                    f"{type(error).__name__}: {error}",
                    hint="repair it, or leave it out.",
                ) from error


def _checked(callback: Any) -> Any:
    """Return an object if it is a callback that suits."""
    # who has such an object has imported Keras
    base = getattr(sys.modules.get("keras"), "callbacks", None)
    if base is None or not isinstance(callback, base.Callback):
        is_class = isinstance(callback, type)
        name = callback.__name__ if is_class else type(callback).__name__
        raise SpecError(
            f"callbacks: {name} is not a keras.callbacks.Callback",
            hint=f"pass an object: {name}(…)." if is_class else "pass objects of such classes.",
        )
    if isinstance(callback, tuple(getattr(base, name) for name in _SCHEDULES)):
        raise SpecError(
            f"callbacks: {type(callback).__name__} would set the learning rate, which follows the "
            "recipe",
            hint="choose its course with the recipe keys schedule and learning_rate.",
        )
    return callback


def _watches_batches(callback: Any) -> bool:
    base = sys.modules["keras"].callbacks.Callback
    hooks = ("on_train_batch_end", "on_batch_end")
    return any(
        getattr(getattr(callback, hook), "__func__", None) is not getattr(base, hook)
        for hook in hooks
    )


def _logs(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return figures under Keras's names: `loss`, `accuracy`, `val_loss`, `val_accuracy` …."""
    return {
        _NAMES.get(name := key.removeprefix("train_"), name): float(value)
        for key, value in figures.items()
        if value is not None and key not in _NO_FIGURES and not key.startswith("recent_")
    }
