"""Write a network in another format, open the file in its runtime, and compare the two."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np

from rezoo.errors import IncompatibleError
from rezoo.evaluation.calibrating.features import BothForward
from rezoo.evaluation.calibrating.unknown import forward_for
from rezoo.evaluation.predict import probabilities_of
from rezoo.exporters.bundle import Bundle
from rezoo.exporters.comparing import Comparison, compare, in_batches
from rezoo.exporters.formats import FEATURES, Format
from rezoo.exporters.localize import first_difference
from rezoo.exporters.mixed_precision import keep_accuracy
from rezoo.exporters.passport import Passport, describe_files
from rezoo.exporters.runner import open_exported
from rezoo.exporters.samples import Samples


def write_verified(
    kind: Format,
    bundle: Bundle,
    samples: Samples,
    folder: Path,
    *,
    choosing: Samples | None = None,
    tolerance: float | None = None,
    progress: Callable[[str], None] = lambda text: None,
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
    forward = forward_for(bundle.network, bundle.refusal)
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
    outputs = probabilities_of(logits, bundle.source.config) if bundle.function else logits
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
