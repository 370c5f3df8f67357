"""Image files that TensorFlow reads wrong, or not at all, rewritten into ones that it reads right.

| file | as it is | rewritten |
|---|---|---|
| CMYK JPEG without Adobe's marker | inverted | with the marker: its inks are stored as Adobe does |
| GIF | hidden pixels black, later pictures decoded for nothing | the first picture alone |
| WebP, animated or with alpha | an error | the first picture alone, without its alpha |
| BMP of 1 to 16 bits, with colour tables, runs or masks | an error, or wrong colours | 24 bits |

A picture that covers only a part of its canvas is told with its place.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rezoo.data.headers import jpeg_segments

_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"  # no transform: the inks themselves
_PLAIN_MASKS = (0xFF0000, 0xFF00, 0xFF)


@dataclass(frozen=True)
class Simple:
    """An image file that TensorFlow reads right, and where its picture lies.

    Attributes:
        content: The file.
        canvas: Width and height of the whole image; zeros where the picture is all of it.
        place: Left and top edge of the picture on the canvas.
        fill: RGB of the rest of the canvas.
    """

    content: bytes
    canvas: tuple[int, int] = (0, 0)
    place: tuple[int, int] = (0, 0)
    fill: tuple[int, int, int] = (0, 0, 0)


def simplify(content: bytes, kind: str) -> Simple:
    """Return an image file as TensorFlow reads it right; a damaged one is returned as it is.

    Args:
        content: The file.
        kind: As `rezoo.data.headers.Header.kind`.
    """
    rewrite = {"jpeg": _jpeg, "gif": _gif, "webp": _webp, "bmp": _bmp}.get(kind)
    try:
        return rewrite(content) if rewrite else Simple(content)
    except (struct.error, IndexError, ValueError):
        return Simple(content)


def _jpeg(content: bytes) -> Simple:
    """Mark four inks as Adobe's: nobody else writes them, and the marker gets lost."""
    for marker, segment in jpeg_segments(content):
        if marker == 0xEE and segment.startswith(b"Adobe"):
            break
        if 0xC0 <= marker <= 0xCF and segment[5] == 4:
            return Simple(content[:2] + _ADOBE + content[2:])
    return Simple(content)


def _gif(content: bytes) -> Simple:
    """GIF89a: the first picture alone; without extensions, no pixel is transparent."""
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    place, hidden = 13 + _table_size(flags), 0
    colours, start = content[13:place], content[:place]
    while content[place] == 0x21:
        if content[place + 1] == 0xF9 and content[place + 3] & 1:
            hidden = content[place + 6]
        place = _behind_blocks(content, place + 2)
    if content[place] != 0x2C:
        raise ValueError("no picture")
    left, top, columns, rows, local = struct.unpack_from("<HHHHB", content, place + 1)
    pixels = place + 10 + _table_size(local)
    colours = content[place + 10 : pixels] or colours
    picture = (
        struct.pack("<cHHHHB", b",", 0, 0, columns, rows, local)
        + content[place + 10 : _behind_blocks(content, pixels + 1)]
    )
    alone = start[:6] + struct.pack("<HH", columns, rows) + start[10:] + picture + b";"
    canvas = (max(width, left + columns), max(height, top + rows))
    red, green, blue = (*colours[3 * hidden : 3 * hidden + 3], 0, 0, 0)[:3]
    return _on_canvas(alone, canvas, (columns, rows), (left, top), (red, green, blue))


