"""Changes of images, each with a parameter: noise, blur, colours, compression.

Each takes grey levels, uint8 `(H, W, C)`, a parameter, and a generator of random numbers. It
returns uint8, or floats on 0..1 that need not be cut off yet. `damage.corruptions` names them and
has their parameters.

Loads without Keras and TensorFlow.
"""

from __future__ import annotations

import io
import math
from functools import lru_cache

import numpy as np
from PIL import Image

from rezoo.data.image_files import image_of


def gaussian_noise(image: np.ndarray, scale: float, random: np.random.Generator) -> np.ndarray:
    """Add normal noise; `scale` is its standard deviation, of white = 1."""
    return image / 255 + random.normal(scale=scale, size=image.shape)


def shot_noise(image: np.ndarray, photons: int, random: np.random.Generator) -> np.ndarray:
    """Count photons; `photons` is their mean number in white."""
    return random.poisson(image / 255 * photons) / photons


def impulse_noise(image: np.ndarray, part: float, random: np.random.Generator) -> np.ndarray:
    """Set a part of the values to black or white."""
    hit, white = random.random(image.shape) <= part, random.random(image.shape) <= 0.5
    return np.where(hit, np.where(white, 255, 0), image).astype(np.uint8)


def defocus_blur(
    image: np.ndarray, disk: tuple[float, float], random: np.random.Generator
) -> np.ndarray:
    """Average over a disk; `disk` is its radius and the blur of its edge in pixels."""
    from scipy.signal import fftconvolve

    kernel = _disk(*disk)
    margin = len(kernel) // 2
    padded = np.pad(image / 255, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    return np.asarray(fftconvolve(padded, kernel[..., None], mode="valid", axes=(0, 1)))


def gaussian_blur(image: np.ndarray, sigma: float, random: np.random.Generator) -> np.ndarray:
    """Average with Gaussian weights; `sigma` is in pixels."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(image / 255, (sigma, sigma, 0), mode="nearest"))


def motion_blur(
    image: np.ndarray, motion: tuple[int, float], random: np.random.Generator
) -> np.ndarray:
    """Average along a line of random direction; `motion` is radius and deviation in pixels.

    The weights fall as a half Gaussian, as in ImageMagick's `MotionBlurImage`, which the authors
    call.
    """
    radius, sigma = motion
    angle = math.radians(random.uniform(-45, 45))
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    across, down = (
        np.ceil(steps * part - 0.5).astype(int) for part in (math.cos(angle), math.sin(angle))
    )
    height, width, _ = image.shape
    margin = len(steps)
    padded = np.pad(image / 255, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    blurred = np.zeros(image.shape)
    for weight, x, y in zip(weights / weights.sum(), margin + across, margin + down, strict=True):
        blurred += weight * padded[y : y + height, x : x + width]
    return blurred


def brightness(image: np.ndarray, more: float, random: np.random.Generator) -> np.ndarray:
    """Add to the value of hue, saturation and value; in grey images, to the grey level."""
    values = image / 255
    value = values.max(axis=-1, keepdims=True)
    brighter = np.minimum(value + more, 1)
    return np.where(value > 0, values * (brighter / np.where(value > 0, value, 1)), brighter)


def contrast(image: np.ndarray, factor: float, random: np.random.Generator) -> np.ndarray:
    """Scale the distance to the mean of each channel by a factor."""
    values = image / 255
    means = values.mean(axis=(0, 1), keepdims=True)
    return (values - means) * factor + means


def saturate(
    image: np.ndarray, line: tuple[float, float], random: np.random.Generator
) -> np.ndarray:
    """Scale the saturation by a factor, and add a summand."""
    from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

    hsv = rgb_to_hsv(image / 255)
    hsv[..., 1] = np.clip(hsv[..., 1] * line[0] + line[1], 0, 1)
    return np.asarray(hsv_to_rgb(hsv))


def pixelate(image: np.ndarray, part: float, random: np.random.Generator) -> np.ndarray:
    """Reduce both sides to a part of their length, and enlarge them again."""
    whole = image_of(image)
    small = [max(1, int(side * part)) for side in whole.size]
    box = Image.Resampling.BOX
    return _as_levels(whole.resize((small[0], small[1]), box).resize(whole.size, box), image)


def jpeg(image: np.ndarray, quality: int, random: np.random.Generator) -> np.ndarray:
    """Compress as a JPEG of a quality."""
    file = io.BytesIO()
    image_of(image).save(file, "JPEG", quality=quality)
    return _as_levels(Image.open(file), image)


def _as_levels(picture: Image.Image, like: np.ndarray) -> np.ndarray:
    return np.asarray(picture).reshape(like.shape)


@lru_cache(maxsize=32)
def _disk(radius: float, blur: float) -> np.ndarray:
    """Return the kernel of a lens out of focus: a disk, blurred by a Gaussian of 3x3 or 5x5."""
    from scipy.ndimage import correlate1d

    reach, taps = (8, 1) if radius <= 8 else (int(radius), 2)
    places = np.arange(-reach, reach + 1)
    disk = (places[:, None] ** 2 + places**2 <= radius**2).astype(float)
    disk /= disk.sum()
    gaussian = np.exp(-(np.arange(-taps, taps + 1) ** 2) / (2 * blur**2))
    for axis in (0, 1):
        disk = correlate1d(disk, gaussian / gaussian.sum(), axis, mode="mirror")
    return disk
