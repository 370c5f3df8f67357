"""Image files and Pillow: open, decode, and give the reason if that is impossible.

Neither NumPy nor Pillow is imported with this module.
"""

from __future__ import annotations

import io
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

MAX_PIXELS = 64 * 1024 * 1024
"""Largest image that is decoded, in pixels: 64 Mi, which is 192 MB of RGB."""
MAX_FILE_BYTES = 8 * MAX_PIXELS
"""Largest image file that is read: 512 MiB, which is 16 bits and four channels per pixel."""
ENDING_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".apng": "PNG",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
    ".avifs": "AVIF",
}
"""Ending of a file name → Pillow's name of the format."""
ENDINGS = tuple(ENDING_FORMATS)
FORMATS = tuple(dict.fromkeys(ENDING_FORMATS.values()))
NO_IMAGE = "not a JPEG, PNG, GIF, BMP, WebP, TIFF or AVIF image"

_STARTS = (  # of the formats that are read: offset, first bytes
    (0, (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF")),
    (0, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (4, (b"ftypavif", b"ftypavis")),
)
_OTHERS = (  # offset, first bytes, name of the format
    (4, (b"ftyphe", b"ftypmif1", b"ftypmsf1"), "an HEIC image"),
    (4, (b"ftyp",), "a video: export its frames as JPEG or PNG"),
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
_MAX_TILE_PIXELS = 16 * 1024 * 1024  # of a TIFF tile that is larger than the image
_MOST_PIXELS = {
    "WEBP": MAX_PIXELS // 2,  # Pillow holds four copies of such an image
    "RLE": MAX_PIXELS // 4,  # of BMP: Python decodes it, 4 million pixels a second
}
_RUN_LENGTHS = (1, 2)  # BMP's numbers of this compression
_LARGE_PIXELS = 16 * 1024 * 1024  # above it, Pillow decodes one image at a time
_LARGE = threading.Lock()
_BAND_PIXELS = 1024 * 1024  # converted at a time
# EXIF orientation → whether rows and columns are exchanged, then whether each is reversed.
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_ORIENTATION, _TILE_WIDTH, _TILE_LENGTH = 0x0112, 322, 323  # tags of EXIF and TIFF
_BINARY = getattr(os, "O_BINARY", 0)
# Start of frame of a JPEG (ITU T.81, table B.1): marker, length, bits.
_FRAME = re.compile(rb"\xff([\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf])\0.(.)", re.DOTALL)


class UnreadableImageError(ValueError):
    """An image file that cannot be decoded; the message is the reason."""


@contextmanager
def opened_file(path: str | bytes | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a regular file of at most `MAX_FILE_BYTES`; opening a FIFO does not wait.

    Raises:
        UnreadableImageError: The file is missing, special or too large, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    except FileNotFoundError as error:
        raise UnreadableImageError("the file is not there") from error
    except (OSError, ValueError) as error:  # ValueError: NUL in a path
        raise UnreadableImageError(getattr(error, "strerror", None) or str(error)) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImageError("not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise UnreadableImageError(
                f"the file has {status.st_size / 1e6:,.0f} MB; "
                f"at most {MAX_FILE_BYTES / 1e6:.0f} are read"
            )
        with os.fdopen(handle, "rb", buffering=0, closefd=False) as file:
            yield file
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from error
    finally:
        os.close(handle)


def read_file(path: str | bytes | os.PathLike[str]) -> bytes:
    """Return the content of an image file; raises as `opened_file` does."""
    with opened_file(path) as file:
        return os.read(file.fileno(), os.fstat(file.fileno()).st_size)


def open_image(content: bytes) -> Image.Image:
    """Open an image file without decoding it: format, size, mode and EXIF data are known.

    Args:
        content: The bytes of the file.

    Raises:
        UnreadableImageError: The format is not one of `FORMATS`, the header is damaged, or the
            image or one of its tiles has too many pixels: more than `MAX_PIXELS`, or half of
            them in WebP.
    """
    if not content:
        raise UnreadableImageError("the file is empty")
    return _open(io.BytesIO(content), content)


def header_fault(path: str | bytes | os.PathLike[str]) -> str:
    """Return why a file or its header cannot be read, `""` if they can; nothing is decoded."""
    try:
        with opened_file(path) as file, _open(file, b""):
            return ""
    except UnreadableImageError as error:
        return str(error) or "its header is damaged"


def _open(file: BinaryIO, content: bytes) -> Image.Image:
    """Open an image file; `content` has its bytes, if they are at hand for the error."""
    from PIL import Image

    try:
        image = Image.open(file, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        counted = re.search(r"\d+", str(error))
        raise UnreadableImageError(_too_large("", int(counted[0]) if counted else 0)) from error
    except MemoryError:
        raise
    except Exception as error:  # damaged files raise errors of many kinds
        known = any(content.startswith(starts, place) for place, starts in _STARTS)
        reason = _damage(content) if known else other_format(content) or NO_IMAGE
        raise UnreadableImageError(reason) from error
    run_lengths = image.format == "BMP" and image.info.get("compression") in _RUN_LENGTHS
    kind = "RLE" if run_lengths else str(image.format)
    most = _MOST_PIXELS.get(kind, MAX_PIXELS)
    if (pixels := image.width * image.height) > most:
        raise UnreadableImageError(_too_large(f"{image.width}x{image.height} are ", pixels, most))
    if (tile := _tile_pixels(image)) > max(pixels, _MAX_TILE_PIXELS):
        raise UnreadableImageError(_too_large("a tile has ", tile, _MAX_TILE_PIXELS))
    return image


def decode_file(content: bytes, channels: int) -> np.ndarray:
    """Decode an image file with Pillow, upright by its EXIF orientation.

    Colours are converted to grey or RGB. The alpha channel is dropped: transparent pixels show
    their colour. The upper 8 of 16 bits are kept. Of an animation or a file of several pages,
    the first image is decoded.

    Args:
        content: The bytes of the file.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 `(H, W, channels)`.

    Raises:
        UnreadableImageError: As `open_image`, or the file is damaged.
    """
    with open_image(content) as image:
        try:
            with _LARGE if image.width * image.height > _LARGE_PIXELS else nullcontext():
                return pixels_of(image, channels)
        except (MemoryError, UnreadableImageError):
            raise
        except Exception as error:
            raise UnreadableImageError(_damage(content)) from error


def unreadable_reason(content: bytes) -> str:
    """Return the reason why a file that the input pipeline refused cannot be decoded."""
    try:
        decode_file(content, 3)
    except UnreadableImageError as error:
        return str(error)
    return _damage(content)  # Pillow tolerates more than the pipeline


def other_format(content: bytes) -> str:
    """Return the name of a format that is not read, with advice, or `""` if it is not known.

    For example `"a Windows icon: convert it to JPEG or PNG"`.
    """
    for place, starts, name in _OTHERS:
        if content.startswith(starts, place):
            return name if ":" in name else f"{name}: convert it to JPEG or PNG"
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page: it was saved in place of the image"
    if start.startswith((b"<svg", b"<?xml")) and b"<svg" in start:
        return "an SVG drawing: convert it to PNG"
    return ""


def pixels_of(image: Image.Image, channels: int) -> np.ndarray:
    """Return an image of Pillow as `decode_file` does; the image itself is changed.

    It is converted in bands of rows, so that one copy is in memory.

    Raises:
        UnreadableImageError: It has 32 bits per channel.
    """
    import numpy as np

    if channels == 1:
        image.draft("L", image.size)  # a JPEG stores grey levels: no conversion from RGB
    image.load()
    image.info.pop("transparency", None)
    if image.mode in ("I", "F"):  # no range of values is defined
        raise UnreadableImageError("32 bits per channel: convert it to 8 or 16 bits")
    turned, *reversed_ = _TURNS.get(image.getexif().get(_ORIENTATION, 1), (False, False, False))
    sides = (image.width, image.height) if turned else (image.height, image.width)
    upright = np.empty((*sides, channels), np.uint8)
    # a view of the result, in which rows and columns are as stored
    stored = upright[tuple(slice(None, None, -1 if back else 1) for back in reversed_)]
    stored = stored.swapaxes(0, 1) if turned else stored
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        whole = rows >= image.height
        band = image if whole else image.crop((0, top, image.width, min(top + rows, image.height)))
        stored[top : top + rows] = _levels(band, channels).reshape(-1, image.width, channels)
    return upright


def image_of(pixels: np.ndarray) -> Image.Image:
    """Return uint8 `(H, W, 3)` or `(H, W, 1)` as an image of Pillow, in colour or grey."""
    from PIL import Image

    return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])


def _levels(band: Image.Image, channels: int) -> np.ndarray:
    import numpy as np
    from PIL import Image

    if band.mode.startswith("I;16"):
        band = Image.fromarray((np.asarray(band) >> 8).astype(np.uint8))
    return np.asarray(band.convert("L" if channels == 1 else "RGB"))


def _tile_pixels(image: Image.Image) -> int:
    """Return the pixels of a tile, which libtiff decodes whole; 0 if the file has no tiles."""
    tags = getattr(image, "tag_v2", {})
    sides = [tags.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_LENGTH)]
    return sides[0] * sides[1] if all(isinstance(side, int) for side in sides) else 0


def _too_large(sides: str, pixels: int, most: int = MAX_PIXELS) -> str:
    return f"{sides}{pixels / 1e6:.0f} megapixels; at most {most / 1e6:.0f} are decoded"


def _damage(content: bytes) -> str:
    """Return the reason for a file that begins as an image does: a rare form, or damage."""
    if content.startswith(b"\xff\xd8\xff") and (frame := _FRAME.search(content)):
        marker, bits = frame[1], frame[2][0]
        if marker in (b"\xc3", b"\xc7", b"\xcb", b"\xcf"):
            return "a lossless JPEG: convert it to PNG"
        if bits != 8:
            return f"a JPEG of {bits} bits: convert it to PNG"
    return f"damaged or cut off ({len(content)} bytes)"
