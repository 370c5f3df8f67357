"""Whether a run can go on, how it adopts what has changed, and how to continue it."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from rezoo.artifacts.run_files import has_checkpoint, read_environment
from rezoo.data.identity import Identity
from rezoo.errors import CallbackError, DivergedError, IncompatibleError, Interrupted, ResourceError
from rezoo.evaluation.recording import remove_scores
from rezoo.models.fingerprint import fingerprint
from rezoo.sources.references import as_reference
from rezoo.training import run_differences
from rezoo.training.recorded import Inputs, Recorded, lasting
from rezoo.training.run_differences import DATA, Difference
from rezoo.training.run_folder import environment, record_changes
from rezoo.training.schedules import schedule

if TYPE_CHECKING:
    from rezoo.training.checkpoints import Progress
    from rezoo.training.loop import Loop
    from rezoo.training.request import Request
    from rezoo.training.setup import Setup

# Errors after which a run can go on, from its last checkpoint.
_STOPPING = (CallbackError, DivergedError, Interrupted, ResourceError, KeyboardInterrupt)
_ANEW = "start a new run with --overwrite or another --output."


def refuse(folder: Path, found: Sequence[Difference]) -> None:
    """Raise an error that lists differences by name.

    Raises:
        IncompatibleError: There is one.
    """
    if not found:
        return
    listed = "; ".join(f"{x.what}: {x.text}" for x in found)
    remedies = "; ".join(dict.fromkeys(x.remedy for x in found))
    raise IncompatibleError(
        f"the run in {folder} was started with {listed}",
        hint=f"{remedies}; go on all the same with --allow-change; or {_ANEW}",
    )


def recorded(setup: Setup, request: Request, inputs: Inputs, identity: Identity) -> Recorded:
    """Return what a run that starts or goes on now records of itself."""
    return Recorded(
        model=request.source.reference,
        dataset=identity.reference,
        data_sha256=identity.sha256,
        source=request.source.lasting,
        architecture=setup.config.architecture,
        fingerprint=fingerprint(setup.network),
        signature=setup.signature,
        options=lasting(inputs.options),
        max_time_s=inputs.max_time_s,
        tensorboard=inputs.tensorboard,
        deterministic=inputs.deterministic,
    )


def compare(
    request: Request, setup: Setup, identity: Identity, now: Recorded, *, allow: bool
) -> tuple[list[Difference], list[str]]:
    """Return how what a run would go on with differs from its start, and notes for the user.

    Both are empty for a new run. The first host compares, and all hosts must call it.

    Args:
        request: The inputs of the run.
        setup: What it would compute with.
        identity: Its data.
        now: What it would record of itself.
        allow: Whether it may differ.

    Raises:
        IncompatibleError: It differs, and may not.
    """
    found: list[Difference] = []
    notes: list[str] = []
    if setup.before is not None and setup.devices.is_first:
        found, notes = _compared(request, setup, identity, now)
        if not allow:
            refuse(request.folder, found)
    same = setup.devices.from_first([dataclasses.asdict(x) for x in found])
    return [Difference(**x) for x in same], notes


def _compared(
    request: Request, setup: Setup, identity: Identity, now: Recorded
) -> tuple[list[Difference], list[str]]:
    folder, was = request.folder, Recorded.read(request.folder)
    data, versions, machine = Identity.read(folder), read_environment(folder), environment()
    found = [
        *run_differences.of_recipe(setup.before or setup.recipe, setup.recipe, request.chosen),
        *run_differences.of_data(data, identity),
        *run_differences.of_network(was, now),
        *run_differences.of_versions(versions, machine),
        *run_differences.of_kernels(was, now),
    ]
    others = (
        run_differences.describe_data(data, identity),
        run_differences.describe_versions(versions, machine),
    )
    notes = [f"goes on with {x.what}: {x.text}" for x in found]
    return found, [*notes, *others]


def adopt(loop: Loop, changes: Sequence[Difference]) -> list[str]:
    """Make more epochs or other changes part of the run, before its recipe is written.

    Returns:
        Notes for the user.
    """
    setup, progress, notes = loop.setup, loop.progress, []
    if any(x.what == DATA for x in changes):  # what was left out has other positions now
        setup.train.reasons.clear()
        progress.step = min(progress.step, setup.steps_per_epoch)
        remove_scores(loop.folder)
    if setup.before is not None and setup.recipe.epochs != setup.before.epochs:
        notes.append(describe_more_epochs(setup, progress))
    loop.save()  # before recipe.toml: a checkpoint of the same recipe is resumed
    texts = [*(f"{x.what}: {x.record}" for x in changes), *notes]
    record_changes(loop.folder, texts, progress)
    return notes


def describe_more_epochs(setup: Setup, progress: Progress) -> str:
    """Return in words how the learning rate of a run goes on that gets more epochs."""
    before, now = setup.before or setup.recipe, setup.recipe
    at = progress.epoch * setup.steps_per_epoch + progress.step
    old, new = (
        float(keras.ops.convert_to_numpy(schedule(recipe, setup.steps_per_epoch)(step)))
        for recipe, step in ((before, max(at - 1, 0)), (now, at))
    )
    course = f"stays {new:.3g}" if old == new else f"goes on at {new:.3g} after {old:.3g}"
    text = f"epochs {before.epochs} → {now.epochs}: the learning rate {course}"
    return text if now.schedule == "constant" else f"{text} (schedule {now.schedule})"


def command_to_resume(folder: Path | str) -> str:
    """Return the command that continues the run in a folder."""
    return f"rezoo train --resume {shlex.quote(as_reference(Path(folder)))}"


@contextmanager
def resumable_errors(folder: Path) -> Iterator[None]:
    """Add to errors that stop a run how to continue it, if there is a checkpoint."""
    try:
        yield
    except _STOPPING as error:
        if has_checkpoint(folder):
            command = command_to_resume(folder)
            if isinstance(error, KeyboardInterrupt):
                error.add_note(f"the last checkpoint is kept; continue with {command}")
            elif isinstance(error, Interrupted):
                error.hint = f"continue with {command}"
            else:
                error.hint += " The last checkpoint is kept."
        raise
