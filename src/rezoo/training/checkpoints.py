"""The complete state of a run in one file, replaced atomically.

A checkpoint holds every variable of the model and of the optimizers, and in its metadata
where the run stands. One rename makes it valid, so no crash leaves half of one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras

from rezoo.errors import IncompatibleError
from rezoo.tensorfile import read_tensors, write_tensors
from rezoo.training.optimizers import Group

LAST = Path("checkpoints") / "last.safetensors"
_META = "rezoo"


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        epoch: Epochs completed.
        step: Steps completed in the current epoch.
        loss_sum: Sum of the losses of these steps.
        hits: Right predictions in these steps, as `rezoo.training.losses` counts them.
        wall_time_s: Seconds of training so far, over all resumptions.
        history: One record for each completed epoch.
        best_epoch: The epoch (from 1) with the best validation figure; 0 for none.
        left_out: Training examples that could not be read, by index.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    hits: int = 0
    wall_time_s: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    left_out: list[int] = field(default_factory=list)


def save(
    folder: Path, model: keras.Model, groups: Sequence[Group], progress: Progress, signature: str
) -> None:
    """Write the state of a run.

    Args:
        folder: The run folder.
        model: The network.
        groups: The optimizers.
        progress: Where the run stands.
        signature: What must be equal for the state to be continued (recipe, data, network).
    """
    values = {n: keras.ops.convert_to_numpy(v) for n, v in _state(model, groups)}
    meta = {**asdict(progress), "signature": signature}
    write_tensors(folder / LAST, values, metadata={_META: json.dumps(meta)})


def restore(
    folder: Path, model: keras.Model, groups: Sequence[Group], signature: str
) -> Progress | None:
    """Continue from the last checkpoint of a run folder; None where there is none yet.

    Raises:
        IncompatibleError: The run was started with another recipe, dataset or network.
        IntegrityError: The checkpoint is damaged.
    """
    path = folder / LAST
    if not path.exists():
        return None
    values, metadata = read_tensors(path)
    meta = json.loads(metadata.get(_META, "{}"))
    if meta.pop("signature", None) != signature:
        raise IncompatibleError(
            f"the run in {folder} was started with another recipe, dataset or network",
            hint="resume with the options it was started with (see its recipe.toml), "
            "or start anew with --overwrite or another --output.",
        )
    state = dict(_state(model, groups))
    fits = values.keys() == state.keys() and all(
        values[name].shape == tuple(variable.shape) for name, variable in state.items()
    )
    if not fits:
        raise IncompatibleError(f"{path} does not fit the network of this version of rezoo")
    for name, variable in state.items():
        variable.assign(values[name])
    return Progress(**meta)


def _state(model: keras.Model, groups: Sequence[Group]) -> Iterator[tuple[str, Any]]:
    """Yield every variable under its place: Keras numbers the names of optimizers and layers."""
    for number, variable in enumerate(model.variables):
        yield f"model.{number:05d}", variable
    for place, group in enumerate(groups):
        for number, variable in enumerate(group.optimizer.variables):
            yield f"optimizer{place}.{number:05d}", variable
