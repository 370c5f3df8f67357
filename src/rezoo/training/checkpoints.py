"""The complete state of a run: everything that decides how it goes on.

A checkpoint holds every variable of the model, of the optimizer, of the average of the weights
and of the loss scale, and in its metadata the position of the run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo.errors import IncompatibleError, IntegrityError
from rezoo.models.devices import ONE, Devices
from rezoo.training.generations import Content, Generations
from rezoo.utils.documents import short

_META = "rezoo"


@dataclass
class Progress:
    """The position of a run, and its figures so far.

    Attributes:
        epoch: Epochs completed.
        step: Steps completed in the current epoch.
        loss_sum: Sum of the losses of these steps.
        hits: Correct predictions in these steps, as `rezoo.training.losses` counts them.
        norm_sum: Sum of the finite gradient norms of these steps.
        norms: Number of finite norms; the other steps were left out by the loss scaling.
        wall_time_s: Seconds of training so far, over all resumptions.
        total_s: Seconds of the run so far, also of validation and saving.
        epoch_began_s: That time at the beginning of the current epoch.
        epoch_s: Seconds of the last completed epoch, with validation.
        history: One record for each completed epoch; number 0 is the network before the first.
        best_epoch: The epoch with the best validation figure; None before the first.
        left_out: Training examples that could not be read, by index.
        watched: The memory of `rezoo.training.health.Health`.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    hits: int = 0
    norm_sum: float = 0.0
    norms: int = 0
    wall_time_s: float = 0.0
    total_s: float = 0.0
    epoch_began_s: float = 0.0
    epoch_s: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int | None = None
    left_out: list[int] = field(default_factory=list)
    watched: dict[str, Any] = field(default_factory=dict)

    def improves(self, record: dict[str, Any], key: str) -> bool:
        """Return whether a record is better than the best so far by a key, ties by loss."""
        if self.best_epoch is None:
            return True
        old = next(r for r in self.history if r["epoch"] == self.best_epoch)
        return bool((record[key], -record["val_loss"]) > (old[key], -old["val_loss"]))

    def complete(self, epoch: int, *, best: bool) -> None:
        """Count an epoch as completed, and as the best one so far if it is."""
        self.epoch = epoch
        self.step, self.loss_sum, self.hits = 0, 0.0, 0
        self.norm_sum, self.norms = 0.0, 0
        self.epoch_s, self.epoch_began_s = self.total_s - self.epoch_began_s, self.total_s
        if best:
            self.best_epoch = epoch


def snapshot(state: Iterable[tuple[str, Any]], progress: Progress, signature: str) -> Content:
    """Return a copy of the state of a run, which later steps do not change.

    Args:
        state: Every variable of the run and its name, as `TrainingStep.state` yields them.
        progress: The position of the run.
        signature: What must be equal to resume from the state (recipe, data, network).
    """
    values = {name: _values(variable) for name, variable in state}
    meta = {**asdict(progress), "signature": signature}
    return Content(values, {_META: json.dumps(meta)})


def restore(
    files: Generations,
    state: Iterable[tuple[str, Any]],
    *signatures: str,
    devices: Devices = ONE,
) -> Progress | None:
    """Restore the newest whole checkpoint of a run; return None if there is none.

    On several hosts, the first one reads it, and the others receive it.

    Nothing is assigned unless everything in the checkpoint is valid. A `RunWarning` states that
    the newest is damaged and the one before it is used.

    Args:
        files: Of the run folder.
        state: Every variable of the run and its name; their values are assigned.
        signatures: As passed to `snapshot`; one of them must be the checkpoint's.
        devices: On which the variables are.

    Raises:
        IncompatibleError: The run was started with another recipe, dataset or network, or the
            file is no checkpoint of this version of rezoo.
        IntegrityError: All checkpoints are damaged.
        NotFoundError: It cannot be read.
    """
    variables = dict(state)

    def interpret(content: Content, path: Path) -> tuple[Content, Progress]:
        progress = _interpret(content, path, signatures)
        _check_fit(content, path, variables)
        return content, progress

    found = files.read(interpret) if devices.is_first else None
    meta = devices.from_first(None if found is None else asdict(found[1]))
    if meta is None:
        return None
    values = found[0].values if found else {n: _values(v) for n, v in variables.items()}
    received = devices.arrays_from_first({name: values[name] for name in variables})
    for name, variable in variables.items():
        variable.assign(received[name])
    return Progress(**meta)


