"""Predictions as a table in CSV: one row for each image."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rezoo.data.csv_rows import SEPARATOR
from rezoo.evaluation.predictions import Predictions, probabilities
from rezoo.utils.files import write_bytes

if TYPE_CHECKING:
    from rezoo.evaluation.predict import Prediction

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a cell begins that spreadsheets compute


def write_csv(predictions: Predictions, path: Path) -> None:
    """Write the predictions as CSV in UTF-8; the file appears when it is complete.

    The columns are `key`, `truth`, `prediction`, `loss`, and `class_1`, `probability_1` to
    `class_5`, `probability_5`, the most likely classes. The prediction is the class with the
    largest probability; for multi-label data the classes above 0.5, separated by `;`, as in
    `truth`. A name that a spreadsheet would compute as a formula has an apostrophe in front.

    Raises:
        ResourceError: The file cannot be written.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    shown = predictions.top.shape[1]
    ranks = [f"{name}_{i + 1}" for i in range(shown) for name in ("class", "probability")]
    table.writerow(["key", "truth", "prediction", "loss", *ranks])
    table.writerows(_rows(predictions))
    # names of files that are not UTF-8 keep their bytes
    write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))


def answers_as_csv(answers: Sequence[Prediction]) -> bytes:
    """Return the answers of `predict` as CSV in UTF-8, one row for each image.

    The columns are `image`, and `class_1`, `probability_1`, and so on, the most likely classes;
    `unknown`, yes or no, if the network has a threshold; `error`, why an image cannot be
    classified. The image is a path, or a number if it is no file. Cells are made harmless as by
    `write_csv`.
    """
    count = max((len(answer.labels) for answer in answers), default=0)
    refuses = any(answer.unknown is not None for answer in answers)
    ranks = [f"{name}_{i + 1}" for i in range(count) for name in ("class", "probability")]
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", *ranks, *(["unknown"] if refuses else []), "error"])
    for answer in answers:
        pairs = zip(answer.labels, answer.probabilities, strict=True)
        cells = [cell for name, p in pairs for cell in (harmless(name), f"{p:.6f}")]
        cells += [""] * (2 * count - len(cells))
        if refuses:
            cells.append({True: "yes", False: "no", None: ""}[answer.unknown])
        name = harmless(answer.path) or str(answer.index)
        table.writerow([name, *cells, harmless(answer.error)])
    return text.getvalue().encode("utf-8", "surrogateescape")


def _rows(predictions: Predictions) -> Iterator[list[str]]:
    names = [harmless(name) for name in predictions.labels]
    keys = predictions.keys or map(str, range(len(predictions)))
    for row, key in enumerate(keys):
        top, logits = predictions.top[row].tolist(), predictions.logits[row]
        if predictions.multi_label:
            truth = predictions.classes[predictions.truth[row]].tolist()
            answers = predictions.classes[logits > 0].tolist()
        else:
            truth, answers = [int(predictions.truth[row])], top[:1]
        shares = np.sort(probabilities(logits, multi_label=predictions.multi_label))[::-1]
        ranked = [
            cell
            for index, probability in zip(top, shares, strict=False)
            for cell in (names[index], f"{probability:.6f}")
        ]
        given = [SEPARATOR.join(names[i] for i in indices) for indices in (truth, answers)]
        yield [harmless(key), *given, f"{predictions.losses[row]:.6f}", *ranked]


def harmless(name: str) -> str:
    """Return a name that no spreadsheet takes for a formula: with an apostrophe in front.

    Numbers such as -1 stay as they are.
    """
    if not name.startswith(_FORMULA):
        return name
    try:
        float(name)
    except ValueError:
        return f"'{name}"
    return name
