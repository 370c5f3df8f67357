"""`report.html`: one page without scripts and links, which needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
from markupsafe import Markup

from rezoo.artifacts.run_files import REPORT, how_chosen, kept_weights
from rezoo.data.datasets import Dataset
from rezoo.evaluation.forward import network_of
from rezoo.evaluation.predictions import Predictions
from rezoo.evaluation.report import class_views
from rezoo.evaluation.report.class_views import labels_of, one_line
from rezoo.evaluation.report.gallery import Answer, Gallery, Shot, gallery_of
from rezoo.evaluation.report.run_records import RunRecords
from rezoo.evaluation.report.training_curves import run_charts
from rezoo.evaluation.scoring.measured import MeasuredFigure, figures_of, undefined
from rezoo.evaluation.scoring.metrics import AnyScores, scored
from rezoo.sources.references import Source
from rezoo.utils.figures import Chart, draw
from rezoo.utils.files import write_bytes
from rezoo.utils.pages import END, LOCAL, render


def write_report(
    source: Source, predictions: Predictions, data: Dataset, network: keras.Model | None = None
) -> None:
    """Write the report of a run to its folder, from what the folder records.

    Args:
        source: The run.
        predictions: Of one split, with the keys of its images.
        data: The opened dataset.
        network: The network with the weights of the run; it is loaded if None.

    Raises:
        RezooError: A record of the run is damaged.
    """
    assert source.folder is not None
    examples = data.examples(predictions.facts["split"])
    page = report(
        RunRecords.read(source.folder),
        predictions,
        gallery=gallery_of(predictions, examples, source, network or network_of(source, source)),
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
    several, split = predictions.multi_label, predictions.facts["split"]
    scores = scored(predictions)
    pairs = [] if several else class_views.pairs(predictions)
    matrix = "" if several else class_views.drawn_matrix(predictions)
    known = not several and predictions.logits.shape[1] > 0
    sections = {  # in the order of the page
        "Figures": _figures(records, predictions, scores),
        "Training": records.epochs and _drawn(run_charts(records.task, records.history)),
        "Confusions": (matrix, pairs) if matrix or pairs else None,
        "Classes": class_views.class_table(predictions, scores),
        "Confidence": known and _drawn([class_views.reliability(predictions)]),
        "Corruptions": (robustness := records.robustness)
        and (robustness, _drawn(robustness.charts())),
        "Worst mistakes": _cards(predictions, gallery.mistakes),
        "Least certain": _cards(predictions, gallery.least_certain),
        "Data": _data(records, undefined(predictions), notes),
        "Recipe": records.settings() if records.recipe else None,
        "Environment": _environment(records.environment),
        "Commands": records.commands(split),
    }
    return render(
        "report.html",
        local=Markup(LOCAL),
        end=Markup(END),
        title=one_line(f"{records.config.architecture} on {records.data_name}", most=200),
        places=_places(records),
        sections={title: content for title, content in sections.items() if content},
        split=split,
        images=len(predictions),
        task=records.task,
        shareable=shareable,
    )


def _figures(records: RunRecords, predictions: Predictions, scores: AnyScores) -> dict[str, Any]:
    """Return the figures of each split as rows of a table, and what is known of the weights."""
    task, metrics = records.task, records.metrics
    above = {figure.key: figure.above for figure in task.figures}
    own: dict[str, MeasuredFigure | None] = {
        key: figure
        for key, figure in figures_of(predictions, scores).items()
        if records.config.num_classes > above.get(key, 0)
    }
    found: dict[str, Mapping[str, MeasuredFigure | None]] = {
        split: {key: _recorded(figure, key, known) for key, figure in own.items() if figure}
        for split, known in records.scores.items()
    }
    found[predictions.facts["split"]] = own
    counts = {split: records.scores[split]["count"] for split in records.scores}
    counts[predictions.facts["split"]] = len(predictions)
    splits = [split for split in ("test", "val", "train", "all") if split in found]
    return {
        "splits": [(split, counts[split]) for split in splits],
        "best": found[splits[0]][task.chosen_by.key],
        "rows": [[found[split][key] for split in splits] for key in own],
        "weights": "best_epoch" in metrics and f"{kept_weights(metrics)}, {how_chosen(metrics)}",
        "chosen_on_val": records.epochs > 0,
        "minutes": metrics.get("wall_time_s", 0.0) / 60,
    }


def _recorded(figure: MeasuredFigure, key: str, scores: Mapping[str, Any]) -> MeasuredFigure | None:
    """Return the same figure of another split, if `metrics.json` has it."""
    if scores.get(key) is None:
        return None
    interval = scores.get(f"{key}_interval")
    return replace(figure, value=scores[key], interval=tuple(interval) if interval else None)


def _drawn(charts: Sequence[Chart]) -> list[tuple[str, str]]:
    return [(chart.title, draw(chart)) for chart in charts]


def _cards(predictions: Predictions, chosen: Sequence[tuple[Answer, Shot]]) -> list[dict[str, Any]]:
    """Return what the template needs for each image."""
    label = labels_of(predictions)

    def named(classes: Sequence[tuple[int, float]]) -> list[tuple[str, str]]:
        return [(label(index), _rounded(share)) for index, share in classes]

    return [
        {
            "key": one_line(predictions.keys[answer.row]) if predictions.keys else "",
            "truth": named(answer.truth),
            "given": named(answer.given),
            "mapped": label(answer.mapped),
            "right": answer.right,
            "shot": shot,
        }
        for answer, shot in chosen
    ]


def _rounded(share: float) -> str:
    """Return a probability in percent, where only a certain one is 0 or 100."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def _data(records: RunRecords, lacking: Sequence[str], notes: Sequence[str]) -> dict[str, Any]:
    metrics = records.metrics
    warnings = [*metrics.get("warnings", ()), *lacking]
    return {
        "images": metrics.get("images", {}),
        "left_out": {k: n for k, n in metrics.get("images_left_out", {}).items() if n},
        "licence": one_line(metrics.get("data", {}).get("licence", "")),
        "warnings": [one_line(text, most=1000) for text in warnings],
        "notes": [one_line(text, most=1000) for text in notes],
    }


def _environment(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values as texts."""
    rows = []
    for name, value in environment.items():
        if name == "packages":
            rows += [(one_line(package), one_line(version)) for package, version in value.items()]
        elif name == "changes":
            rows += [("changed", one_line(str(entry["changes"]), most=1000)) for entry in value]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            title = name.replace("_utc", " (UTC)").replace("_", " ")
            rows.append((title, one_line(text)))
    return rows


def _places(records: RunRecords) -> list[tuple[str, str]]:
    """Return the paths of the run and of its data."""
    places = {"run folder": str(records.folder), "data": str(records.start.get("dataset", ""))}
    return [(name, one_line(place, most=1000)) for name, place in places.items() if place]
