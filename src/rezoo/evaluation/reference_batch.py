"""The reference batch: a few images with their inputs and logits, for comparison elsewhere.

`reference.safetensors` has the images as uint8 `(H, W, C)` (`image.0`, `image.1` …), the
network's `inputs` made from them, float32 `(N, H, W, C)`, and its `logits` in float32, `(N, K)`.
The text `images` in its header describes the images.

They are images of the validation split if the licence of the dataset allows to publish single
images. Otherwise they are synthetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from rezoo.artifacts.run_files import REFERENCE
from rezoo.artifacts.safetensors import read_tensors, write_tensors
from rezoo.data.examples import Examples
from rezoo.data.image_files import MAX_PIXELS
from rezoo.data.images import decode
from rezoo.data.transforms import Transform, test_levels, test_transform
from rezoo.errors import IntegrityError
from rezoo.evaluation.forward import compiled_forward
from rezoo.evaluation.logits import Forward
from rezoo.models.normalization import normalized
from rezoo.models.settings import keras_settings
from rezoo.sources.load import load
from rezoo.sources.references import Source
from rezoo.specs import DatasetSpec, Preprocessing
from rezoo.utils.files import FileRecord

COUNT = 4
_MAX_IMAGES = 1000  # all of them are in memory at a time
TOLERANCE = 1e-4  # relative; float32 differs by less than 1e-5 between machines and backends


@dataclass(frozen=True, kw_only=True)
class LogitComparison:
    """Differences between a recorded reference batch and this machine.

    Attributes:
        images: Number and description of the images.
        inputs: Largest absolute difference of the inputs, relative to the largest value.
        logits: Largest absolute difference of the logits, relative to the largest value.
        same_top1: Whether the most likely class of every image is the same.
    """

    images: str
    inputs: float
    logits: float
    same_top1: bool

    @property
    def inputs_hold(self) -> bool:
        """Whether the inputs are the same within the tolerance."""
        return self.inputs <= TOLERANCE

    @property
    def logits_hold(self) -> bool:
        """Whether the logits are the same within the tolerance."""
        return self.logits <= TOLERANCE


def write_reference(
    folder: Path,
    source: Source,
    pictures: Sequence[np.ndarray],
    what: str,
    *,
    forward: Forward | None = None,
) -> None:
    """Record some images, the network's inputs made from them, and its logits.

    Args:
        folder: Where to write `reference.safetensors`.
        source: The network and its preprocessing.
        pictures: uint8 `(H, W, C)` each.
        what: What they show, in words.
        forward: The network's compiled forward pass in float32, of whole grey levels; built from
            `source` if None.
    """
    preprocessing = source.config.preprocessing.for_test()
    forward = forward or compiled_forward(load(source), preprocessing)
    levels = _each(pictures, test_levels(preprocessing, encoded=False))
    values = {f"image.{i}": picture for i, picture in enumerate(pictures)}
    values["inputs"] = normalized(levels.astype(np.float32), preprocessing)
    with full_precision():
        values["logits"] = np.asarray(forward(levels), np.float32)
    write_tensors(folder / REFERENCE, values, metadata={"images": f"{len(pictures)} {what}"})


def compare(
    source: Source, network: keras.Model, path: Path, expected: FileRecord | None
) -> LogitComparison:
    """Compute a recorded reference batch again, on this machine and backend.

    Args:
        source: Source of the network; its preprocessing is compared.
        network: Network built from the source.
        path: Path of the reference batch.
        expected: Expected SHA-256 of the file, or None.

    Raises:
        IntegrityError: The file is damaged, or lacks tensors of a reference batch.
    """
    values, metadata = read_tensors(path, expected)
    if not _is_sound(values, source):
        raise IntegrityError(
            f"{path} is not a reference batch of this network",
            hint="expected are image.0 … (uint8), inputs and logits, for its size and classes.",
        )
    inputs, logits = values["inputs"], values["logits"]
    preprocessing = source.config.preprocessing.for_test()
    pictures = [values[f"image.{i}"] for i in range(len(inputs))]
    with full_precision():
        found = compiled_forward(network)(inputs)
    return LogitComparison(
        images=metadata.get("images", f"{len(inputs)} images"),
        inputs=_difference(prepared(pictures, preprocessing), inputs),
        logits=_difference(found, logits),
        same_top1=bool((found.argmax(-1) == logits.argmax(-1)).all()),
    )


def choose_pictures(
    spec: DatasetSpec, examples: Examples, preprocessing: Preprocessing
) -> tuple[list[np.ndarray], str]:
    """Return the images of a run's reference batch, uint8 `(H, W, C)` each, and a description."""
    if not spec.shareable:
        return drawn_pictures(preprocessing), "drawn pictures"
    places = np.linspace(0, len(examples) - 1, min(COUNT, len(examples))).astype(np.int64)
    fetch = tf.autograph.experimental.do_not_convert(examples.fetch)
    stream = tf.data.Dataset.from_tensor_slices(places).map(fetch)
    pictures = []
    for image, _ in stream:
        if examples.encoded:
            image = decode(image, preprocessing.channels)
        pictures.append(_not_too_large(image, preprocessing).numpy())
    return pictures, f"validation images of {spec.name} ({spec.licence})"


