"""Pictures of `predict --explain`: the crop that a network sees, beside its activation map."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rezoo.data.audit.layout import line_height, write
from rezoo.data.image_files import image_of
from rezoo.errors import SpecError
from rezoo.evaluation.class_names import class_indices
from rezoo.evaluation.explaining.activation_maps import FeatureForward, magnified, overlay
from rezoo.evaluation.predict import Prediction, predict_batch, probabilities_of
from rezoo.models.normalization import visible
from rezoo.sources.references import Source
from rezoo.specs import ModelConfig
from rezoo.utils.files import write_bytes
from rezoo.utils.gpu_faults import warn_of_gpu_faults

_SIDE = 256  # pixels of the longer side of a crop that is smaller, about
_GAP, _MARGIN = 8, 16  # pixels
_LARGE, _SMALL = 18, 12  # font sizes in pixels
_PAPER = "#ffffff"


@dataclass(frozen=True)
class Explanation(Prediction):
    """The most likely classes of one image, and the picture of an activation map.

    Attributes:
        map_label: Class of the map; empty if the image cannot be classified.
        map_probability: Probability of this class.
        picture: The PNG file; empty if the image cannot be classified.
    """

    map_label: str = ""
    map_probability: float = 0.0
    picture: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON values of the prediction, and those of the map as `explanation`."""
        values = super().to_dict()
        if self.picture:
            values["explanation"] = {
                "label": self.map_label,
                "probability": self.map_probability,
                "picture": self.picture,
            }
        return values


def explain(
    source: Source,
    images: Sequence[str],
    paths: Sequence[Path],
    *,
    wanted: str | None = None,
    top_k: int | None = None,
    batch_size: int = 32,
    image_size: int | None = None,
    crop_mode: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Explanation]:
    """Classify image files and draw where the network finds the class.

    Args:
        source: Source of the network.
        images: Image files.
        paths: PNG file of each image.
        wanted: Name of the class; None for the most likely one of each image.
        top_k: As in `predict`.
        batch_size: As in `predict`.
        image_size: As in `predict`.
        crop_mode: As in `predict`.
        progress: Called with the number of images done and the total.

    Raises:
        SpecError: An argument is out of bounds.
        UnknownNameError: The network has no such class.
        IncompatibleError: The network has no exact activation maps.
        ResourceError: A file cannot be written.
    """
    if (top_k is not None and top_k < 1) or batch_size < 1:
        raise SpecError(f"top_k: {top_k}, batch_size: {batch_size}; both must be 1 or more")
    config = source.config
    chosen = class_indices(wanted, config, 1)
    preprocessing = config.preprocessing.for_test().at(image_size, crop_mode)
    forward = FeatureForward(source, source, preprocessing)
    warn_of_gpu_faults()
    results: list[Explanation] = []
    for start in range(0, len(images), batch_size):
        files = images[start : start + batch_size]
        pictures = dict(enumerate(files, start))
        answers = predict_batch(
            pictures, preprocessing, config, forward.both, top_k, forward.refusal
        )
        good = [answer for answer in answers if not answer.error]
        drawn = iter(_draw(forward, good, paths, config, chosen) if good else ())
        results += [Explanation(**vars(a)) if a.error else next(drawn) for a in answers]
        progress(len(results), len(images))
    return results


def _draw(
    forward: FeatureForward,
    answers: Sequence[Prediction],
    paths: Sequence[Path],
    config: ModelConfig,
    chosen: np.ndarray | None,
) -> list[Explanation]:
    """Draw the pictures of the last batch of `forward`; `chosen` is the class, if one was named."""
    likeliest = forward.logits.argmax(axis=1)
    classes = likeliest if chosen is None else np.repeat(chosen, len(likeliest))
    probabilities = probabilities_of(forward.logits, config)
    crops, maps = visible(forward.inputs, config.preprocessing), forward.maps(classes)
    drawn = []
    for row, (answer, index) in enumerate(zip(answers, classes.tolist(), strict=True)):
        label, probability = config.label(index), float(probabilities[row, index])
        notes = ["unknown: it shows none of the classes"] if answer.unknown else []
        if chosen is not None:
            notes.append(f"most likely: {answer.probabilities[0]:.1%}  {answer.labels[0]}")
        image = picture(
            crops[row],
            maps[row],
            title=f"{probability:.1%}  {label}",
            notes=notes,
        )
        stream = io.BytesIO()
        image.save(stream, "PNG")
        path = paths[answer.index]
        write_bytes(path, stream.getvalue())
        values: dict[str, Any] = {
            "map_label": label,
            "map_probability": probability,
            "picture": str(path),
        }
        drawn.append(Explanation(**vars(answer), **values))
    return drawn


def picture(
    crop: np.ndarray, values: np.ndarray, *, title: str, notes: Sequence[str] = ()
) -> Image.Image:
    """Draw a crop beside its activation map, with a line of text above and some below.

    Args:
        crop: uint8 `(H, W, C)`; a small one is enlarged by an integer factor.
        values: The map, float `(h, w)`.
        title: Class and probability.
        notes: Lines below, before the range of the map.
    """
    large = magnified(crop, _SIDE)
    height, width = large.shape[:2]
    scale = (
        f"map from {values.min():.3g} to {values.max():.3g}; mean {values.mean():.3g}, the logit"
    )
    lines = [*notes, scale]
    top = _MARGIN + line_height(_LARGE)
    below = top + height + _GAP // 2
    bottom = below + len(lines) * line_height(_SMALL) + _MARGIN // 2
    sheet = Image.new("RGB", (2 * (_MARGIN + width) + _GAP, bottom), _PAPER)
    room = 2 * width + _GAP
    write(sheet, title, _MARGIN, _MARGIN // 2, room, _LARGE)
    sheet.paste(image_of(large), (_MARGIN, top))
    sheet.paste(Image.fromarray(overlay(large, values)), (_MARGIN + width + _GAP, top))
    for number, line in enumerate(lines):
        write(sheet, line, _MARGIN, below + number * line_height(_SMALL), room, _SMALL)
    return sheet
