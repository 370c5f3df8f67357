"""`report.html`: one page without scripts and links, which needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from rezoo.artifacts.run_files import REPORT, how_chosen, kept_weights
from rezoo.data.datasets import Dataset
from rezoo.evaluation.predictions import Predictions
from rezoo.evaluation.report import class_views
from rezoo.evaluation.report.gallery import Answer, Gallery, Shot, gallery_of
from rezoo.evaluation.report.run_records import RunRecords
from rezoo.evaluation.report.training_curves import run_charts
from rezoo.sources.references import Source
from rezoo.utils import figures
from rezoo.utils.files import write_bytes
from rezoo.utils.pages import END, LOCAL, render

_SECTIONS = {  # in this order
    "figures": "Figures",
    "curves": "Training",
    "confusions": "Confusions",
    "classes": "Classes",
    "charts": "Confidence",
    "mistakes": "Worst mistakes",
    "uncertain": "Least certain images",
    "data": "Data",
    "recipe": "Recipe",
    "environment": "Environment",
    "commands": "Commands",
}


def write_report(
    source: Source, predictions: Predictions, data: Dataset, network: keras.Model
) -> None:
    """Write the report of a run to its folder, from what the folder records.

    Args:
        source: The run.
        predictions: Of one split, with the keys of its images.
        data: The opened dataset.
        network: The network with the weights of the run.

    Raises:
        RezooError: A record of the run is damaged.
    """
    assert source.folder is not None
    examples = data.examples(predictions.facts["split"])
    page = report(
        RunRecords.read(source.folder),
        predictions,
        gallery=gallery_of(predictions, examples, source, network),
        notes=data.splits.notes,
        shareable=data.spec.shareable,
    )
    write_bytes(source.folder / REPORT, page.encode())


def report(
    records: RunRecords,
    predictions: Predictions,
    *,
    gallery: Gallery = Gallery(),  # noqa: B008 - it is frozen
    notes: Sequence[str] = (),
    shareable: bool = False,
) -> str:
    """Return the report of a finished run as HTML.

    What must stay on this machine is between two marks: paths, notes on the data and, if they may
    not be shared, the images. `rezoo.utils.pages.for_others` removes it.

    Args:
        records: The records of the run.
        predictions: Of one of its splits.
        gallery: Images of that split.
        notes: On the data.
        shareable: Whether the licence of the dataset lets single images travel.
    """
    split = predictions.facts["split"]
    several = predictions.multi_label
    pairs = [] if several else class_views.pairs(predictions)
    matrix = "" if several else class_views.drawn_matrix(predictions)
    sections = {  # title → content; in this order
        "Figures": _figures(records),
        "Training": records.epochs and _drawn(run_charts(records.task, records.history)),
        "Confusions": (matrix, pairs) if matrix or pairs else None,
        "Classes": class_views.class_table(predictions),
        "Confidence": class_views.confidence(predictions),
        "Worst mistakes": _cards(predictions, gallery.mistakes),
        "Least certain images": _cards(predictions, gallery.least_certain),
        "Data": _data(records, notes),
        "Recipe": records.settings() if records.recipe else None,
        "Environment": _environment(records),
        "Commands": records.commands(split),
    }
    return render(
        "report.html",
        local=Markup(LOCAL),
        end=Markup(END),
        title=f"{records.config.architecture} on {records.data_name}",
        reference=one_line(str(records.start.get("dataset", ""))),
        folder=one_line(str(records.folder)),
        summary=_summary(records, split),
        sections={title: content for title, content in sections.items() if content},
        split=split,
        images=len(predictions),
        task=records.task,
        shareable=shareable,
    )


def _summary(records: RunRecords) -> str:
    """Return the most important score with its interval in a sentence."""
    split = next(split for split in _SPLITS if split in records.metrics)
