"""Image files and Pillow: open, decode, and give the reason if that is impossible.

Neither NumPy nor Pillow is imported with this module.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

MAX_PIXELS = 64 * 1024 * 1024
"""Largest image that is decoded, in pixels: 64 Mi, which is 192 MB of RGB."""
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
# Start of frame of a JPEG (ITU T.81, table B.1): marker, length, bits.
_FRAME = re.compile(rb"\xff([\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf])\0.(.)", re.DOTALL)


class UnreadableImageError(ValueError):
    """An image file that cannot be decoded; the message is the reason."""


def open_image(content: bytes) -> Image.Image:
    """Open an image file without decoding it: format, size, mode and EXIF data are known.

    Args:
        content: The bytes of the file.

    Raises:
        UnreadableImageError: The format is not one of `FORMATS`, the header is damaged, or the
            image has more than `MAX_PIXELS` pixels.
    """
    from PIL import Image

    if not content:
        raise UnreadableImageError("the file is empty")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        counted = re.search(r"\d+", str(error))
        raise UnreadableImageError(_too_large("", int(counted[0]) if counted else 0)) from error
    except MemoryError:
        raise
    except Exception as error:  # damaged files raise errors of many kinds
        known = any(content.startswith(starts, place) for place, starts in _STARTS)
        reason = _damage(content) if known else other_format(content) or NO_IMAGE
        raise UnreadableImageError(reason) from error
    if (pixels := image.width * image.height) > MAX_PIXELS:
        raise UnreadableImageError(_too_large(f"{image.width}x{image.height} are ", pixels))
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

    Raises:
        UnreadableImageError: It has 32 bits per channel.
    """
    import numpy as np
    from PIL import Image, ImageOps

    if channels == 1:
        image.draft("L", image.size)  # a JPEG stores grey levels: no conversion from RGB
    image.load()
    image.info.pop("transparency", None)
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):  # no range of values is defined
        raise UnreadableImageError("32 bits per channel: convert it to 8 or 16 bits")
    levels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return levels.reshape(image.height, image.width, channels)


def _too_large(sides: str, pixels: int) -> str:
    return f"{sides}{pixels / 1e6:.0f} megapixels; at most {MAX_PIXELS / 1e6:.0f} are decoded"


def _damage(content: bytes) -> str:
    """Return the reason for a file that begins as an image does: a rare form, or damage."""
    if content.startswith(b"\xff\xd8\xff") and (frame := _FRAME.search(content)):
        marker, bits = frame[1], frame[2][0]
        if marker in (b"\xc3", b"\xc7", b"\xcb", b"\xcf"):
            return "a lossless JPEG: convert it to PNG"
        if bits != 8:
            return f"a JPEG of {bits} bits: convert it to PNG"
    return f"damaged or cut off ({len(content)} bytes)"
