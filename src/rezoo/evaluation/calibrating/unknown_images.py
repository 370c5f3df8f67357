"""`measure_unknown`: how well images of the classes are told from others."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np

from rezoo.data.dataset_references import DatasetReference, dataset_spec
from rezoo.data.datasets import DataOptions, Dataset, load_dataset
from rezoo.data.examples import Examples
from rezoo.data.finding import find_images
from rezoo.data.image_sources import FileSource
from rezoo.data.overlap import same_content
from rezoo.data.unreadable import Faults
from rezoo.errors import DataWarning
from rezoo.evaluation.calibrating.separation import Separation, Share, UnknownImages
from rezoo.evaluation.calibrating.unknown import Refusal, ScoredForward, auroc, auroc_interval
from rezoo.evaluation.evaluate import evaluate_setting
from rezoo.evaluation.logits import logits_and_labels
from rezoo.evaluation.result import Evaluation
from rezoo.evaluation.setting import Setting, setting_of
from rezoo.sources.any_model import AnyModel
from rezoo.utils.paths import expanded

_NAMED = 3  # images that a warning names


def measure_unknown(
    model: AnyModel,
    unknown: DatasetReference | Dataset,
    dataset: DatasetReference | Dataset | None = None,
    *,
    pretrained: bool = False,
    split: str = "test",
    batch_size: int = 32,
    image_size: int | None = None,
    crop_mode: str | None = None,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> UnknownImages:
    """Measure how well a network tells images of its classes from images of others.

    The similarity is measured if the network has class means: those of its folder, or
    `model.rezoo_class_means`, which `calibrate` returns. Without a threshold of `rezoo calibrate`,
    there is no share of refused images.

    Args:
        model: As for `evaluate`.
        unknown: Images of none of the classes: a dataset, of which all splits are taken, or
            `folder:PATH`, with class folders or without. Labels do not matter.
        dataset: Known images, as for `evaluate`.
        pretrained: As for `evaluate`, and so are the other arguments.
        split: `"test"`, `"val"`, `"train"` or `"all"`, of the known images.
        batch_size: Images per batch; it does not change the result.
        image_size: Height and width in pixels; that of the weights if None.
        crop_mode: Geometry of the images; that of the weights if None.
        options: Handling of images that cannot be read.
        progress: Called with the number of images done and the total.

    Raises:
        IncompatibleError: The network is multi-label: no class is an answer, too.
            Otherwise as `evaluate`, also for the unknown images.
    """
    setting = setting_of(
        model,
        dataset,
        pretrained=pretrained,
        split=split,
        batch_size=batch_size,
        image_size=image_size,
        crop_mode=crop_mode,
        options=options,
    )
    others = unknown_for(setting, unknown, options)
    count, more = len(setting.faults.examples), len(others.examples)
    known = evaluate_setting(setting, progress=lambda done, total: progress(done, total + more))
    return tell_apart(known, others, lambda done, total: progress(count + done, count + total))


def unknown_for(
    setting: Setting, reference: DatasetReference | Dataset, options: DataOptions
) -> Faults:
    """Open images of none of the classes of a network; warn if it was trained on some.

    Raises:
        IncompatibleError: The network is multi-label.
    """
    setting.require_one_label(
        ": an image may show none of its classes, so none is unknown",
        hint="rezoo calibrate still calibrates its probabilities.",
    )
    others = opened_unknown(reference, options)
    _warn_of_training_images(setting, others)
    return others


def tell_apart(
    known: Evaluation,
    others: Faults,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> UnknownImages:
    """Measure how well the images of an evaluation are told from others.

    Args:
        known: The evaluation.
        others: Images that `unknown_for` has opened.
        progress: Called with the number of images done and the total.
    """
    setting, config = known.setting, known.config
    first = 0 if known.image_scores else len(setting.faults.examples)
    total = first + len(others.examples)
    with setting.computing(None, None):
        network = setting.network()
        refusal = Refusal.of(config, network)
        ours = known.image_scores or _scores(
            setting, network, setting.faults, lambda done: progress(done, total)
        )
        unseen = _scores(setting, network, others, lambda done: progress(first + done, total))
    return _result(setting, others, refusal, ours, unseen)


def _scores(
    setting: Setting, network: keras.Model, faults: Faults, progress: Callable[[int], None]
) -> Mapping[str, np.ndarray]:
    """Return each score of the images that can be read."""
    forward = ScoredForward(network, setting.source.config, setting.preprocessing)
    for _ in logits_and_labels(forward, setting.batches(faults), progress):
        pass
    return forward.scores()


def _result(
    setting: Setting,
    others: Faults,
    refusal: Refusal | None,
    known: Mapping[str, np.ndarray],
    unseen: Mapping[str, np.ndarray],
) -> UnknownImages:
    stored = refusal.score if refusal else ""
    names = sorted(known, key=lambda name: name != stored)  # otherwise as they are
    shares = []
    for scores in (known, unseen):
        count = len(next(iter(scores.values())))
        refused = int((scores[stored] < refusal.threshold).sum()) if refusal else None
        shares.append(Share(count=count, refused=refused))
    bad = len(others.reasons)
    notes = [f"{bad} unknown images left out: they cannot be decoded"] if bad else []
    if not refusal:
        notes.append(
            f"{setting.source.reference} has no threshold, so it refuses no image: "
            "rezoo calibrate sets one"
        )
    return UnknownImages(
        unknown=others.what,
        score=stored,
        threshold=refusal.threshold if refusal else None,
        separations=tuple(
            Separation(
                score=name,
                auroc=auroc(known[name], unseen[name]),
                interval=auroc_interval(known[name], unseen[name]),
            )
            for name in names
        ),
        known=shares[0],
        others=shares[1],
        notes=tuple(notes),
    )


def opened_unknown(reference: DatasetReference | Dataset, options: DataOptions) -> Faults:
    """Return all images of a dataset; a folder needs no class folders."""
    if not isinstance(reference, Dataset):
        spec = dataset_spec(reference)
        kind, _, path = spec.name.partition(":")
        if kind == "folder":
            root = expanded(path)
            paths = [os.path.relpath(file, root) for file in find_images([root])]
            source = FileSource(Path(root), paths, np.zeros(len(paths), np.int32))
            return Faults(Examples(source), options, spec.name, ("unknown",))
    data = load_dataset(reference, options)
    return Faults(data.examples("all"), options, data.reference, data.class_names)


def _warn_of_training_images(setting: Setting, others: Faults) -> None:
    train = setting.data.splits.parts.get("train")
    again = same_content(others.examples, train) if train else []
    if again:
        named = ", ".join(others.examples.key(index) for index in again[:_NAMED])
        more = ", …" if len(again) > _NAMED else ""
        text = (
            f"{len(again)} of {len(others.examples)} unknown images are in the training set, by "
            f"their content ({named}{more}): they are known, and the figures are too low"
        )
        warnings.warn(DataWarning(text), stacklevel=4)
