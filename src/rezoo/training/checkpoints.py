"""The complete state of a run in one file, replaced atomically.

A checkpoint holds every variable of the model, of the optimizer, of the average of the weights
and of the loss scale, and in its metadata the position of the run. One rename makes it valid, so a
crash leaves no half of one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras

from rezoo.artifacts.safetensors import read_tensors, write_tensors
from rezoo.errors import IncompatibleError

LAST = Path("checkpoints") / "last.safetensors"
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
        if best:
            self.best_epoch = epoch


def save(
    folder: Path, state: Iterable[tuple[str, Any]], progress: Progress, signature: str
) -> None:
    """Write the state of a run.

    Args:
        folder: The run folder.
        state: Every variable of the run and its name, as `TrainingStep.state` yields them.
        progress: The position of the run.
        signature: What must be equal to resume from the state (recipe, data, network).
    """
    values = {name: keras.ops.convert_to_numpy(variable) for name, variable in state}
    meta = {**asdict(progress), "signature": signature}
    write_tensors(folder / LAST, values, metadata={_META: json.dumps(meta)})


def restore(folder: Path, state: Iterable[tuple[str, Any]], *signatures: str) -> Progress | None:
    """Restore the last checkpoint of a run folder; return None if there is none.

    Args:
        folder: The run folder.
        state: Every variable of the run and its name; their values are assigned.
        signatures: As passed to `save`; one of them must be the checkpoint's.

    Raises:
        IncompatibleError: The run was started with another recipe, dataset or network.
        IntegrityError: The checkpoint is damaged.
    """
    path = folder / LAST
    if not path.exists():
        return None
    values, metadata = read_tensors(path)
    meta = json.loads(metadata.get(_META, "{}"))
    if meta.pop("signature", None) not in signatures:
        raise IncompatibleError(
            f"the run in {folder} was started with another recipe, dataset or network",
            hint="resume with the options it was started with (see its recipe.toml), "
            "or start a new run with --overwrite or another --output.",
        )
    variables = dict(state)
    fits = values.keys() == variables.keys() and all(
        values[name].shape == tuple(variable.shape) for name, variable in variables.items()
    )
    if not fits:
        raise IncompatibleError(f"{path} does not fit the network of this version of rezoo")
    for name, variable in variables.items():
        variable.assign(values[name])
    return Progress(**meta)
