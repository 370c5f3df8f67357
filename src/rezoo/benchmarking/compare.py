"""`compare`: whether networks differ in accuracy beyond chance, on the same images.

It evaluates networks and exported files alike, so it is on the floor above both. The statistics
are in `rezoo.evaluation.comparison`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rezoo.artifacts.config import WEIGHTS
from rezoo.benchmarking.compared import ENDING, Compared, find_compared
from rezoo.data.datasets import (
    DataOptions,
    Dataset,
    DatasetReference,
    dataset_spec,
    load_dataset,
)
from rezoo.errors import IncompatibleError, RezooError, SpecError
from rezoo.evaluation.alignment import same_dataset
from rezoo.evaluation.comparison import NetworkComparison, compare_predictions
from rezoo.evaluation.evaluate import evaluate
from rezoo.evaluation.predictions import Predictions
from rezoo.exporters.evaluating import evaluate_exported
from rezoo.utils.files import record

Progress = Callable[[int, int], None]


def compare(
    models: Iterable[Any],
    dataset: DatasetReference | Dataset | None = None,
    *,
    split: str | None = None,
    pretrained: bool = False,
    require_pinned: bool = False,
    batch_size: int = 32,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    progress: Progress = lambda done, total: None,
) -> NetworkComparison:
    """Compare networks with the first of them, on the same images.

    Each network is evaluated with its own preprocessing, one after the other. The predictions that
    a run folder keeps for these images are read instead, if they are those of its weights.

    Args:
        models: Two or more of: a reference with weights, a run of `train`, a model of rezoo, an
            exported file or its folder, a file of predictions (`.npz`), `Predictions`, the
            result of `evaluate`. The first is the baseline; one that is repeated is left out.
        dataset: A dataset reference or an opened dataset. If None, that of the predictions, or
            the one that the runs were trained on.
        split: `"test"`, `"val"`, `"train"` or `"all"`. If None, that of the predictions, or test.
        pretrained: Whether an architecture stands for its default published weights.
        require_pinned: As for `rezoo.load`.
        batch_size: Images per batch; it does not change the result.
        options: Handling of images that cannot be read, and images to leave out.
        progress: Called with the number of images done and the total, over all networks.

    Raises:
        SpecError: There are fewer than two networks, one has no weights, or the dataset is not
            known.
        NotFoundError: A path, the dataset or the split does not exist.
        IncompatibleError: The predictions are for other images, classes or truths, or a network
            lacks a class of the dataset. Otherwise as `rezoo.evaluate`.
    """
    if batch_size < 1:
        raise SpecError(f"batch_size: {batch_size}; it must be 1 or more")
    found = find_compared(models, pretrained=pretrained, require_pinned=require_pinned)
    names = [one.name for one in found]
    predictions = [_given(one) for one in found]
    dataset, split = _agreed(found, predictions, dataset, split)
    given = [p is not None for p in predictions]
    if not options.ignore:
        pairs = zip(found, predictions, strict=True)
        predictions = [p or _kept(one, _name(dataset), split) for one, p in pairs]
    known = [p for p in predictions if p is not None]
    if all(given) and options.ignore:
        raise SpecError(
            "ignore: all predictions are given, and no network is evaluated",
            hint="compare the networks themselves.",
        )
    if len(known) == len(found):
        return compare_predictions(known, names)
    data = load_dataset(dataset, options)
    keys = _keys(data, split)
    waiting = [
        i
        for i, p in enumerate(predictions)
        if p is None or not (given[i] or sorted(p.keys) == keys)
    ]
    notes: dict[str, list[str]] = {}
    for turn, i in enumerate(waiting):

        def show(done: int, total: int, turn: int = turn) -> None:
            progress(turn * total + done, len(waiting) * total)

        settings = {"split": split, "batch_size": batch_size, "options": options, "progress": show}
        predictions[i], remarks = _evaluate(found[i], data, settings)
        for remark in remarks:
            notes.setdefault(remark, []).append(names[i])
    return compare_predictions(
        [p for p in predictions if p is not None], names, _joined(notes, len(waiting))
    )


def _given(one: Compared) -> Predictions | None:
    """Return the predictions that were given; None for a network."""
    if one.kind != "predictions":
        return None
    return Predictions.read(one.given) if isinstance(one.given, Path) else one.given


def _agreed(
    found: Sequence[Compared],
    predictions: Sequence[Predictions | None],
    dataset: DatasetReference | Dataset | None,
    split: str | None,
) -> tuple[DatasetReference | Dataset, str]:
    """Return the dataset and the split; those of the predictions must be the same.

    Raises:
        SpecError: No dataset is given and none is recorded, or the runs have different ones.
        IncompatibleError: Predictions are for another dataset or split.
    """
    given = [(one.name, p.facts) for one, p in zip(found, predictions, strict=True) if p]
    if dataset is None:
        of_predictions = [facts["dataset"] for _, facts in given if facts.get("dataset")]
        dataset = of_predictions[0] if of_predictions else _of_runs(found)
    split = split or next((facts["split"] for _, facts in given if facts.get("split")), "test")
    for name, facts in given:
        theirs, part = facts.get("dataset"), facts.get("split")
        if (theirs and not same_dataset(theirs, _name(dataset))) or (part and part != split):
            raise IncompatibleError(
                f"the predictions of {name} are for {theirs}, {part} split, not for "
                f"{_name(dataset)}, {split} split",
                hint="a comparison needs the same images: evaluate it on them, too.",
            )
    return dataset, split


def _name(dataset: DatasetReference | Dataset) -> str:
    """Return the reference of a dataset; a name may be unknown here if no image is read."""
    if isinstance(dataset, str):
        return dataset
    return dataset.reference if isinstance(dataset, Dataset) else dataset_spec(dataset).name


def _of_runs(found: Sequence[Compared]) -> str:
    recorded = {one.name: one.dataset for one in found if one.dataset}
    if not recorded:
        raise SpecError("none of the networks records its dataset", hint="name one with --dataset.")
    first = next(iter(recorded.values()))
    if any(not same_dataset(first, other) for other in recorded.values()):
        listed = "; ".join(f"{name} on {dataset}" for name, dataset in recorded.items())
        raise SpecError(
            f"the networks were trained on different datasets: {listed}",
            hint="name the one to compare them on with --dataset.",
        )
    return first


def _kept(one: Compared, dataset: str, split: str) -> Predictions | None:
    """Return the predictions that a local run keeps, if they are those of its weights."""
    source = one.source
    if source is None or source.folder is None or source.address is not None:
        return None
    try:
        found = Predictions.read(source.folder / f"predictions-{split}{ENDING}")
        weights = record(source.file(WEIGHTS)).sha256
    except RezooError:  # absent or damaged: it is evaluated
        return None
    facts = found.facts
    same = facts.get("weights_sha256") == weights and facts.get("split") == split
    return found if same and same_dataset(facts.get("dataset", ""), dataset) else None


def _keys(data: Dataset, split: str) -> list[str]:
    examples = data.examples(split)
    return sorted(examples.key(i) for i in range(len(examples)))


def _evaluate(
    one: Compared, data: Dataset, settings: dict[str, Any]
) -> tuple[Predictions, Iterable[str]]:
    """Return predictions and remarks; the network is not kept."""
    if one.kind == "exported":
        return evaluate_exported(one.given, data, **settings)
    result = evaluate(one.given, data, **settings)
    return result.predictions, result.notes


def _joined(notes: dict[str, list[str]], count: int) -> list[str]:
    """Return remarks, with the names of the networks unless they are on all that were evaluated."""
    return [
        text if len(names) == count else f"{', '.join(names)}: {text}"
        for text, names in notes.items()
    ]
