"""Lay images and text out on a sheet, with Pillow."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rezoo.data.image_files import image_of
from rezoo.utils.names import printable

CELL = 160  # pixels of the longer side of an image
_GAP, _BLOCK_GAP, _MARGIN = 6, 24, 16  # pixels
_WIDE = 1400  # pixels for blocks side by side
_LARGE, _SMALL = 18, 12  # font sizes in pixels
_PAPER, _INK, _HOLE = "#ffffff", "#1a2233", "#e2e5ed"


class Cell(NamedTuple):
    """One image on a sheet."""

    image: np.ndarray | None  # uint8 `(H, W, C)`; None leaves the cell empty
    caption: str = ""  # a line below it


def draw(title: str, columns: Mapping[str, Sequence[Cell]], labels: Sequence[str]) -> Image.Image:
    """Draw a sheet: one block per example, with its images in a row and its label below.

    Args:
        title: The first line.
        columns: Head → one cell for each example.
        labels: The label of each example.
    """
    captions = any(cell.caption for cells in columns.values() for cell in cells)
    block = len(columns) * (CELL + _GAP) - _GAP
    across = max(min(_WIDE // (block + _BLOCK_GAP), len(labels)), 1)
    label_top = CELL + 4 + line_height(_SMALL) * captions
    height = label_top + line_height(_LARGE) + 2 * _GAP
    top = _MARGIN + line_height(_LARGE) + _GAP + line_height(_SMALL)
    width = 2 * _MARGIN + across * (block + _BLOCK_GAP) - _BLOCK_GAP
    rows = -(-len(labels) // across)
    sheet = Image.new("RGB", (width, top + rows * height + _MARGIN), _PAPER)
    write(sheet, title, _MARGIN, _MARGIN, width - 2 * _MARGIN, _LARGE)
    for number, label in enumerate(labels):
        row, place = divmod(number, across)
        left, y = _MARGIN + place * (block + _BLOCK_GAP), top + row * height
        for x, (head, cells) in zip(count(left, CELL + _GAP), columns.items(), strict=False):
            if row == 0:
                write(sheet, head, x, top - line_height(_SMALL) - 2, CELL, _SMALL)
            paste(sheet, cells[number].image, x, y)
            write(sheet, cells[number].caption, x, y + CELL + 2, CELL, _SMALL)
        write(sheet, label, left, y + label_top, block, _LARGE)
    return sheet


def write(sheet: Image.Image, text: str, left: int, top: int, width: int, size: int) -> None:
    """Write one line of text, cut to `width` pixels; `size` is that of the font."""
    font = _font(size)
    text = " ".join(printable(text).splitlines())
    if font.getlength(text) > width:
        while text and font.getlength(f"{text}…") > width:
            text = text[:-1]
        text += "…"
    ImageDraw.Draw(sheet).text((left, top), text, _INK, font)


def paste(
    sheet: Image.Image, image: np.ndarray | None, left: int, top: int, side: int = CELL
) -> None:
    """Paste an image into the centre of a square; None fills the square with grey."""
    if image is None:
        sheet.paste(_HOLE, (left, top, left + side, top + side))
    else:
        small = fit(image, side)
        sheet.paste(small, (left + (side - small.width) // 2, top + (side - small.height) // 2))


def fit(image: np.ndarray, side: int) -> Image.Image:
    """Return an image, uint8 `(H, W, C)`, in RGB with `side` pixels on its longer side, or fewer.

    A smaller image is enlarged by an integer factor, so that its pixels stay squares.
    """
    fitted = image_of(image).convert("RGB")
    if (longer := max(fitted.size)) > side:
        fitted.thumbnail((side, side))
        return fitted
    factor = side // longer
    return fitted.resize((fitted.width * factor, fitted.height * factor), Image.Resampling.NEAREST)


def line_height(size: int) -> int:
    """Return the height of a line of text in pixels."""
    return round(1.3 * size)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib: Pillow's own font has ASCII only."""
    return ImageFont.truetype(
        Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size
    )
