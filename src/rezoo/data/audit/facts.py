"""What an image file is, by its header: format, size, colours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from rezoo.data.image_files import ENDING_FORMATS, UnreadableImageError, open_image

UNKNOWN = "unknown"
_COLOURS = {
    "1": "grey",
    "L": "grey",
    "I;16": "grey",
    "RGB": "colour",
    "CMYK": "CMYK",
    "P": "palette",
    "LA": "grey + alpha",
    "RGBA": "colour + alpha",
}


@dataclass(frozen=True)
class Facts:
    """What the header of an image file states.

    Attributes:
        kind: Pillow's name of the format in lower case, or `"unknown"`.
        width: In pixels, as stored; 0 if it is unknown.
        height: Likewise.
        orientation: EXIF's 1 to 8; 1 is upright.
        colour: `"grey"`, `"colour"`, `"CMYK"` or `"palette"`, the first two also `" + alpha"`.
        bits: Bits of one channel.
    """

    kind: str = UNKNOWN
    width: int = 0
    height: int = 0
    orientation: int = 1
    colour: str = UNKNOWN
    bits: int = 8


def read_facts(content: bytes) -> Facts:
    """Return what the header of an image file states."""
    try:
        with open_image(content) as image:
            kind = "jpeg" if image.format == "MPO" else str(image.format).lower()
            colour = _COLOURS.get(image.mode, UNKNOWN)
            bits = 16 if image.mode.startswith("I;16") else 8
            try:
                turned = int(image.getexif().get(0x0112, 1))
            except (OSError, SyntaxError, ValueError):  # Pillow decodes a PNG to find them
                turned = 1
            return Facts(kind, *image.size, turned, colour, bits)
    except UnreadableImageError:
        return Facts()


def wrong_ending(key: str, kind: str) -> str:
    """Return the ending of a name if it is that of another format, or `""`."""
    ending = PurePosixPath(key).suffix.lower()
    return ending if kind != UNKNOWN and ENDING_FORMATS.get(ending, kind).lower() != kind else ""
