"""`export`: write a network in another format, open it in its runtime, and compare it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import keras
import numpy as np

from rezoo.errors import IncompatibleError, SpecError
from rezoo.evaluation.forward import compiled_forward
from rezoo.evaluation.reference_batch import full_precision
from rezoo.exporters.bundle import Bundle
from rezoo.exporters.comparing import Comparison, as_output, compare, in_batches
from rezoo.exporters.folders import check_folder, default_folder, new_folder
from rezoo.exporters.formats import PASSPORT, Format, get_format
from rezoo.exporters.graph import read_graph
from rezoo.exporters.localize import first_difference
from rezoo.exporters.measuring import measure as measure_cost
from rezoo.exporters.mixed_precision import keep_accuracy
from rezoo.exporters.passport import Passport, describe_files
from rezoo.exporters.runner import open_exported
from rezoo.exporters.samples import Samples, calibration_samples, comparison_samples
from rezoo.sources.any_model import source_of
from rezoo.sources.load import load
from rezoo.sources.references import Reference, Source
from rezoo.utils.files import write_json

Progress = Callable[[str], None]


@full_precision()
def export(
    model: Reference | keras.Model,
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
        model: A model reference with weights, or a float32 model of `rezoo.load`.
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
    kind = get_format(to, quantize=quantize, takes=takes)
    training = (calibrate or dataset) if quantize == "int8" else None
    if quantize == "int8" and training is None:
        raise SpecError(
            "int8 needs training images for calibration",
            hint="name a dataset with --calibrate, for example --calibrate folder:photos.",
        )
    source = source_of(model, pretrained=pretrained)
    folder = output or default_folder(source, kind, quantize)
    check_folder(folder, overwrite=overwrite)
    progress("loading the network and images")
    network = model if isinstance(model, keras.Model) else None
    bundle = read_bundle(source, network, takes=takes, gives=gives, image_size=image_size)
    samples = comparison_samples(source, dataset, bundle.preprocessing, count=images)
    bundle = dataclasses.replace(bundle, quantize=quantize)
    if training is not None:
        prepared = calibration_samples(training, bundle.preprocessing, count=calibration_images)
        progress("calibrating int8")
        bundle = calibrated(kind, bundle, prepared)
    with new_folder(folder) as place:
        passport = write_verified(
            kind, bundle, samples, place, tolerance=tolerance, progress=progress
        )
        passport = dataclasses.replace(passport, folder=folder)
        if measure:
            progress("measuring latency and memory")
            passport = dataclasses.replace(passport, cost=measure_cost(place, threads=threads))
        write_json(place / PASSPORT, passport.to_dict())
    return passport


def read_bundle(
    source: Source,
    network: keras.Model | None = None,
    *,
    takes: str = "tensor",
    gives: str = "logits",
    image_size: int | None = None,
) -> Bundle:
    """Return a bundle of a source and its network, which is built if it is None."""
    preprocessing = source.config.preprocessing.for_test().at(image_size)
    shape = (*preprocessing.size, preprocessing.channels)
    if network is None:
        network = load(source, input_shape=shape)
    return Bundle(
        source=source,
        origin=getattr(network, "rezoo_origin", None),
        network=network,
        graph=read_graph(network, shape),
        preprocessing=preprocessing,
        takes=takes,
        gives=gives,
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
    tolerance: float | None = None,
    progress: Progress = lambda text: None,
) -> Passport:
    """Write a bundle to an empty folder and compare it with its source; raises as `export`."""
    logits = in_batches(compiled_forward(bundle.network), samples.inputs)
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
        place = first_difference(kind, bundle, samples) if localizable else ""
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
