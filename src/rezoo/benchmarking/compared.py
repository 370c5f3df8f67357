"""The networks of a comparison: what each reference means, checked before heavy imports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rezoo.benchmarking.targets import find_target
from rezoo.errors import SpecError
from rezoo.exporters.runner import find_export
from rezoo.sources.any_model import own_dataset, source_of
from rezoo.sources.references import (
    Source,
    WithFolder,
    as_reference,
    local_folder,
    resolve_weights,
)
from rezoo.utils.paths import expanded

if TYPE_CHECKING:
    import keras

    from rezoo.evaluation.predictions import Predictions
    from rezoo.evaluation.result import Evaluation

ENDING = ".npz"  # ending of a file of predictions


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """One of the networks to compare.

    Attributes:
        name: Its name in the result: the reference as given.
        kind: `network`, `exported` (a file of `rezoo export`) or `predictions`.
        given: The `Source` or model; the path of the exported file; the path of the file of
            predictions, or the predictions themselves.
        source: The source of a network.
    """

    name: str
    kind: str
    given: Any
    source: Source | None = None

    @property
    def dataset(self) -> str | None:
        """Dataset that a network was trained on, if it is recorded."""
        return own_dataset(self.source) if self.source else None

    @property
    def identity(self) -> str:
        """What is equal for two references to one network."""
        if isinstance(self.given, Path):
            return str(self.given.resolve())
        if self.source and self.source.has_weights:
            return self.source.lasting
        return str(id(self.given))


def find_compared(
    models: Iterable[str | Path | WithFolder | Source | keras.Model | Predictions | Evaluation],
    *,
    pretrained: bool = False,
    require_pinned: bool = False,
) -> list[Compared]:
    """Resolve references in order, without downloading weights; a repeated one is left out.

    Args:
        models: References with weights, models, exported files or their folders, files of
            predictions (`.npz`), predictions or evaluations.
        pretrained: Whether an architecture stands for its default published weights.
        require_pinned: As for `rezoo.load`.

    Raises:
        SpecError: There are fewer than two different ones, or one has no weights.
        UnknownNameError: There is no such name; the hint has similar names.
        NotFoundError: There is no such path.
        MissingExtraError: The runtime of an exported file is not installed.
        NetworkError, IntegrityError, IncompatibleError: As `rezoo.load`.
    """
    found: dict[str, Compared] = {}
    for model in [models] if isinstance(models, str) else models:
        one = _find(model, pretrained, require_pinned)
        found.setdefault(one.identity, one)
    if len(found) < 2:
        given = f"only {next(iter(found.values())).name}" if found else "nothing"
        raise SpecError(
            f"there is {given} to compare",
            hint="name two or more different networks: rezoo compare runs/a runs/b.",
        )
    return list(found.values())


def _find(model: Any, pretrained: bool, require_pinned: bool) -> Compared:
    if isinstance(model, Compared):
        return model
    model = getattr(model, "predictions", model)  # of an evaluation
    if hasattr(model, "losses") and hasattr(model, "truth"):
        return Compared(name=model.facts.get("model", "network"), kind="predictions", given=model)
    if isinstance(model, Source) or hasattr(model, "layers"):
        source = source_of(model)
        return Compared(name=source.reference, kind="network", given=model, source=source)
    name = model if isinstance(model, str) else as_reference(local_folder(model))
    path = expanded(name)
    if path.suffix == ENDING:
        return Compared(name=name, kind="predictions", given=path)
    target = find_target(name, pretrained=pretrained, require_pinned=require_pinned)
    if target.path:
        find_export(target.path)[0].require()
        return Compared(name=name, kind="exported", given=target.path)
    assert target.source is not None
    source = resolve_weights(target.source)
    return Compared(name=name, kind="network", given=source, source=source)
