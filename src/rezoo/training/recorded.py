"""What a run was started with, so that a run folder alone is enough to resume it.

It is in `checkpoints/local.json`, which is never published, because it has paths of this machine.
Loads without Keras.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from rezoo.artifacts.run_files import LOCAL, RECIPE
from rezoo.data.datasets import DataOptions, Dataset
from rezoo.errors import NotFoundError, SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.sources.references import Reference, Source, local_folder, resolve
from rezoo.training import old_run
from rezoo.training.request import Request, read_run
from rezoo.utils.documents import read_document
from rezoo.utils.files import write_json
from rezoo.utils.paths import expanded
from rezoo.utils.schemas import FLAG, Schema, conform, optional, real, text

_TEXT = text()
_SCHEMA: Schema = {
    "model": _TEXT,
    "dataset": _TEXT,
    "source?": _TEXT,
    "architecture?": _TEXT,
    "fingerprint?": _TEXT,
    "signature?": _TEXT,
    "max_time_s?": optional(real(0, 1e9)),
    "tensorboard?": FLAG,
    "deterministic?": optional(FLAG),
    "options?": {
        "on_bad_image": _TEXT,
        "bad_limit": real(0, 1),
        "ignore": _TEXT,
        "cache": _TEXT,
    },
}


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What a run was started with.

    Attributes:
        model: The model reference, as the user wrote it.
        dataset: The dataset reference, with an absolute path, a version or a commit.
        data_sha256: The fingerprint of the data.
        source: A model reference that means the same from everywhere. Empty if unknown.
        architecture: Of the network. Empty if unknown.
        fingerprint: Of the network, without its head. Empty if unknown.
        signature: That of its checkpoint. Empty if unknown.
        options: Of the data.
        max_time_s: Seconds that the whole run may take; None for no limit.
        tensorboard: Whether it writes event files.
        deterministic: Whether it uses deterministic kernels of a GPU; None if unknown.
    """

    model: str
    dataset: str
    data_sha256: str = ""
    source: str = ""
    architecture: str = ""
    fingerprint: str = ""
    signature: str = ""
    options: DataOptions = DataOptions()  # noqa: RUF009 - it is frozen
    max_time_s: float | None = None
    tensorboard: bool = False
    deterministic: bool | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the record of a run folder; all is unknown if it has none.

        Raises:
            IntegrityError: It is damaged.
            IncompatibleError: A value is not allowed.
        """
        if not (folder / LOCAL).exists():
            return cls(model="", dataset="")
        content = read_document(folder / LOCAL)
        conform(content, _SCHEMA, folder / LOCAL)
        names = {field.name for field in dataclasses.fields(cls)}
        known = {key: value for key, value in content.items() if key in names}
        if "options" in known:
            known["options"] = DataOptions(**known["options"])
        return cls(**known)

    def write(self, folder: Path) -> None:
        """Write the record to a run folder."""
        write_json(folder / LOCAL, asdict(self))

    def resolved(self) -> Source:
        """Return what the run's network starts from, under the name that the user gave it."""
        return dataclasses.replace(resolve(self.source), reference=self.model)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The arguments of `rezoo.train` that say what a run computes with."""

    model: Reference
    dataset: str | Dataset
    pretrained: bool
    recipe: str | Path | Recipe | None
    changes: Mapping[str, Any]
    output: str | Path | None
    options: DataOptions
    max_time_s: float | None
    tensorboard: bool
    deterministic: bool

    def request(self) -> Request:
        """Resolve every name and key. Errors are those of `rezoo.train`."""
        return Request.of(
            self.model,
            self.dataset,
            pretrained=self.pretrained,
            recipe=self.recipe,
            changes=self.changes,
            output=self.output,
        )


def was_deterministic(
    resume: bool | Reference, model: Reference | None, output: str | Path | None
) -> bool:
    """Return whether the run that inputs come from has deterministic kernels; see `complete`.

    It is asked before the backend is imported, which reads such settings at its start.
    """
    folder = _folder(resume, model, output)
    return folder is not None and bool(Recorded.read(folder).deterministic)


def complete(
    resume: bool | Reference,
    *,
    model: Reference | None,
    dataset: str | Dataset | None,
    recipe: str | Path | Recipe | None,
    output: str | Path | None,
    options: DataOptions | Mapping[str, Any] | None,
    max_time_s: float | None,
    tensorboard: bool,
    deterministic: bool = False,
    pretrained: bool = False,
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> Inputs:
    """Return the inputs of a run; those that are None come from the run that is resumed.

    That is the run in the folder `resume`, or, if `resume` is True and no model is named, the one
    in the folder `output`. Otherwise they have their default values.

    Args:
        resume: Of `rezoo.train`.
        model: Likewise.
        dataset: Likewise.
        recipe: Likewise.
        output: Likewise.
        options: Likewise.
        max_time_s: Likewise.
        tensorboard: Likewise.
        deterministic: Whether it was given, or comes from that run.
        pretrained: Of `rezoo.train`.
        changes: Recipe keys. If they have the number of epochs, the run's time limit ends.

    Raises:
        NotFoundError: The folder holds no run.
        SpecError: No model is named, and no run; or two run folders are.
    """
    folder = _folder(resume, model, output)
    if model is None and (folder is None or pretrained):
        raise SpecError("no model is named", hint="name one, or the folder of a run: --resume RUN.")
    run = _run(folder) if folder else Recorded(model="", dataset="digits")  # a new run
    if recipe is None and folder:
        recipe = _recipe(folder)
    limit = None if {"epochs", "steps"} & changes.keys() else run.max_time_s
    return Inputs(
        model=run.resolved() if model is None else model,
        dataset=run.dataset if dataset is None else dataset,
        pretrained=pretrained,
        recipe=recipe,
        changes=changes,
        output=folder or output,
        options=_options(options, run.options),
        max_time_s=limit if max_time_s is None else max_time_s,
        tensorboard=tensorboard or run.tensorboard,
        deterministic=deterministic,
    )


def _folder(
    resume: bool | Reference, model: Reference | None, output: str | Path | None
) -> Path | None:
    """Return the folder of the run that inputs come from; None if they come from nowhere."""
    if isinstance(resume, bool):
        return expanded(output) if resume and model is None and output is not None else None
    folder = local_folder(resume.reference if isinstance(resume, Source) else resume)
    if output is not None and expanded(output).resolve() != folder.resolve():
        raise SpecError(
            f"two run folders are named: {folder} to resume, and the output {output}",
            hint="a run goes on in its own folder: leave --output out.",
        )
    return folder


def _run(folder: Path) -> Recorded:
    if not folder.is_dir() or not old_run.holds_run(folder):
        what = "holds no run" if folder.is_dir() else "does not exist"
        raise NotFoundError(
            f"{folder} {what}: it cannot be resumed",
            hint="name a folder that rezoo train has written, or a model and a dataset.",
        )
    run = Recorded.read(folder)
    if not run.source:
        raise NotFoundError(
            f"{folder} does not record all that its run was started with",
            hint="repeat the whole command, with --resume after the model.",
        )
    return run


def _recipe(folder: Path) -> Recipe:
    recipe = read_run(folder)
    if recipe is None:
        raise NotFoundError(
            f"{folder} has no {RECIPE}: its run was stopped before it began",
            hint="repeat the whole command, with --resume after the model.",
        )
    return recipe


def _options(given: DataOptions | Mapping[str, Any] | None, base: DataOptions) -> DataOptions:
    if isinstance(given, DataOptions):
        return given
    return dataclasses.replace(base, **(given or {}))


def lasting(options: DataOptions) -> DataOptions:
    """Return options that mean the same from every folder."""
    return dataclasses.replace(
        options, ignore=str(expanded(options.ignore).absolute()) if options.ignore else ""
    )
