"""`export`: write a network in another format, open it in its runtime, and compare it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import keras
import numpy as np

from rezoo.errors import IncompatibleError
from rezoo.evaluation.forward import compiled_forward
from rezoo.evaluation.reference_batch import full_precision
from rezoo.exporters.bundle import Bundle, no_training_images
from rezoo.exporters.comparing import Comparison, as_output, compare, in_batches
from rezoo.exporters.folders import check_folder, default_folder, new_folder
from rezoo.exporters.formats import Format, get_format
from rezoo.exporters.graph import read_graph
from rezoo.exporters.localize import first_difference
from rezoo.exporters.measuring import measure as measure_cost
from rezoo.exporters.mixed_precision import keep_accuracy
from rezoo.exporters.passport import Passport, describe_files
from rezoo.exporters.runner import open_exported
from rezoo.exporters.samples import Samples, calibration_samples, comparison_samples
from rezoo.sources.load import build
from rezoo.sources.references import Source, resolve_weights

Progress = Callable[[str], None]


@full_precision()
def export(
    model: str | Source,
    to: str,
    *,
    output: Path | None = None,
    pretrained: bool = False,
    quantize: str = "none",
    takes: str = "tensor",
    gives: str = "logits",
    image_size: int | None = None,
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
        model: A model reference with weights.
        to: Name of a format, see `rezoo.exporters.formats.FORMATS`.
        output: Folder of the export; None for `exports/<format>` in a run folder, or
            `<name>-<format>` for other weights.
        pretrained: Use the default published weights of an architecture.
        quantize: `"none"`, `"float16"` (weights), `"dynamic"` (int8 weights), or `"int8"`
            (weights and activations).
        takes: Input of the export. `"tensor"`: float32 `(N, H, W, C)`, prepared. `"raw"`: uint8,
            any height and width.
        gives: Output of the export, `"logits"` or `"probabilities"`.
        image_size: Height and width in pixels; None for the test size of the weights.
        dataset: A dataset reference with images to compare on; None for the reference batch only.
        calibrate: A dataset reference whose training images calibrate int8; None for `dataset`.
        images: Maximum number of images of `dataset`.
        calibration_images: Maximum number of training images for calibration.
        tolerance: The largest relative difference of outputs; None for that of the format.
        threads: Number of threads of the runtime when it is measured; None for its default.
        measure: Measure latency, throughput and memory, in a process of its own. This takes
            several seconds.
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
    kind = get_format(to)
    kind.check(quantize=quantize, takes=takes)
    kind.require()
    training = (calibrate or dataset) if quantize == "int8" else None
    if quantize == "int8" and training is None:
        raise no_training_images()
    source = resolve_weights(model, pretrained=pretrained)
    folder = output or default_folder(source, kind, quantize)
    check_folder(folder, overwrite=overwrite)
    progress("loading the network and images")
    bundle, network = read_bundle(source, takes=takes, gives=gives, image_size=image_size)
    samples = comparison_samples(source, dataset, bundle.preprocessing, count=images)
    bundle = dataclasses.replace(bundle, quantize=quantize)
    if training is not None:
        prepared = calibration_samples(training, bundle.preprocessing, count=calibration_images)
        progress("calibrating int8")
        bundle = calibrated(kind, bundle, prepared)
    with new_folder(folder) as place:
        passport = write_verified(
            kind, bundle, network, samples, place, tolerance=tolerance, progress=progress
        )
        passport = dataclasses.replace(passport, folder=folder)
        if measure:
            progress("measuring latency and memory")
            passport = dataclasses.replace(passport, cost=measure_cost(place, threads=threads))
        passport.write(place)
    return passport


def read_bundle(
    source: Source, *, takes: str = "tensor", gives: str = "logits", image_size: int | None = None
) -> tuple[Bundle, keras.Model]:
    """Return a source's network, folded in a bundle and as a model."""
    preprocessing = source.config.preprocessing.for_test().at(image_size)
    shape = (*preprocessing.size, preprocessing.channels)
    network = build(source, input_shape=shape)
    bundle = Bundle(
        source=source,
        origin=network.rezoo_origin,
        graph=read_graph(network, shape),
        preprocessing=preprocessing,
        takes=takes,
        gives=gives,
    )
    return bundle, network


def calibrated(kind: Format, bundle: Bundle, images: np.ndarray) -> Bundle:
    """Return an int8 bundle with a quantizer.

    Args:
        kind: The format.
        bundle: The network.
        images: Prepared training images, float32 `(N, H, W, C)`.
    """
    bundle = dataclasses.replace(bundle, quantize="int8", calibration=images)
    return dataclasses.replace(bundle, quantizer=import_module(kind.quantizer).calibrate(bundle))


def write_verified(
    kind: Format,
    bundle: Bundle,
    network: keras.Model,
    samples: Samples,
    folder: Path,
    *,
    tolerance: float | None = None,
    progress: Progress = lambda text: None,
) -> Passport:
    """Write a bundle to an empty folder and compare it with its source.

    Raises:
        IncompatibleError: As `export`.
    """
    logits = in_batches(compiled_forward(network), samples.inputs)
    wanted = as_output(logits, bundle.function)
    progress(f"writing {kind.name} and comparing it with its source")
    attempt = partial(
        write_and_compare, kind=kind, samples=samples, wanted=wanted, tolerance=tolerance
    )
    if bundle.quantizer:
        passport = keep_accuracy(bundle, folder, attempt)
    else:
        passport = attempt(bundle, folder)
    if not passport.comparison.holds:
        # a quantized network differs in every layer; timm runs no part of a network
        localizable = bundle.quantize == "none" and kind.name != "torch"
        place = first_difference(kind, bundle, network, samples) if localizable else ""
        raise _too_different(kind, bundle, passport.comparison, place)
    return passport


def write_and_compare(
    bundle: Bundle,
    folder: Path,
    *,
    kind: Format,
    samples: Samples,
    wanted: np.ndarray,
    tolerance: float | None,
) -> Passport:
    """Write a bundle to an empty folder, open it and compare it with the outputs `wanted`."""
    import_module(kind.writer).write(bundle, folder)
    run = open_exported(folder)
    return Passport(
        folder=folder,
        format=kind.name,
        metadata=run.metadata,
        files=describe_files(folder),
        comparison=compare(run, samples, wanted, tolerance=tolerance),
        runtime=run.runtime,
    )


def _too_different(
    kind: Format, bundle: Bundle, found: Comparison, place: str
) -> IncompatibleError:
    far = f"{found.relative:.2g} of the largest output, {found.agreement:.1%} equal predictions"
    if found.accuracy:
        far += f", top-1 {found.accuracy.before:.1%} → {found.accuracy.after:.1%}"
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
