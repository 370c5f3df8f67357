"""`export`: write a network in another format, open it in its runtime, and compare it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo.errors import IncompatibleError, SpecError
from rezoo.evaluation.calibrating.features import BothForward
from rezoo.evaluation.calibrating.unknown import Refusal, forward_for
from rezoo.evaluation.reference_batch import full_precision
from rezoo.exporters.bundle import Bundle, without_classes
from rezoo.exporters.comparing import Comparison, as_output, compare, in_batches
from rezoo.exporters.folders import check_folder, default_folder, new_folder
from rezoo.exporters.formats import FEATURES, PASSPORT, Format, get_format
from rezoo.exporters.graph import read_graph
from rezoo.exporters.localize import first_difference
from rezoo.exporters.measuring import measure as measure_cost
from rezoo.exporters.mixed_precision import keep_accuracy
from rezoo.exporters.passport import Int8Calibration, Passport, describe_files
from rezoo.exporters.runner import open_exported
from rezoo.exporters.samples import (
    Samples,
    calibration_samples,
    comparison_samples,
    halves,
)
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


def write_verified(
    kind: Format,
    bundle: Bundle,
    samples: Samples,
    folder: Path,
    *,
    choosing: Samples | None = None,
    tolerance: float | None = None,
    progress: Progress = lambda text: None,
) -> Passport:
    """Write a bundle to an empty folder and compare it with its source; raises as `export`.

    Args:
        kind: The format.
        bundle: The network.
        samples: The images to compare on.
        folder: The folder.
        choosing: For int8: other images, on which the layers in float32 are chosen.
        tolerance: The largest relative difference of outputs; None for that of the quantization.
        progress: Called with a description of each step.
    """
    if bundle.gives == FEATURES:  # there is no accuracy
        samples = dataclasses.replace(samples, labels=samples.labels[:0])
    means = bundle.refusal.means if bundle.refusal else None
    forward = forward_for(bundle.network, means)
    progress(f"writing {kind.name} and comparing it with its source")
    attempt = partial(write_and_compare, kind=kind, tolerance=tolerance)
    wanted, unknown = _wanted(bundle, forward, samples)
    if choosing is None:
        passport = attempt(bundle, folder, samples=samples, wanted=wanted, unknown=unknown)
    else:
        first, second = _wanted(bundle, forward, choosing)
        attempt = partial(attempt, samples=choosing, wanted=first, unknown=second)
        passport = keep_accuracy(bundle, folder, attempt)
        run = open_exported(folder)
        found = compare(run, samples, wanted, unknown=unknown, tolerance=tolerance)
        passport = dataclasses.replace(passport, comparison=found)
    if not passport.comparison.holds:
        # a quantized network differs in every layer; timm runs no part of a network
        localizable = bundle.quantize == "none" and kind.name != "torch"
        place = first_difference(kind, bundle, samples) if localizable else ""
        raise _too_different(kind, bundle, passport.comparison, place)
    return passport


def _wanted(
    bundle: Bundle, forward: BothForward, samples: Samples
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the outputs of the source, `(N, K)`, and its threshold minus score, `(N,)`, if any."""
    parts = map(forward, in_batches(samples.inputs))
    logits, features = map(np.concatenate, zip(*parts, strict=True))
    temperature = bundle.calibration.temperature if bundle.calibration else 1.0
    outputs = as_output(logits / np.float32(temperature), bundle.function)
    if bundle.refusal is None:
        return outputs, None
    return outputs, bundle.refusal.threshold - bundle.refusal.scores(logits, features)


def write_and_compare(
    bundle: Bundle,
    folder: Path,
    *,
    kind: Format,
    samples: Samples,
    wanted: np.ndarray,
    tolerance: float | None,
    unknown: np.ndarray | None = None,
) -> Passport:
    """Write a bundle to an empty folder, open it and compare it with its source; see `compare`."""
    import_module(kind.writer).write(bundle, folder)
    run = open_exported(folder)
    return Passport(
        folder=folder,
        format=kind.name,
        metadata=run.metadata,
        files=describe_files(folder),
        comparison=compare(run, samples, wanted, unknown=unknown, tolerance=tolerance),
        runtime=run.runtime,
    )


def _too_different(
    kind: Format, bundle: Bundle, found: Comparison, place: str
) -> IncompatibleError:
    far = f"{found.relative:.2g} of the largest output, {found.agreement:.1%} equal predictions"
    if found.accuracy:
        far += f", top-1 {found.accuracy.before:.1%} → {found.accuracy.after:.1%}"
    if found.refusals:
        far += f', {found.refusals.agreement:.1%} equal answers about "unknown"'
    first = f"; the first layer that differs is {place}" if place else ""
    return IncompatibleError(
        f"the {kind.name} export differs from its source by {far} on {found.what}; "
        f"allowed is {found.tolerance}{first}",
        hint="no file was written. "
        + (
            "calibrate with more images (--calibrate), or use --quantize float16."
            if bundle.quantize in ("int8", "dynamic")
            else "this is a fault of the export, not of the network: please report it."
        ),
    )
