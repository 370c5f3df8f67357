"""A contact sheet: each example as it is stored, and as a network gets it in some epochs.

What is shown comes out of `rezoo.data.pipeline` itself, so that order, augmentation and mixing are
those of a run with this recipe and seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data.audit.drawing import Canvas, fit, line_height
from rezoo.data.audit.labels import name_of
from rezoo.data.audit.reading import Progress
from rezoo.data.audit.request import SheetRequest
from rezoo.data.audit.seen import Seen, choose, tested, trained
from rezoo.data.datasets import Dataset, load_dataset
from rezoo.data.examples import Examples
from rezoo.data.images import decode
from rezoo.recipes.sizes import has_one_size, training_size
from rezoo.utils.files import write_bytes

_CELL, _GAP, _BLOCK_GAP, _MARGIN = 160, 6, 24, 16
_WIDE = 1400  # pixels that the blocks may take side by side
_TITLE, _LABEL, _SMALL = 2, 2, 1  # sizes of text


@dataclass(frozen=True)
class Sheet:
    """A sheet that was drawn.

    Attributes:
        path: The PNG file.
        width: In pixels.
        height: In pixels.
        split: Of the examples.
        examples: How many there are on it.
        columns: What stands side by side, in words.
        keys: The examples, in order.
        labels: Their classes.
        notes: What the user should be told.
    """

    path: str
    width: int
    height: int
    split: str
    examples: int
    columns: str
    keys: tuple[str, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        document = {k: v for k, v in vars(self).items() if k not in ("keys", "labels", "notes")}
        shown = [{"key": k, "label": n} for k, n in zip(self.keys, self.labels, strict=True)]
        return {**document, "shown": shown, "notes": list(self.notes)}


def draw_sheet(request: SheetRequest, *, progress: Progress | None = None) -> Sheet:
    """Draw a sheet and write it.

    Args:
        request: What to draw.
        progress: Called with the number of columns done, and of all.

    Raises:
        UnknownNameError: The dataset has no such class.
        NotFoundError: It has no such split, or no example of these classes there.
    """
    data = load_dataset(request.dataset)
    examples = data.examples(request.split)
    chosen = choose(examples, data.class_names, request)
    wholes, labels = _wholes(examples, chosen)
    names = [name_of(label, _names(data)) or f"label {label}" for label in labels]
    columns: list[tuple[str, list[np.ndarray | None], list[str]]] = []
    columns.append(("as stored", wholes, [""] * len(chosen)))
    heads = _heads(request)
    for number, head in enumerate(heads):
        if request.augment:
            epoch, classes = request.epoch + number, len(data.class_names)
            seen = trained(examples, request, epoch, chosen, classes=classes)
        else:
            seen = tested(examples, request, chosen)
        columns.append((head, *_shown(seen, data)))
        if progress:
            progress(number + 1, len(heads))
    canvas = _draw(_title(request), columns, names)
    write_bytes(request.path, canvas.to_png())
    height, width = canvas.pixels.shape[:2]
    return Sheet(
        path=str(request.path),
        width=width,
        height=height,
        split=request.split,
        examples=len(chosen),
        columns=", ".join(["as stored", *heads]),
        keys=tuple(examples.key(i) for i in chosen.tolist()),
        labels=tuple(names),
        notes=_notes(request, len(examples)),
    )


def _heads(request: SheetRequest) -> list[str]:
    if not request.augment:
        return ["test transform"]
    epochs = range(request.epoch, request.epoch + request.draws)
    if has_one_size(request.recipe):
        return [f"epoch {epoch}" for epoch in epochs]
    return [f"epoch {epoch} ({training_size(request.recipe, epoch)} px)" for epoch in epochs]


def _notes(request: SheetRequest, count: int) -> tuple[str, ...]:
    if request.augment and request.recipe.batch_size > count:
        size = request.recipe.batch_size
        return (f"a run would refuse batch_size {size}: train has {count} images",)
    return ()


def _title(request: SheetRequest) -> str:
    recipe = request.recipe
    parts = [request.dataset, request.split]
    if request.augment:
        parts += [f"recipe {recipe.name}", f"seed {recipe.seed}"]
    if not request.augment or has_one_size(recipe):
        parts.append("{}x{} px".format(*request.preprocessing.size))
    return ", ".join(parts)


def _names(data: Dataset) -> tuple[str, ...]:
    described = data.splits.class_descriptions
    return described if len(described) == len(data.class_names) else data.class_names


def _wholes(examples: Examples, chosen: np.ndarray) -> tuple[list[np.ndarray | None], list[Any]]:
    """Return the examples as they are stored, made small enough for a cell, and their labels."""
    some = examples.select(chosen)

    @tf.autograph.experimental.do_not_convert
    def whole(index: Any) -> Any:
        image, label = some.fetch(index)
        return (decode(image, 3) if some.encoded else image), label

    stream = tf.data.Dataset.range(len(some)).map(whole)
    found = [(fit(image, _CELL), label) for image, label in stream.as_numpy_iterator()]
    return [image for image, _ in found], [label for _, label in found]


def _shown(seen: Sequence[Seen | None], data: Dataset) -> tuple[list[np.ndarray | None], list[str]]:
    """Return pictures for the cells and what stands below them."""
    pictures = [None if s is None else fit(s.picture, _CELL) for s in seen]
    words, names = [], _names(data)
    for s in seen:
        shares = [(float(v), i) for i, v in enumerate(s.target)] if s and s.mixed else []
        best = sorted(shares, reverse=True)[:2]
        text = " + ".join(f"{share:.0%} {names[i]}" for share, i in best)
        words.append("not in this epoch" if s is None else text)
    return pictures, words


def _draw(
    title: str,
    columns: Sequence[tuple[str, Sequence[np.ndarray | None], Sequence[str]]],
    names: Sequence[str],
) -> Canvas:
    """Lay the examples out in blocks: one row of pictures each, with the label below."""
    worded = any(any(words) for _, _, words in columns)
    block = len(columns) * (_CELL + _GAP) - _GAP
    across = max(min(_WIDE // (block + _BLOCK_GAP), len(names)), 1)
    below = (line_height(_SMALL) if worded else 0) + line_height(_LABEL) + _GAP
    rows = -(-len(names) // across)
    top = _MARGIN + line_height(_TITLE) + _GAP + line_height(_SMALL)
    width = 2 * _MARGIN + across * (block + _BLOCK_GAP) - _BLOCK_GAP
    canvas = Canvas(width, top + rows * (_CELL + _GAP + below) + _MARGIN)
    canvas.write(title, _MARGIN, _MARGIN, width=width - 2 * _MARGIN, scale=_TITLE)
    for number, name in enumerate(names):
        row, column = divmod(number, across)
        left = _MARGIN + column * (block + _BLOCK_GAP)
        y = top + row * (_CELL + _GAP + below)
        for place, (head, pictures, words) in enumerate(columns):
            x = left + place * (_CELL + _GAP)
            if row == 0:
                canvas.write(head, x, top - line_height(_SMALL) - 1, width=_CELL, scale=_SMALL)
            canvas.place(pictures[number], x, y, _CELL)
            canvas.write(words[number], x, y + _CELL + 3, width=_CELL, scale=_SMALL)
        text_top = y + _CELL + 4 + (line_height(_SMALL) if worded else 0)
        canvas.write(name, left, text_top, width=block, scale=_LABEL)
    return canvas