def _table_size(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind_blocks(content: bytes, place: int) -> int:
    while content[place]:
        place += 1 + content[place]
    return place + 1


def _on_canvas(
    content: bytes,
    canvas: tuple[int, int],
    size: tuple[int, int],
    place: tuple[int, int],
    fill: tuple[int, int, int] = (0, 0, 0),
) -> Simple:
    return Simple(content) if canvas == size else Simple(content, canvas, place, fill)


def _webp(content: bytes) -> Simple:
    """RFC 9649: the pixels of the first picture, in a file of the simple form."""
    if 8 + struct.unpack_from("<I", content, 4)[0] > len(content):
        raise ValueError("cut off")
    for name, chunk in _chunks(content, 12):
        if name in (b"VP8 ", b"VP8L"):
            return Simple(_simple_webp(name, chunk))
        if name == b"VP8X":
            canvas = (_u24(chunk, 4) + 1, _u24(chunk, 7) + 1)
        if name == b"ANMF":
            size = (_u24(chunk, 6) + 1, _u24(chunk, 9) + 1)
            place = (2 * _u24(chunk, 0), 2 * _u24(chunk, 3))
            for inner, pixels in _chunks(chunk, 16):
                if inner in (b"VP8 ", b"VP8L"):
                    return _on_canvas(_simple_webp(inner, pixels), canvas, size, place)
    raise ValueError("no picture")


def _chunks(content: bytes, place: int) -> Iterator[tuple[bytes, bytes]]:
    while place + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, place)
        yield name, content[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def _u24(content: bytes, place: int) -> int:
    return int.from_bytes(content[place : place + 3], "little")


def _simple_webp(name: bytes, chunk: bytes) -> bytes:
    if name == b"VP8L":  # the bit that says that there is alpha; its values stay, unused
        chunk = chunk[:4] + bytes([chunk[4] & ~0x10]) + chunk[5:]
    body = b"WEBP" + name + struct.pack("<I", len(chunk)) + chunk + b"\0" * (len(chunk) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _bmp(content: bytes) -> Simple:
    """Windows bitmaps, and OS/2's first form, as 24 bits a pixel."""
    offset, head = struct.unpack_from("<II", content, 10)
    if head == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", content, 18)
        packing = 0
    else:
        width, height, _, bits, packing = struct.unpack_from("<iiHHI", content, 18)
    masks = {16: (0x7C00, 0x3E0, 0x1F)}.get(bits, _PLAIN_MASKS)
    if packing in (3, 6):
        masks = struct.unpack_from("<III", content, 54)
    if bits in (24, 32) and masks == _PLAIN_MASKS and head != 12:
        return Simple(content)
    stride, rows = (width * bits + 31) // 32 * 4, abs(height)
    if packing in (1, 2):
        pixels = _runs(content[offset:], width, rows, halves=packing == 2)
    else:
        raw = np.frombuffer(content, np.uint8, stride * rows, offset).reshape(rows, stride)
        pixels = _unpacked(raw, bits, masks)[:, :width]
    if bits <= 8:
        table = np.zeros((256, 3), np.uint8)
        entry = 3 if head == 12 else 4
        known = content[14 + head : min(offset, 14 + head + (entry << bits))]
        found = np.frombuffer(known[: len(known) // entry * entry], np.uint8).reshape(-1, entry)
        table[: len(found)] = found[:, :3]
        pixels = table[pixels]
    padded = np.zeros((rows, (3 * width + 3) // 4 * 4), np.uint8)
    padded[:, : 3 * width] = pixels.reshape(rows, -1)
    size = 54 + padded.size
    start = struct.pack("<2sIIIIiiHH24x", b"BM", size, 0, 54, 40, width, height, 1, 24)
    return Simple(start + padded.tobytes())


def _unpacked(raw: np.ndarray, bits: int, masks: tuple[int, ...]) -> np.ndarray:
    """Return rows of places in the colour table `(H, W)`, or of BGR `(H, W, 3)`."""
    if bits in (1, 4, 8):
        single = np.unpackbits(raw, axis=1).reshape(len(raw), -1, bits)
        return np.packbits(single, axis=2)[..., 0] >> (8 - bits)
    if bits == 24:
        return raw[:, : raw.shape[1] // 3 * 3].reshape(len(raw), -1, 3)
    units = [mask & -mask for mask in masks]  # the lowest bit of each
    if bits not in (16, 32) or not all(
        0 < m < 2**16 * u for m, u in zip(masks, units, strict=True)
    ):
        raise ValueError("no such form")
    values = raw.view("<u2" if bits == 16 else "<u4").astype(np.uint32, copy=False)
    channels = [
        ((values & mask) // unit * 255 // (mask // unit)).astype(np.uint8)
        for mask, unit in zip(masks[::-1], units[::-1], strict=True)
    ]
    return np.stack(channels, -1)


def _runs(data: bytes, width: int, height: int, *, halves: bool) -> np.ndarray:
    """Decode runs of places in the colour table, of 8 bits or of `halves` of a byte: `(H, W)`."""
    result = np.zeros((height, width), np.uint8)
    column = row = place = 0
    while row < height:
        count, value = data[place], data[place + 1]
        place += 2
        if count:
            pair = (value >> 4, value & 15) if halves else (value, value)
            run = np.resize(np.array(pair, np.uint8), count)
        elif value == 0:
            column, row = 0, row + 1
            continue
        elif value == 1:
            break
        elif value == 2:
            column, row = column + data[place], row + data[place + 1]
            place += 2
            continue
        else:
            length = (value + 1) // 2 if halves else value
            stored = np.frombuffer(data, np.uint8, length, place)
            if halves:
                stored = np.stack([stored >> 4, stored & 15], -1).reshape(-1)
            run, place = stored[:value], place + length + length % 2
        kept = run[: max(width - column, 0)]
        result[row, column : column + len(kept)] = kept
        column += len(run)
    return result