def drawn_pictures(preprocessing: Preprocessing) -> list[np.ndarray]:
    """Return synthetic images of waves, a disc and noise, uint8 `(H, W, C)` each."""
    height, width = (side + side // 3 for side in preprocessing.size)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    pictures = []
    for number in range(COUNT):
        random = np.random.default_rng(number)
        picture = np.zeros((height, width, preprocessing.channels))
        for channel in range(preprocessing.channels):
            for _ in range(6):
                fy, fx = random.uniform(-0.25, 0.25, 2) * random.uniform(0.02, 1)
                wave = np.sin(2 * np.pi * (fy * rows + fx * columns) + random.uniform(0, 7))
                picture[..., channel] += random.uniform(10, 40) * wave
        disc = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (min(height, width) / 4) ** 2
        picture[disc] += random.uniform(-90, 90, preprocessing.channels)
        picture += 128 + random.normal(0, 8, picture.shape)
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
    return pictures


def _is_sound(values: Mapping[str, np.ndarray], source: Source) -> bool:
    """Return whether the tensors are those of a reference batch of this network."""
    preprocessing = source.config.preprocessing.for_test()
    count = sum(name.startswith("image.") for name in values)
    shapes = {
        "inputs": (count, *preprocessing.size, preprocessing.channels),
        "logits": (count, source.config.num_classes),
    }
    pictures = [values.get(f"image.{i}") for i in range(count)]
    return (
        0 < count <= _MAX_IMAGES
        and all(p is not None and _is_picture(p, preprocessing) for p in pictures)
        and all(name in values and values[name].shape == s for name, s in shapes.items())
        and all(values[name].dtype == np.float32 for name in shapes)
        and all(bool(np.isfinite(values[name]).all()) for name in shapes)
    )


def _is_picture(values: np.ndarray, preprocessing: Preprocessing) -> bool:
    """Return whether values are an image that the test transform accepts, and no strip of one."""
    # grey images are an input of networks for colour, too
    if values.dtype != np.uint8 or values.ndim != 3 or values.shape[2] not in (1, 3):
        return False
    shorter, longer = sorted(values.shape[:2])
    side = max(preprocessing.size) / preprocessing.crop_pct
    return shorter > 0 and side * side * longer / shorter <= MAX_PIXELS


def prepared(pictures: Sequence[np.ndarray], preprocessing: Preprocessing) -> np.ndarray:
    """Apply a test transform to uint8 images, on the CPU; return float32 `(N, H, W, C)`."""
    return _each(pictures, test_transform(preprocessing, encoded=False))


def _each(pictures: Sequence[np.ndarray], transform: Transform) -> np.ndarray:
    with tf.device("CPU:0"):  # as in a pipeline; the resize is a product of matrices
        return np.stack([transform(tf.constant(p)).numpy() for p in pictures])


def _not_too_large(image: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Shrink an image to at most twice the size that the transform resizes to."""
    target = preprocessing.for_test()
    most = 2 * int(max(target.size) / target.crop_pct)
    shorter = min(image.shape[:2])
    if shorter <= most:
        return image
    size = [max(1, side * most // shorter) for side in image.shape[:2]]
    return tf.cast(tf.round(tf.image.resize(image, size, method="area")), tf.uint8)


def _difference(found: np.ndarray, wanted: np.ndarray) -> float:
    most = float(np.abs(wanted).max()) or 1.0
    difference = float(np.abs(found - wanted).max()) / most
    return difference if np.isfinite(difference) else float("inf")


@contextmanager
def full_precision() -> Iterator[None]:
    """Build and compute in float32, whatever precision the process is set to.

    TensorFloat-32, which GPUs would compute in, differs in the third digit.
    """
    tensor_float = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        with keras_settings():
            if keras.config.backend() == "jax":
                import jax

                with jax.default_matmul_precision("highest"):
                    yield
            else:
                yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(tensor_float)
