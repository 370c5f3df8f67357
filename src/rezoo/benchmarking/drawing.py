"""Discs, lines and words as an SVG or a PNG file: the same picture in both, without other software.

Coordinates are pixels of the SVG, from the upper left corner. A PNG has twice as many in each
direction and letters of 5x8 dots, printable ASCII alone.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_SCALE = 2  # of a PNG's pixels
_FONT = "system-ui, sans-serif"
_ANCHORS = {"start": 0.0, "middle": 0.5, "end": 1.0}
LETTER, LINE = 7.0, 13.0  # width and height that a letter may take, in pixels


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line through points, `(x, y)` each."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Disc:
    """A filled circle; an SVG shows its title under the pointer."""

    x: float
    y: float
    radius: float
    colour: str
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Words:
    """One line of text; `y` is its middle, `x` where `anchor` says."""

    x: float
    y: float
    text: str
    colour: str
    anchor: str = "start"
    large: bool = False


Shape = Line | Disc | Words


def to_svg(width: int, height: int, shapes: Iterable[Shape]) -> str:
    """Return a picture as an SVG file: it runs no script and needs no network."""
    drawn = "\n".join(map(_element, shapes))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="{_FONT}" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{drawn}\n</svg>\n'
    )


def to_png(width: int, height: int, shapes: Iterable[Shape]) -> bytes:
    """Return a picture as a PNG file of twice as many pixels in each direction."""
    import numpy as np

    pixels = np.full((height * _SCALE, width * _SCALE, 3), 255.0, np.float32)
    for shape in shapes:
        if isinstance(shape, Words):
            _write(pixels, shape)
        elif isinstance(shape, Disc):
            place = (shape.x, shape.y)
            _stroke(pixels, place, place, 2 * shape.radius, shape.colour)
        else:
            for start, end in zip(shape.points, shape.points[1:], strict=False):
                _stroke(pixels, start, end, shape.width, shape.colour)
    return _png(np.rint(pixels).astype(np.uint8))


def _element(shape: Shape) -> str:
    if isinstance(shape, Line):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
        look = f'fill="none" stroke="{shape.colour}" stroke-width="{shape.width:g}"'
        return f'<polyline points="{path}" {look}/>'
    if isinstance(shape, Disc):
        title = f"<title>{escape(shape.title)}</title>" if shape.title else ""
        place = f'cx="{shape.x:.1f}" cy="{shape.y:.1f}" r="{shape.radius:g}"'
        return f'<circle {place} fill="{shape.colour}">{title}</circle>'
    look = ' font-size="16" font-weight="600"' if shape.large else ""
    anchor = f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
    place = f'x="{shape.x:.1f}" y="{shape.y + 4:.1f}"'
    return f'<text {place} fill="{shape.colour}"{anchor}{look}>{escape(shape.text)}</text>'


def _write(pixels: np.ndarray, words: Words) -> None:
    from rezoo.data.audit.font import text_mask

    mask = text_mask(words.text, _SCALE + words.large)
    height, width = mask.shape
    left = max(round(words.x * _SCALE - _ANCHORS[words.anchor] * width), 0)
    top = max(round(words.y * _SCALE - height / 2), 0)
    place = pixels[top : top + height, left : left + width]
    place[mask[: place.shape[0], : place.shape[1]]] = _rgb(words.colour)


def _stroke(
    pixels: np.ndarray,
    start: tuple[float, float],
    end: tuple[float, float],
    width: float,
    colour: str,
) -> None:
    """Draw a straight line with round ends; a pixel is covered by how near its centre is."""
    import numpy as np

    (ax, ay), (bx, by) = ((x * _SCALE, y * _SCALE) for x, y in (start, end))
    reach = width * _SCALE / 2
    left, right = _range(ax, bx, reach, pixels.shape[1])
    top, bottom = _range(ay, by, reach, pixels.shape[0])
    y, x = np.mgrid[top:bottom, left:right] + 0.5
    length = (bx - ax) ** 2 + (by - ay) ** 2
    along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length if length else 0.0
    along = np.clip(along, 0.0, 1.0)
    distance = np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay))
    cover = np.clip(reach + 0.5 - distance, 0.0, 1.0)[..., None]
    place = pixels[top:bottom, left:right]
    place += cover * (np.asarray(_rgb(colour), np.float32) - place)


def _range(a: float, b: float, reach: float, limit: int) -> tuple[int, int]:
    low, high = min(a, b) - reach - 1, max(a, b) + reach + 1
    return max(math.floor(low), 0), min(math.ceil(high), limit)


def _rgb(colour: str) -> tuple[int, ...]:
    """Return red, green and blue of `#rrggbb`."""
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def _png(pixels: Any) -> bytes:
    """Encode uint8 `(H, W, 3)`."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # a row's first byte: no filter
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks: Sequence[tuple[bytes, bytes]] = (
        (b"IHDR", head),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
