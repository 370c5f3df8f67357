"""`train`: a model, a dataset and a recipe become a run folder.

Names are resolved before TensorFlow is imported, so a wrong one is reported at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rezoo.artifacts.run_files import has_checkpoint
from rezoo.data.datasets import DataOptions, Dataset
from rezoo.models.devices import Devices, joined, leave
from rezoo.models.settings import compute_deterministically
from rezoo.recipes.recipe import Recipe
from rezoo.sources.references import Reference
from rezoo.training import old_run
from rezoo.training.keras_callbacks import KerasCallbacks
from rezoo.training.other_hosts import check_same_data, folder_of_host, records_for_others
from rezoo.training.printing import Lines
from rezoo.training.recorded import Inputs, Recorded, complete, was_deterministic
from rezoo.training.reporters import Plan, Reporter, Several, TensorBoard
from rezoo.training.request import Request, read_run, with_keywords
from rezoo.training.timetable import Timetable
from rezoo.utils.lock import locked

if TYPE_CHECKING:
    from rezoo.training.loop import Loop


@dataclass(frozen=True, kw_only=True)
class Run:
    """The result of `train`.

    Attributes:
        folder: The run folder; a model reference like any other.
        metrics: The content of `metrics.json`: the best epoch's validation figures, times.
    """

    folder: Path
    metrics: dict[str, Any]


def train(
    model: Reference | None = None,
    dataset: str | Dataset | None = None,
    *,
    pretrained: bool = False,
    recipe: str | Path | Recipe | None = None,
    epochs: int | None = None,
    batch_size: int | str | None = None,
    lr: float | None = None,
    image_size: int | None = None,
    seed: int | None = None,
    changes: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    resume: bool | Reference = False,
    allow_change: bool = False,
    overwrite: bool = False,
    max_time_s: float | None = None,
    checkpoint_every: str | None = None,
    tensorboard: bool = False,
    deterministic: bool = False,
    devices: int | str | None = None,
    hosts: str | None = None,
    options: DataOptions | Mapping[str, Any] | None = None,
    verbose: int = 1,
    callbacks: Sequence[Any] = (),
    reporter: Reporter | None = None,
    **settings: Any,
) -> Run:
    """Train a network; the weights with the best validation figure are the run's result.

    That figure is top-1 accuracy, or mean average precision for multi-label data. A tenth of train
    (or the dataset's own part) is used for validation; test is not used. The random state of the
    process is left as it was. The names of the arguments are those of the options of `rezoo train`.

        rezoo.train("resnet18", "folder:photos", epochs=5, lr=0.05, label_smoothing=0.1)
        rezoo.train(resume="runs/resnet18-photos")

    Args:
        model: The name of an architecture starts from random weights. Weights of the catalogue, a
            repository of the Hub and a folder with weights are fine-tuned. They get a new head
            unless their classes are the dataset's. None for that of the run that is resumed.
        dataset: A dataset reference, or an opened dataset. None for that of the run that is
            resumed, or for `digits`.
        pretrained: Start an architecture from its default published weights.
        recipe: A recipe, its name or a `.toml` file; by default chosen by weights and dataset.
        epochs: Passes over the training images.
        batch_size: Images per step. `"auto"` keeps the recipe's batch and divides it into
            micro-batches that fit into memory.
        lr: Peak learning rate.
        image_size: Height and width in pixels.
        seed: Of weights, order and augmentation.
        changes: Recipe keys with other values, as a mapping.
        output: The run folder; by default `runs/<model>-<dataset>`.
        resume: The folder of a run, or the result of `train`: continue it from its last
            checkpoint, to the same bits. Model, dataset, recipe and options are those of the run;
            what is given in addition is compared. True for the run in `output`. Data, recipe,
            network and the versions of rezoo, Keras and the backend must be the same. More epochs
            are allowed if the learning rate is constant or `schedule` is set.
        allow_change: Go on in spite of differences. They are recorded in `environment.json`.
        overwrite: Replace the run in that folder. Files that rezoo did not write stay.
        max_time_s: Seconds that the whole run may take. A few steps are timed first, and the
            schedule gets as many epochs as fit, at most the recipe's.
        checkpoint_every: When to save inside an epoch: a time (`"10m"`), a number of steps
            (`"500steps"`) or `"epoch"` for not at all. By default, after 10 minutes or 50 times the
            duration of the last save, whichever is longer. The end of an epoch is always saved.
        tensorboard: Also write event files to `events` in the run folder.
        deterministic: On a GPU, use kernels that give the same bits in every process, for the
            whole process; they are slower. On a CPU all are. A run that is resumed keeps its
            choice.
        devices: Of this machine that each have a part of the batch, on JAX: a number, or `"all"`.
            By default one; with `hosts`, all.
        hosts: `"ADDRESS:PORT,N,INDEX"`: this process is number INDEX of N, one on each machine,
            and the first listens there. All call `train` with the same arguments. Only the first
            writes files and returns the metrics.
        options: How to treat unreadable images, what to leave out, and what to keep in memory.
            Only the first and the last apply to an opened dataset. A mapping changes some of
            those of the run that is resumed, or of the default ones.
        verbose: Whether the plan and the progress are printed, on stderr or in the notebook; 0
            for silence.
        callbacks: Objects of `keras.callbacks.Callback`, such as loggers; see
            `rezoo.training.keras_callbacks` for the hooks that are called. A run that is resumed
            needs them again.
        reporter: Receives the events of the run, in place of printing.
        settings: Any other recipe key, as `--set KEY=VALUE` sets it.

    Raises:
        UnknownNameError: No such model, dataset or recipe.
        SpecError: A recipe key, the folder, the devices or the data do not allow it; the time is
            too short; `deterministic` comes after JAX was imported.
        NotFoundError: The folder to be resumed holds no run.
        IncompatibleError: The run to be resumed was started with something else; another host has
            other data.
        LostHostError: Another host has ended, or is not reached.
        RunLockedError: Another process changes the run folder.
        CallbackError: A callback fails; the state has been saved.
        DivergedError: The loss is not finite, or no gradient is finite in float16.
        Interrupted: Ctrl-C or SIGTERM; the state has been saved.
    """
    began = time.monotonic()
    timetable = Timetable.of(checkpoint_every)
    frequent = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "image_size": image_size}
    changes = with_keywords(changes, {**frequent, "seed": seed, **settings})
    reporter = reporter or (Lines() if verbose else Reporter())
    reporter = Several(reporter, KerasCallbacks(callbacks)) if callbacks else reporter
    deterministic = deterministic or was_deterministic(resume, model, output)
    if deterministic:
        with reporter.loading():
            compute_deterministically()
    with joined(devices, hosts) as team, folder_of_host(team, resume, output) as place:
        resume, output = place
        reporter = reporter if team.is_first else Reporter()
        inputs = complete(
            resume, model=model, dataset=dataset, recipe=recipe, output=output, options=options,
            max_time_s=max_time_s, tensorboard=tensorboard, deterministic=deterministic,
            pretrained=pretrained, changes=changes,
        )  # fmt: skip
        terms = _Terms(began, resume is not False, overwrite, allow_change, timetable)
        return _in_folder(inputs, terms, reporter, team)


class _Terms(NamedTuple):
    """On which terms a run trains.

    Attributes:
        began: When `train` was called, on the monotonic clock.
        resume: Whether it continues the run in its folder, if there is one.
        overwrite: Whether it replaces that run.
        allow_change: Whether what it continues with may differ.
        timetable: When it is saved inside an epoch.
    """

    began: float
    resume: bool
    overwrite: bool
    allow_change: bool
    timetable: Timetable


def _in_folder(inputs: Inputs, terms: _Terms, reporter: Reporter, devices: Devices) -> Run:
    """Lock the run folder, look whether the run may write there, and train."""
    request, resume = inputs.request(), terms.resume
    folder = request.folder
    request.check_folder(resume=resume, overwrite=terms.overwrite)
    with locked(folder, what="training"):
        old_run.check(folder, resume=resume, overwrite=terms.overwrite)
        if devices.is_first:
            records_for_others(devices, folder, resume=resume)
        resumed = devices.from_first(resume and has_checkpoint(folder))
        notes = ["nothing to resume: a new run"] if resume and not resumed else []
        before = read_run(folder) if resumed else None
        return _train(request, inputs, terms, reporter, devices, before, notes)


def _train(
    request: Request,
    inputs: Inputs,
    terms: _Terms,
    reporter: Reporter,
    devices: Devices,
    before: Recipe | None,
    notes: list[str],
) -> Run:
    """Train; `before` is the recipe of the run that is resumed."""
    request = request.with_files(inputs.options)
    with reporter.loading():
        from rezoo.data.identity import Identity
        from rezoo.training import resuming, run_folder
        from rezoo.training.loop import Loop
        from rezoo.training.time_limit import set_up
    folder, limit_s = request.folder, inputs.max_time_s
    setup, finish_s = set_up(
        request, inputs.options, reporter, limit_s, terms.began, before, devices
    )
    identity = Identity.of(setup.data)
    check_same_data(identity, devices)
    recorded = resuming.recorded(setup, request, inputs, identity)
    changes, more = resuming.compare(request, setup, identity, recorded, allow=terms.allow_change)
    notes = [*notes, *more]
    step = setup.new_step()  # refuses what cannot be trained, before anything is removed
    if terms.overwrite:
        notes += old_run.remove(folder)
    if changes:
        setup = setup.in_place_of(Recorded.read(folder).signature)
    if inputs.tensorboard and devices.is_first:
        reporter = Several(reporter, TensorBoard())
    deadline = terms.began + limit_s - finish_s if limit_s else None
    reporter.built(setup.network, step.update.optimizer)
    loop = Loop(setup, step, folder, reporter, deadline=deadline, timetable=terms.timetable)
    if changes or setup.signature != setup.signature_before:
        notes += resuming.adopt(loop, changes)
    plan = setup.plan(request, *filter(None, notes))
    run_folder.write_plan(folder, plan, identity, recorded)
    reporter.started(plan, loop.progress.epoch, loop.progress.step)
    with resuming.resumable_errors(folder), setup.memory_errors():
        return _to_the_end(loop, plan)


def _to_the_end(loop: Loop, plan: Plan) -> Run:
    """Train, and write the results: the first of several hosts does so without the others."""
    import numpy as np
    from keras import ops

    from rezoo.evaluation.forward import compiled_forward
    from rezoo.training import run_folder

    try:
        progress = loop.run()
    finally:
        loop.reporter.finished()
    loop.reporter.status("writing the results")
    setup, step = loop.setup, loop.step
    if setup.devices.hosts == 1:
        with step.averaged():
            metrics = run_folder.finish(loop.folder, setup, plan, progress, loop.forward)
        return Run(folder=loop.folder, metrics=metrics)
    with step.averaged():
        values = [np.array(ops.convert_to_numpy(v)) for v in setup.network.variables]
    leave()
    if not setup.devices.is_first:
        return Run(folder=loop.folder, metrics={})
    setup = setup.on_one_device(values)
    forward = compiled_forward(setup.network, setup.config.preprocessing)
    return Run(
        folder=loop.folder, metrics=run_folder.finish(loop.folder, setup, plan, progress, forward)
    )
