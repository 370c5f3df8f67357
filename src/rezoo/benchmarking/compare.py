"""`compare`: whether networks differ in accuracy beyond chance, on the same images.

It evaluates networks and exported files alike, so it is on the floor above both. The statistics
are in `rezoo.evaluation.pairing.comparison`. Loads without Keras and TensorFlow.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rezoo.artifacts.config import WEIGHTS
from rezoo.benchmarking.compared import ENDING, Compared, find_compared
from rezoo.data.dataset_references import DatasetReference, dataset_spec
from rezoo.data.datasets import DataOptions, Dataset, load_dataset
from rezoo.errors import IncompatibleError, RezooError, SpecError
from rezoo.evaluation.pairing.alignment import same_dataset
from rezoo.evaluation.pairing.comparison import NetworkComparison, compare_predictions
from rezoo.evaluation.predictions import Predictions
from rezoo.sources.any_model import own_val_fraction
from rezoo.utils.files import record
from rezoo.utils.live_line import Progress, Show, counted


def compare(
    models: Iterable[Any],
    dataset: DatasetReference | Dataset | None = None,
    *,
    split: str | None = None,
    pretrained: bool = False,
    require_pinned: bool = False,
    batch_size: int = 32,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    progress: Progress = True,
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
        progress: Called with the number of images done and the total, over all networks; by
            default they are shown on a terminal and in a notebook. None for silence.

    Raises:
        SpecError: There are fewer than two networks, one has no weights, or the dataset is not
            known.
        NotFoundError: A path, the dataset or the split does not exist.
        IncompatibleError: The predictions are for other images, classes or truths, or a network
            lacks a class of the dataset. Otherwise as `rezoo.evaluate`.
    """
    found = find_compared(models, pretrained=pretrained, require_pinned=require_pinned)
    known = read_known(found, dataset, split, options)
    show = counted(progress, "evaluating")
    return compare_known(known, batch_size=batch_size, options=options, progress=show)


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """Networks to compare, and their predictions as far as they are known.

    Attributes:
        networks: The networks, the baseline first.
        dataset: The dataset of all.
        split: Name of its split.
        given: Predictions that were given; None for a network.
        kept: Predictions that the folder of a run keeps; else None.
    """

    networks: tuple[Compared, ...]
    dataset: DatasetReference | Dataset
    split: str
    given: tuple[Predictions | None, ...]
    kept: tuple[Predictions | None, ...]

    @property
    def predictions(self) -> list[Predictions | None]:
        """Those of each network, None if it must be evaluated."""
        pairs = zip(self.given, self.kept, strict=True)
        return [kept if given is None else given for given, kept in pairs]


def read_known(
    found: Sequence[Compared],
    dataset: DatasetReference | Dataset | None,
    split: str | None,
    options: DataOptions,
) -> Known:
    """Read the predictions that need no network, without TensorFlow; see `compare`."""
    given = tuple(_given(one) for one in found)
    dataset, split = _agreed(found, given, dataset, split)
    if options.ignore and None not in given:
        raise SpecError(
            "ignore: all predictions are given, and no network is evaluated",
            hint="compare the networks themselves.",
        )
    kept = (None if options.ignore else _kept(one, _name(dataset), split) for one in found)
    return Known(networks=tuple(found), dataset=dataset, split=split, given=given, kept=tuple(kept))


def compare_known(
    known: Known,
    *,
    batch_size: int = 32,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    progress: Show = lambda done, total: None,
) -> NetworkComparison:
    """Evaluate the networks whose predictions are not known, and compare all; see `compare`."""
    if batch_size < 1:
        raise SpecError(f"batch_size: {batch_size}; it must be 1 or more")
    networks, found = known.networks, known.predictions
    fraction = _val_fraction(networks, known)
    names = [one.name for one in networks]
    if None not in found:
        return compare_predictions([p for p in found if p is not None], names)
    data = load_dataset(known.dataset, options, val_fraction=fraction)
    keys = _keys(data, known.split)
    outdated = [p is not None and sorted(p.keys) != keys for p in known.kept]
    found = [None if old else p for p, old in zip(found, outdated, strict=True)]
    waiting = [i for i, p in enumerate(found) if p is None]
    settings = {"split": known.split, "batch_size": batch_size, "options": options}
    new, notes = _evaluate([networks[i] for i in waiting], data, settings, progress)
    evaluated = dict(zip(waiting, new, strict=True))
    every = [evaluated[i] if p is None else p for i, p in enumerate(found)]
    return compare_predictions(every, names, notes)


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
    pairs = zip(found, predictions, strict=True)
    given = [(one.name, p.facts) for one, p in pairs if p is not None]
    if dataset is None:
        dataset = next((facts["dataset"] for _, facts in given if facts.get("dataset")), None)
    if dataset is None:
        dataset = _of_runs(found) if len(given) < len(found) else ""  # then it is not read
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


def _val_fraction(networks: Sequence[Compared], known: Known) -> float | None:
    """Return the part of train that the runs on this dataset hold out, None for the dataset's own.

    Raises:
        IncompatibleError: The split depends on this part, and the runs have different ones.
    """
    runs = [n for n in networks if n.dataset and same_dataset(n.dataset, _name(known.dataset))]
    parts = {one.name: own_val_fraction(one.source) for one in runs if one.source}
    if known.split in ("train", "val") and len(set(parts.values())) > 1:
        listed = "; ".join(f"{name}: {part or 'default'}" for name, part in parts.items())
        raise IncompatibleError(
            f"the runs hold out different parts of train ({listed}), so their splits differ",
            hint="compare them with --split test.",
        )
    return next(iter(parts.values()), None)


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
    networks: Sequence[Compared],
    data: Dataset,
    settings: dict[str, Any],
    progress: Show,
) -> tuple[list[Predictions], list[str]]:
    """Return the predictions of networks, of which one at a time is in memory, and remarks.

    A remark has the names of its networks, unless it is on all of them.
    """
    from rezoo.evaluation.evaluate import evaluate
    from rezoo.exporters.evaluating import evaluate_exported

    found: list[Predictions] = []
    notes: dict[str, list[str]] = {}

    def show(done: int, total: int) -> None:
        progress(len(found) * total + done, len(networks) * total)

    for one in networks:
        if one.kind == "exported":
            predictions, remarks = evaluate_exported(one.given, data, **settings, progress=show)
        else:
            result = evaluate(one.given, data, **settings, progress=show)
            predictions, remarks = result.predictions, result.notes
        found.append(predictions)
        gc.collect()  # a network of Keras refers to itself, and would stay in memory
        for remark in remarks:
            notes.setdefault(remark, []).append(one.name)
    return found, [
        text if len(names) == len(networks) else f"{', '.join(names)}: {text}"
        for text, names in notes.items()
    ]
