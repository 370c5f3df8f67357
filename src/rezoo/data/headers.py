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
NO_IMAGE = "not a JPEG, PNG, GIF, BMP or WebP image"


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


def format_of(content: bytes) -> str:
    """Return what a file is that rezoo cannot read, and what helps; empty where that is unknown.

    For example `"a TIFF image: convert it to JPEG or PNG"`.
    """
    for place, magics, name in _OTHERS:
        if content.startswith(magics, place):
            return name if ":" in name else f"{name}: convert it to JPEG or PNG"
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page: it was saved in place of the image"
    if start.startswith((b"<svg", b"<?xml")) and b"<svg" in start:
        return "an SVG drawing: convert it to PNG"
    return _jpeg_form(content) if content.startswith(b"\xff\xd8\xff") else ""


def too_large(header: Header) -> str:
    """Return why an image is not decoded for its size; empty where it is."""
    if header.pixels <= MAX_PIXELS:
        return ""
    return (
        f"{header.width}x{header.height} are {header.pixels / 1e6:.0f} megapixels; "
        f"at most {MAX_PIXELS / 1e6:.0f} are decoded"
    )


def damage(content: bytes) -> str:
    """Return why a file with the beginning of an image failed to decode."""
    return format_of(content) or f"damaged or cut off ({len(content)} bytes)"


def _jpeg_form(content: bytes) -> str:
    """Name the forms of JPEG that few programs read (ITU T.81, table B.1)."""
    try:
        *_, (marker, segment) = jpeg_segments(content)
        if marker in (0xC3, 0xC7, 0xCB, 0xCF):
            return "a lossless JPEG: convert it to PNG"
        if segment[0] != 8:
            return f"a JPEG of {segment[0]} bits: convert it to PNG"
    except (struct.error, ValueError, IndexError):
        pass
    return ""


_OTHERS = (  # place, the bytes there, what such a file is
    (0, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "a TIFF image"),
    (4, (b"ftypavif", b"ftypavis"), "an AVIF image"),
    (4, (b"ftyphe", b"ftypmif1", b"ftypmsf1"), "an HEIC image"),
    (4, (b"ftyp",), "a video: export its pictures as JPEG or PNG"),
    (0, (b"\xff\x0a", b"\0\0\0\x0cJXL "), "a JPEG XL image"),
    (0, (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "), "a JPEG 2000 image"),
    (0, tuple(b"P%d%c" % (kind, end) for kind in range(1, 7) for end in b"\n "), "a PNM image"),
    (0, (b"8BPS",), "a Photoshop image"),
    (0, (b"\0\0\1\0",), "a Windows icon"),
    (0, (b"DDS ",), "a DDS texture"),
    (0, (b"%PDF",), "a PDF document"),
    (0, (b"PK\3\4", b"\x1f\x8b"), "an archive: unpack it"),
    (0, (b"version https://git-lfs",), "a Git LFS pointer: `git lfs pull` fetches the image"),
)


def _jpeg(content: bytes) -> Header:
    """ITU T.81, annex B: EXIF is in an APP1 before the frame header."""
    orientation = 1
    for marker, segment in jpeg_segments(content):
        if 0xC0 <= marker <= 0xCF:
            height, width = struct.unpack_from(">HH", segment, 1)
            return Header("jpeg", width, height, orientation)
        if marker == 0xE1 and segment.startswith(b"Exif\0\0") and orientation == 1:
            orientation = _orientation(segment[6:])
    raise ValueError("no frame header")


def jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of a JPEG's segments, up to the frame header (0xC0 to 0xCF).

    Raises:
        struct.error, ValueError: The file ends or is damaged before.
    """
    place, frame = 2, False
    while not frame:
        marker, length = struct.unpack_from(">xBH", content, place)
        if content[place] != 0xFF:
            raise ValueError("no marker")
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if marker not in (0xC4, 0xC8, 0xCC):  # tables lie in between
            frame = 0xC0 <= marker <= 0xCF
            yield marker, content[place + 4 : place + 2 + length]
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
