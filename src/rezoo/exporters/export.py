"""`export`: write a network in another format, open it in its runtime, and compare it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo.errors import SpecError
from rezoo.evaluation.calibrating.unknown import Refusal
from rezoo.evaluation.reference_batch import full_precision
from rezoo.exporters.bundle import Bundle, without_classes
from rezoo.exporters.folders import check_folder, default_folder, new_folder
from rezoo.exporters.formats import FEATURES, PASSPORT, Format, get_format
from rezoo.exporters.graph import read_graph
from rezoo.exporters.measuring import measure as measure_cost
from rezoo.exporters.passport import Int8Calibration, Passport
from rezoo.exporters.samples import (
    Samples,
    calibration_samples,
    comparison_samples,
    halves,
)
from rezoo.exporters.verified import write_verified
from rezoo.models.feature_maps import pooled
from rezoo.sources.any_model import own_dataset, source_of
from rezoo.sources.load import load
from rezoo.sources.references import Reference, Source
from rezoo.utils.files import write_json
from rezoo.utils.memory import memory_errors

Progress = Callable[[str], None]


@full_precision()
@memory_errors(
    "the export",
    hint="use a smaller --image-size, or fewer --images and --calibration-images for int8.",
)
def export(
    model: Reference | keras.Model,
    to: str,
    *,
    output: str | Path | None = None,
    pretrained: bool = False,
    quantize: str = "none",
    takes: str = "tensor",
    gives: str = "logits",
    image_size: int | None = None,
    crop_mode: str | None = None,
    dataset: str | None = None,
    calibrate: str | None = None,
    images: int = 256,
    calibration_images: int = 500,
    tolerance: float | None = None,
    threads: int | None = None,
    measure: bool = True,
    overwrite: bool = False,
    progress: Progress = lambda text: None,
) -> Passport:
    """Export a network, open it in its own runtime and compare it with its source.

    Args:
        model: A model reference with weights, or a float32 model of `rezoo.load`.
        to: Name of a format, see `rezoo.exporters.formats.FORMATS`.
        output: Folder of the export; None for `exports/<format>` in a run folder, or
            `<name>-<format>` for other weights.
        pretrained: Use the default published weights of an architecture.
        quantize: `"none"`, `"float16"` (weights), `"dynamic"` (int8 weights), or `"int8"`
            (weights and activations).
        takes: `"tensor"`: prepared float32 `(N, H, W, C)`; `"raw"`: uint8 of any height and width.
        gives: `"logits"`, `"probabilities"` or `"features"`, the pooled vector `(N, D)`.
        image_size: Height and width in pixels; None for the test size of the weights.
        crop_mode: Geometry of the images, as for `evaluate`; None for that of the weights.
        dataset: A dataset reference with images to compare on. None for the data of a run folder;
            other weights are compared on the reference batch only.
        calibrate: A dataset reference whose training images calibrate int8. None for that of
            `dataset`.
        images: Maximum number of images of `dataset`. int8 chooses the layers that stay in float32
            on one half of them, and is compared on the other.
        calibration_images: Maximum number of training images for calibration.
        tolerance: The largest relative difference of outputs; None for that of the format.
        threads: Number of threads of the runtime when it is measured; None for all.
        measure: Measure latency, throughput and memory, in a process of its own, for some seconds.
        overwrite: Replace an existing export.
        progress: Called with a description of each step.

    Returns:
        The passport, which is also in the folder.

    Raises:
        UnknownNameError, NotFoundError: There is no such model, format or dataset.
        SpecError: An argument is not allowed, or the folder exists already.
        MissingExtraError: The runtime is not installed.
        IncompatibleError: The format does not support the network, or the export differs from
            its source by more than allowed. The message names the first layer that differs.
    """
    kind = get_format(to, quantize=quantize, takes=takes, gives=gives)
    kind.check_threads(threads, own_process=True)
    source = source_of(model, pretrained=pretrained)
    dataset = dataset or own_dataset(source)
    calibrate = _calibration_data(quantize, calibrate or dataset)
    folder = Path(output) if output is not None else default_folder(source, kind, quantize)
    check_folder(folder, overwrite=overwrite)
    progress("loading the network and images")
    kinds = {"takes": takes, "gives": gives, "quantize": quantize}
    bundle = read_bundle(source, model, image_size=image_size, crop_mode=crop_mode, **kinds)
    choosing = calibration = None
    if calibrate:
        choosing, samples = halves(source, dataset, bundle.preprocessing, count=images)
        progress("calibrating int8")
        bundle, calibration = _calibrated_with(
            kind, bundle, calibrate, count=calibration_images, without=(choosing, samples)
        )
    else:
        samples = comparison_samples(source, dataset, bundle.preprocessing, count=images)
    with new_folder(folder, overwrite=overwrite) as place:
        passport = write_verified(
            kind, bundle, samples, place, choosing=choosing, tolerance=tolerance, progress=progress
        )
        passport = dataclasses.replace(passport, folder=folder, calibration=calibration)
        if measure:
            progress("measuring latency and memory")
            passport = dataclasses.replace(passport, cost=measure_cost(place, threads=threads))
        write_json(place / PASSPORT, passport.to_dict())
    return passport


def _calibration_data(quantize: str, dataset: str | None) -> str | None:
    """Return the dataset that calibrates, None unless it is int8; `SpecError` if it lacks one."""
    if quantize != "int8":
        return None
    if dataset is None:
        raise SpecError(
            "int8 needs training images for calibration",
            hint="name a dataset with --calibrate, for example --calibrate folder:photos.",
        )
    return dataset


def _calibrated_with(
    kind: Format, bundle: Bundle, dataset: str, *, count: int, without: tuple[Samples, ...]
) -> tuple[Bundle, Int8Calibration]:
    """Return an int8 bundle calibrated with images of a dataset, and the images in words."""
    prepared, what = calibration_samples(
        dataset, bundle.preprocessing, count=count, without=without
    )
    return calibrated(kind, bundle, prepared), Int8Calibration(what=what, count=len(prepared))


def read_bundle(
    source: Source,
    model: Any = None,
    *,
    takes: str = "tensor",
    gives: str = "logits",
    quantize: str = "none",
    image_size: int | None = None,
    crop_mode: str | None = None,
) -> Bundle:
    """Return a bundle of a source and its network, which is loaded if it is no `keras.Model`."""
    preprocessing = source.config.preprocessing.for_test().at(image_size, crop_mode)
    shape = (*preprocessing.size, preprocessing.channels)
    network = model if isinstance(model, keras.Model) else load(source, input_shape=shape)
    if gives == FEATURES:
        network, source = pooled(network), without_classes(source)
    return Bundle(
        source=source,
        origin=getattr(network, "rezoo_origin", None),
        network=network,
        graph=read_graph(network, shape),
        preprocessing=preprocessing,
        takes=takes,
        gives=gives,
        quantize=quantize,
        refusal=Refusal.of(source.config, network) if gives == "probabilities" else None,
    )


def calibrated(kind: Format, bundle: Bundle, images: np.ndarray) -> Bundle:
    """Return an int8 bundle whose quantizer was calibrated on prepared training images."""
    bundle = dataclasses.replace(bundle, quantize="int8")
    quantizer = import_module(kind.quantizer).calibrate(bundle, images)
    return dataclasses.replace(bundle, quantizer=quantizer)
