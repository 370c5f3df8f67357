"""`export`: write a network in a format, open it there again, and compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo.errors import IncompatibleError
from rezoo.evaluation.forward import compiled_forward
from rezoo.exporters import samples as taking
from rezoo.exporters.bundle import Bundle, no_training_images
from rezoo.exporters.comparing import Comparison, as_output, compare, in_batches, outputs_of
from rezoo.exporters.folders import check_folder, default_folder, new_folder
from rezoo.exporters.formats import Format, get_format
from rezoo.exporters.graph import read_graph
from rezoo.exporters.localize import first_difference
from rezoo.exporters.measuring import measure
from rezoo.exporters.mixed_precision import Trade, keep_accuracy
from rezoo.exporters.passport import Passport, describe_files
from rezoo.exporters.runners import open_exported
from rezoo.exporters.samples import Samples
from rezoo.sources.load import build
from rezoo.sources.references import Source, resolve_weights

CALIBRATION_IMAGES = 500
COMPARED_IMAGES = 256

Say = Callable[[str], None]


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
    images: int = COMPARED_IMAGES,
    calibration_images: int = CALIBRATION_IMAGES,
    tolerance: float | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    say: Say = lambda text: None,
) -> Passport:
    """Export a network, open it in its own runtime and compare it with its source.

    Args:
        model: A reference with weights.
        to: A format: `rezoo.exporters.formats.FORMATS`.
        output: The folder; `<name>-<format>` where not given. It is there only if the export
            holds.
        pretrained: Take the default published weights of a bare architecture.
        quantize: `"none"`, `"float16"` (weights), `"dynamic"` (int8 weights), or `"int8"`
            (weights and activations).
        takes: `"tensor"`: float32 `(N, H, W, C)`, prepared; `"raw"`: uint8, any size.
        gives: `"logits"` or `"probabilities"`.
        image_size: Height and width in pixels; what the weights are tested at where not given.
        dataset: Images to compare on, besides the reference batch.
        calibrate: A dataset whose training images int8 is calibrated with; `dataset` where not
            given.
        images: Images of `dataset` at most.
        calibration_images: Training images to calibrate with, at most.
        tolerance: The largest relative difference of outputs, in place of the format's.
        threads: Of the runtime, for what is measured.
        overwrite: Replace an export that is there.
        say: Called with what is being done.

    Returns:
        The passport, which is in the folder, too.

    Raises:
        UnknownNameError, NotFoundError: No such model, format or dataset.
        SpecError: An argument is not allowed, or the folder is there already.
        MissingExtraError: The runtime is not installed.
        IncompatibleError: The format cannot hold the network, or the export is further from its
            source than allowed; the message names the first layer that differs.
    """
    kind = get_format(to)
    kind.check(quantize=quantize, takes=takes)
    kind.require()
    training = calibrate or dataset
    if quantize == "int8" and training is None:
        raise no_training_images()
    source = resolve_weights(model, pretrained=pretrained)
    folder = output or default_folder(source, kind, quantize)
    check_folder(folder, overwrite=overwrite)
    say("loading the network and images")
    bundle, network = read_bundle(source, takes=takes, gives=gives, image_size=image_size)
    samples = taking.comparison(source, dataset, bundle.preprocessing, count=images)
    bundle = dataclasses.replace(bundle, quantize=quantize)
    if quantize == "int8" and training is not None:
        calibration = taking.calibration(training, bundle.preprocessing, count=calibration_images)
        bundle = dataclasses.replace(bundle, calibration=calibration)
    wanted = source_outputs(bundle, network, samples)
    module: Any = import_module(kind.module)
    trade: Trade = ()
    if quantize == "int8":
        say("looking at the training images")
        bundle = dataclasses.replace(bundle, quantizer=module.quantizer(bundle))
        say("looking for what int8 can keep")
        keep, trade = keep_accuracy(bundle.quantizer, samples, wanted)
        bundle = dataclasses.replace(bundle, keep=keep)
    with new_folder(folder) as partial:
        say(f"writing {kind.name}")
        module.write(bundle, partial)
        say("comparing it with its source")
        run = open_exported(partial)
        found = compare(
            wanted,
            outputs_of(run, samples),
            samples,
            quantize=quantize,
            raw=takes == "raw",
            tolerance=tolerance,
        )
        if not found.holds:
            raise _not_the_same(kind, bundle, found, _place(kind, bundle, network, samples))
        say("measuring it")
        passport = Passport(
            folder=folder,
            format=kind.name,
            metadata=run.metadata,
            files=describe_files(partial),
            comparison=found,
            cost=measure(partial, threads=threads),
            runtime=run.runtime,
            trade=trade,
        )
        passport.write(partial)
    return passport


def read_bundle(
    source: Source, *, takes: str = "tensor", gives: str = "logits", image_size: int | None = None
) -> tuple[Bundle, keras.Model]:
    """Return a source's network, folded and as it was."""
    preprocessing = source.config.preprocessing.for_test().at(image_size)
    shape = (*preprocessing.size, preprocessing.channels)
    network = build(source, input_shape=shape)
    graph = read_graph(network, shape)
    bundle = Bundle(
        source=source,
        origin=network.rezoo_origin,
        graph=graph,
        preprocessing=preprocessing,
        takes=takes,
        gives=gives,
    )
    return bundle, network


def source_outputs(bundle: Bundle, network: keras.Model, samples: Samples) -> np.ndarray:
    """Return what the source gives for all samples, `(N, K)`."""
    logits = in_batches(compiled_forward(network), samples.inputs)
    return as_output(logits, bundle.function)


def _place(kind: Format, bundle: Bundle, network: keras.Model, samples: Samples) -> str:
    """Return where an export leaves its source; a quantized one does so everywhere."""
    if bundle.quantize != "none" or kind.name == "torch":
        return ""
    return first_difference(kind, bundle, network, samples)


def _not_the_same(kind: Format, bundle: Bundle, found: Comparison, place: str) -> IncompatibleError:
    far = f"{found.relative:.2g} of the largest output, {found.agreement:.1%} same answers"
    if found.accuracy:
        far += f", top-1 {found.accuracy.before:.1%} → {found.accuracy.after:.1%}"
    where = f"; the first to differ is {place}" if place else ""
    return IncompatibleError(
        f"the {kind.name} export is not its source: {far} on {found.what}; "
        f"allowed is {found.tolerance}{where}",
        hint="nothing was kept. "
        + (
            "calibrate with more images (--calibrate), or take --quantize float16."
            if bundle.quantize in ("int8", "dynamic")
            else "this is a fault of the export, not of the network: please report it."
        ),
    )
