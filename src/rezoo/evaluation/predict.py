"""`predict`: the most likely classes of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.data.finding import find_images
from rezoo.data.image_files import UnreadableImageError
from rezoo.errors import SpecError
from rezoo.evaluation.calibrating.features import BothForward
from rezoo.evaluation.calibrating.unknown import Refusal, forward_for
from rezoo.evaluation.forward import network_of
from rezoo.evaluation.pictures import Pictures, as_list, prepare
from rezoo.evaluation.predictions import probabilities, top_k
from rezoo.models.devices import joined
from rezoo.sources.any_model import AnyModel, source_of
from rezoo.specs import ModelConfig, Preprocessing
from rezoo.tasks import THRESHOLD
from rezoo.utils.gpu_faults import warn_of_gpu_faults
from rezoo.utils.live_line import Progress, counted


@dataclass(frozen=True)
class Prediction:
    """The most likely classes of one image.

    Attributes:
        path: The file; empty if the image is no file.
        labels: Class names in descending order of probability; empty if there is an error.
        probabilities: Softmax of the logits in the same order; for a multi-label network the
            sigmoid. If the network is calibrated, the logits are divided by its temperature.
        error: Why the image cannot be classified, or empty.
        index: Number of the image among all that were classified, from 0.
        unknown: Whether the image shows none of the classes: its score is below the threshold of
            `rezoo calibrate`. None without a threshold.
        score: That score; None without a threshold.
    """

    path: str
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str = ""
    index: int = 0
    unknown: bool | None = None
    score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all values as JSON types; an image that is no file has an index as its name."""
        named: dict[str, Any] = {"path": self.path} if self.path else {"index": self.index}
        if self.error:
            return {**named, "error": self.error}
        pairs = zip(self.labels, self.probabilities, strict=True)
        if self.unknown is not None:
            named |= {"unknown": self.unknown, "score": self.score}
        return {**named, "predictions": [{"label": n, "probability": p} for n, p in pairs]}


def predict(
    model: AnyModel,
    images: Pictures,
    *,
    pretrained: bool = False,
    top_k: int | None = None,
    batch_size: int = 32,
    image_size: int | None = None,
    crop_mode: str | None = None,
    devices: int | str | None = None,
    hosts: str | None = None,
    progress: Progress = True,
) -> list[Prediction]:
    """Classify images with the preprocessing of the weights, and their calibration if there is one.

    Args:
        model: A reference with weights, or a model of rezoo.
        images: Files, folders (searched for images) and patterns such as `"photos/*.jpg"`; bytes
            of image files, Pillow images and uint8 arrays, as in `preprocess`; one or several.
        pretrained: Whether an architecture stands for its default published weights.
        top_k: Number of classes per image. If None: five, or for a multi-label network those
            with a probability above 0.5, at least one.
        batch_size: Images per batch; it does not change the result.
        image_size: Height and width in pixels; that of the weights if None.
        crop_mode: `"center"`, `"squash"` or `"border"`, see `Preprocessing`; None for that of the
            weights.
        devices: Of this machine that each have a part of a batch, on JAX: a number, or `"all"`.
            By default one; with `hosts`, all.
        hosts: `"ADDRESS:PORT,N,INDEX"`: this process is number INDEX of N, one on each machine,
            and the first listens there. Each has a part of the images, and all return the same.
        progress: Called with the number of images done and the total; by default they
            are shown on a terminal and in a notebook. None for silence.

    Returns:
        One `Prediction` per image, in order; each file once. Images that cannot be decoded have an
        `error`.

    Raises:
        SpecError: The reference has no weights, an argument is out of bounds, or an array is no
            image.
        NotFoundError: A path does not exist, or no image is found.
        LostHostError: Another host has ended, or is not reached.
    """
    if (top_k is not None and top_k < 1) or batch_size < 1:
        raise SpecError(f"top_k: {top_k}, batch_size: {batch_size}; both must be 1 or more")
    show = counted(progress, "classifying")
    source = source_of(model, pretrained=pretrained, image_size=image_size)
    pictures = found_pictures(as_list(images))
    preprocessing = source.config.preprocessing.for_test().at(image_size, crop_mode)
    with joined(devices, hosts) as team:
        network = network_of(model, source)
        refusal = Refusal.of(source.config, network)
        forward = forward_for(network, refusal)
        warn_of_gpu_faults()
        mine, results = team.share(len(pictures)).tolist(), list[Prediction]()
        for start in range(0, len(mine), batch_size):
            results += predict_batch(
                {i: pictures[i] for i in mine[start : start + batch_size]},
                preprocessing,
                source.config,
                forward,
                top_k,
                refusal,
            )
            show(len(results), len(mine))
        if team.hosts > 1:
            of_hosts = team.exchange([asdict(result) for result in results])
            results = [_received(values) for found in of_hosts for values in found]
    return results