def _values(variable: Any) -> np.ndarray:
    """Return a copy of a variable's values, in C order."""
    return np.array(keras.ops.convert_to_numpy(variable), order="C")


_HINT = "start again with --overwrite or another --output."


def _interpret(content: Content, path: Path, signatures: Collection[str]) -> Progress:
    meta = _parse(content.metadata.get(_META), path)
    if meta.pop("signature", None) not in signatures:
        raise IncompatibleError(
            f"the run in {path.parents[1]} was started with another recipe, dataset or network",
            hint="resume with the options it was started with (see its recipe.toml), "
            "or start a new run with --overwrite or another --output.",
        )
    return _progress(meta, path)


def _check_fit(content: Content, path: Path, variables: Mapping[str, Any]) -> None:
    values = content.values
    fits = values.keys() == variables.keys() and all(
        values[name].shape == tuple(variable.shape) for name, variable in variables.items()
    )
    if not fits:
        raise IncompatibleError(
            f"{path} does not fit the network of this version of rezoo", hint=_HINT
        )


def _parse(text: str | None, path: Path) -> dict[str, Any]:
    """Return the metadata of a checkpoint; figures may be NaN, which JSON does not have."""
    if text is None:
        raise IncompatibleError(f"{path} is not a checkpoint of rezoo", hint=_HINT)
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} is damaged: its position is not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise IntegrityError(f"{path} is damaged: its position is {short(meta)}")
    return meta


def _progress(meta: dict[str, Any], path: Path) -> Progress:
    """Return the position of a run from the metadata, after a look at every value."""
    if unknown := meta.keys() - _VALID.keys():
        names = ", ".join(sorted(map(short, unknown)))
        raise IncompatibleError(f"{path} was written by another version: {names}", hint=_HINT)
    if missing := _VALID.keys() - meta.keys() - {"left_out"}:  # nothing is left out
        raise IntegrityError(f"{path} is damaged: it has no {', '.join(sorted(missing))}")
    for key, value in meta.items():
        if not _VALID[key](value):
            raise IntegrityError(f"{path} is damaged: {key} is {short(value)}")
    progress = Progress(**meta)
    epochs = [record["epoch"] for record in progress.history]
    if progress.best_epoch is not None and progress.best_epoch not in epochs:
        raise IntegrityError(f"{path} is damaged: it has no record of its best epoch")
    return progress


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_figure(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**53)


def _is_record(value: Any) -> bool:
    """Return whether a value is a line of `history.csv`."""
    return (
        isinstance(value, dict)
        and _is_count(value.get("epoch"))
        and all(v is None or isinstance(v, str) or _is_figure(v) for v in value.values())
    )


def _is_memory(value: Any) -> bool:
    """Return whether a value is the memory of `rezoo.training.health.Health`."""
    if not isinstance(value, dict):
        return False
    given = value.get("given", {})
    others = [v for key, v in value.items() if key != "given"]
    figures = [x for v in others for x in (v if isinstance(v, list) else [v])]
    return (
        isinstance(given, dict)
        and all(isinstance(text, str) for text in given.values())
        and all(type(x) is bool or _is_figure(x) for x in figures)
    )


_VALID: dict[str, Callable[[Any], bool]] = {
    "epoch": _is_count,
    "step": _is_count,
    "loss_sum": _is_figure,
    "hits": _is_count,
    "norm_sum": _is_figure,
    "norms": _is_count,
    "wall_time_s": _is_figure,
    "total_s": _is_figure,
    "epoch_began_s": _is_figure,
    "epoch_s": _is_figure,
    "history": lambda value: isinstance(value, list) and all(map(_is_record, value)),
    "best_epoch": lambda value: value is None or _is_count(value),
    "left_out": lambda value: isinstance(value, list) and all(map(_is_count, value)),
    "watched": _is_memory,
}
