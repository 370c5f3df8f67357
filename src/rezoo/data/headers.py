"""What the first bytes of an image file say: its kind, its size, which way up it is.

TensorFlow decodes whatever size a header claims (48 kB can become gigabytes) and ignores EXIF
orientation. So the header is read here first, without decoding; only the standard library is
needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAX_PIXELS = 64 * 1024 * 1024
"""Pixels that an image may have: a photograph of 64 megapixels, 192 MB when decoded."""


@dataclass(frozen=True)
class Header:
    """What an image file says of itself.

    Attributes:
        kind: `"jpeg"`, `"png"`, `"gif"`, `"bmp"` or `"webp"`.
        width: In pixels, as stored.
        height: In pixels, as stored.
        orientation: EXIF's 1 to 8: what must be done to show it upright; 1 for nothing.
    """

    kind: str
    width: int
    height: int
    orientation: int = 1

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.width * self.height


def read_header(content: bytes) -> Header | None:
    """Read the header of an image file; None where it is none of the kinds, or damaged."""
    for magic, read in _READERS:
        if content.startswith(magic):
            try:
                return read(content)
            except (struct.error, IndexError, ValueError):
                return None
    return None


def _jpeg(content: bytes) -> Header:
    """ITU T.81, annex B: segments up to the frame header; EXIF is in an APP1 before it."""
    orientation, place = 1, 2
    while True:
        marker, length = struct.unpack_from(">xBH", content, place)
        if content[place] != 0xFF:
            raise ValueError("no marker")
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, place + 5)
            return Header("jpeg", width, height, orientation)
        segment = content[place + 4 : place + 2 + length]
        if marker == 0xE1 and segment.startswith(b"Exif\0\0") and orientation == 1:
            orientation = _orientation(segment[6:])
        place += 2 + length


def _png(content: bytes) -> Header:
    """PNG (third edition), 11.2.1: IHDR is first; 11.3.4: eXIf may stand before the pixels."""
    width, height = struct.unpack_from(">II", content, 16)
    orientation = 1
    for name, chunk in _png_chunks(content):
        if name == b"eXIf":
            orientation = _orientation(chunk)
        if name in (b"eXIf", b"IDAT"):
            break
    return Header("png", width, height, orientation)


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        yield name, content[place + 8 : place + 8 + length]
        place += 12 + length


def _gif(content: bytes) -> Header:
    width, height = struct.unpack_from("<HH", content, 6)
    return Header("gif", width, height)


def _bmp(content: bytes) -> Header:
    if struct.unpack_from("<I", content, 14)[0] == 12:  # the oldest form
        width, height = struct.unpack_from("<HH", content, 18)
    else:
        width, height = struct.unpack_from("<ii", content, 18)
    return Header("bmp", abs(width), abs(height))  # a negative height means top down


def _webp(content: bytes) -> Header:
    """RFC 9649: lossy, lossless, or extended with chunks, of which one may be EXIF."""
    form = content[12:16]
    if form == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return Header("webp", width & 0x3FFF, height & 0x3FFF)
    if form == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return Header("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if form != b"VP8X" or content[8:12] != b"WEBP":
        raise ValueError("no WebP")
    width, height = (int.from_bytes(content[i : i + 3], "little") + 1 for i in (24, 27))
    return Header("webp", width, height, _webp_orientation(content))


def _webp_orientation(content: bytes) -> int:
    place = 12
    while place + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, place)
        if name == b"EXIF":
            chunk = content[place + 8 : place + 8 + length]
            return _orientation(chunk.removeprefix(b"Exif\0\0"))
        place += 8 + length + length % 2
    return 1


def _orientation(exif: bytes) -> int:
    """Return tag 0x0112 of the first directory (TIFF 6.0, section 2); 1 where there is none."""
    try:
        order = {b"II": "<", b"MM": ">"}[exif[:2]]
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, directory)
        for number in range(min(count, 200)):
            tag, kind, _, value = struct.unpack_from(
                f"{order}HHIH", exif, directory + 2 + 12 * number
            )
            if (tag, kind) == (0x0112, 3) and 1 <= value <= 8:
                return int(value)
    except (struct.error, KeyError):
        pass
    return 1


_READERS = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"GIF8", _gif),
    (b"BM", _bmp),
    (b"RIFF", _webp),
)
