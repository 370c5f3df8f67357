"""What an image file is, from its first bytes: format, colours, and why it cannot be used.

Only the standard library is needed; nothing is decoded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import PurePosixPath

from rezoo.data import headers
from rezoo.data.headers import Header

ENDINGS = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".gif": "gif",
    ".bmp": "bmp",
    ".webp": "webp",
}
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Facts:
    """What the header of an image file tells.

    Attributes:
        kind: `"jpeg"`, `"png"`, `"gif"`, `"bmp"`, `"webp"`, or `"unknown"`.
        width: In pixels, as stored; 0 where it is unknown.
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
    """Return what the first bytes tell."""
    header = headers.read_header(content)
    if header is None:
        return Facts()
    try:
        colour, bits = _COLOURS[header.kind](content)
    except (struct.error, IndexError, ValueError, KeyError):
        colour, bits = UNKNOWN, 8
    return Facts(header.kind, header.width, header.height, header.orientation, colour, bits)


def refusal(content: bytes, facts: Facts) -> str:
    """Return why a file is not decoded at all; empty where that should be tried."""
    if not content:
        return "the file is empty"
    if reason := headers.too_large(Header(facts.kind, facts.width, facts.height)):
        return reason
    if facts.kind == UNKNOWN and not content.startswith(_MAGICS):
        found = headers.format_of(content)
        return f"not an image but {found}" if found else headers.NO_IMAGE
    return ""


def wrong_ending(key: str, kind: str) -> str:
    """Return the ending of a name that promises another format; empty where it does not."""
    ending = PurePosixPath(key).suffix.lower()
    return ending if kind != UNKNOWN and ENDINGS.get(ending, kind) != kind else ""


_MAGICS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF")


def _jpeg(content: bytes) -> tuple[str, int]:
    """ITU T.81, B.2.2: the frame header has bits, height, width, number of components."""
    frame = b""
    for _, frame in headers.jpeg_segments(content):  # noqa: B007 - the last one counts
        pass
    return {1: "grey", 3: "colour", 4: "CMYK"}[frame[5]], frame[0]


def _png(content: bytes) -> tuple[str, int]:
    """PNG (third edition), 11.2.1: bit depth and colour type."""
    bits, kind = content[24], content[25]
    return {0: "grey", 2: "colour", 3: "palette", 4: "grey + alpha", 6: "colour + alpha"}[
        kind
    ], bits


def _gif(_: bytes) -> tuple[str, int]:
    return "palette", 8


def _bmp(content: bytes) -> tuple[str, int]:
    old = struct.unpack_from("<I", content, 14)[0] == 12
    (bits,) = struct.unpack_from("<H", content, 24 if old else 28)
    return ("palette", 8) if bits <= 8 else ("colour", 8)


def _webp(content: bytes) -> tuple[str, int]:
    """RFC 9649, 2.7 and 3.4: a flag says whether there is alpha."""
    flags = {b"VP8L": 24, b"VP8X": 20}.get(content[12:16])
    alpha = flags is not None and content[flags] & 0x10
    return ("colour + alpha" if alpha else "colour"), 8


_COLOURS = {"jpeg": _jpeg, "png": _png, "gif": _gif, "bmp": _bmp, "webp": _webp}