def _received(values: dict[str, Any]) -> Prediction:
    """Return a prediction from JSON values, which have lists in place of tuples."""
    lists = {key: tuple(values[key]) for key in ("labels", "probabilities")}
    return Prediction(**{**values, **lists})


def found_pictures(pictures: Sequence[Any]) -> list[Any]:
    """Return the images, with the files of folders and patterns; paths become text."""
    if all(isinstance(picture, (str, Path)) for picture in pictures):
        return find_images(pictures)
    found: list[Any] = []
    for picture in pictures:
        found += find_images([picture]) if isinstance(picture, (str, Path)) else [picture]
    return found


def probabilities_of(logits: np.ndarray, config: ModelConfig) -> np.ndarray:
    """Return the softmax of the logits, or for a multi-label network their sigmoid, float64.

    The logits of a calibrated network are divided by its temperature first.
    """
    temperature = config.calibration.temperature if config.calibration else 1.0
    calibrated = np.asarray(logits, np.float64) / temperature
    return probabilities(calibrated, multi_label=config.multi_label)


def inputs_of(
    pictures: Mapping[int, Any], preprocessing: Preprocessing
) -> tuple[dict[int, np.ndarray], dict[int, str]]:
    """Return number → input of the images that can be decoded, and → why not of the others."""
    inputs, errors = {}, {}
    for number, picture in pictures.items():
        try:
            inputs[number] = prepare(picture, preprocessing)
        except UnreadableImageError as error:
            errors[number] = str(error)
    return inputs, errors


def predict_batch(
    pictures: Mapping[int, Any],
    preprocessing: Preprocessing,
    config: ModelConfig,
    forward: BothForward,
    count: int | None,
    refusal: Refusal | None,
) -> list[Prediction]:
    """Classify the images of a batch; `forward` is called once, if one can be decoded.

    Args:
        pictures: Number → image.
        preprocessing: How images become inputs.
        config: Config of the network.
        forward: From inputs to logits and features.
        count: Number of classes per image; None for the usual one.
        refusal: The rule by which an image is unknown; None without one.
    """
    paths = {i: picture if isinstance(picture, str) else "" for i, picture in pictures.items()}
    inputs, errors = inputs_of(pictures, preprocessing)
    answers = {i: Prediction(paths[i], error=text, index=i) for i, text in errors.items()}
    if inputs:
        logits, features = forward(np.stack(list(inputs.values())))
        scores: list[Any] = [None] * len(inputs)
        if refusal is not None:
            scores = refusal.scores(logits, features).tolist()
        found = zip(inputs, probabilities_of(logits, config), scores, strict=True)
        for index, shares, score in found:
            best = likeliest(shares, count, multi_label=config.multi_label)
            answers[index] = Prediction(
                paths[index],
                tuple(map(config.label, best)),
                tuple(shares[best].tolist()),
                index=index,
                unknown=None if refusal is None else score < refusal.threshold,
                score=score,
            )
    return [answers[index] for index in pictures]


def likeliest(shares: np.ndarray, count: int | None, *, multi_label: bool) -> list[int]:
    """Return the classes with the `count` largest probabilities `(K,)`, in descending order.

    If it is None: five, or for a multi-label network those above the threshold, at least one.
    """
    usual = max(1, int((shares > THRESHOLD).sum())) if multi_label else 5
    return top_k(shares[None], count or usual)[0].tolist()
