"""What a worker times: a network, an exported file, or a product of large matrices for the peak.

Images are on the device before a call. A call returns when the outputs are on the host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo import registry
from rezoo.benchmarking.results import PEAK, TRAIN, inference
from rezoo.errors import IncompatibleError, SpecError
from rezoo.evaluation.forward import compiled_forward
from rezoo.models.factory import create_model, start_from_zeros
from rezoo.models.profile import profile
from rezoo.recipes.recipe import Recipe
from rezoo.sources.load import load
from rezoo.sources.references import resolve
from rezoo.training.step import training_step
from rezoo.utils import device
from rezoo.utils.gpu_faults import gpu_faults

_MATRIX_SIDE = {"cpu": 2048, "gpu": 8192}
_DTYPES = {"float32": "float32", "mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}
_STEPS_PER_EPOCH = 1000  # any number: the schedule is constant

Call = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Something to time.

    Attributes:
        facts: JSON values, attributes of `rezoo.benchmarking.results.Measured`.
        actions: Name of an action → function that builds its call.
        counts: Returns parameters, MACs and so on as further facts. It may build a network, and is
            called after peak memory is read.
    """

    facts: dict[str, Any]
    actions: dict[str, Callable[[], Call]]
    counts: Callable[[], dict[str, int]] = dict


def build_workload(job: dict[str, Any]) -> Workload:
    """Build the workload of a job; raises as `rezoo.load`."""
    if job["device"] == "gpu" and not device.on_gpu():
        raise IncompatibleError(
            f"Keras's backend {keras.config.backend()} finds no GPU",
            hint="; ".join(gpu_faults()) or "rezoo doctor lists the devices.",
        )
    precision = device.precision(job["precision"])
    if job["kind"] == PEAK:
        return _peak(precision)
    before = 0 if device.on_gpu() else device.resident_bytes()
    workload = _exported(job) if job["kind"] == "exported" else _network(job, precision)
    workload.facts.update(target=job["reference"], before_bytes=before)
    return workload


def _network(job: dict[str, Any], precision: str) -> Workload:
    shape, sizes = tuple(job["input_shape"]), job["batch_sizes"]
    source = resolve(job["reference"], pretrained=job["pretrained"])
    model = load(source, input_shape=shape, precision=precision)
    forward = _forward(model)
    actions: dict[str, Callable[[], Call]] = {
        inference(size): partial(_inference, forward, size, shape)
        for size in dict.fromkeys((1, *sizes))
    }
    if job["train"]:
        actions[TRAIN] = lambda: _training(model, precision, _images(max(sizes), shape))
    facts = {
        "kind": job["kind"],
        "precision": precision,
        "input_shape": shape,
        "runtime": _backend(),
    }
    return Workload(facts=facts, actions=actions, counts=lambda: _counts(model, shape))


def _inference(forward: Callable[[Any], Any], count: int, shape: tuple[int, ...]) -> Call:
    on_device = keras.ops.convert_to_tensor(_images(count, shape))
    return lambda: forward(on_device)


def _forward(model: keras.Model) -> Callable[[Any], np.ndarray]:
    """Return the compiled forward pass of `rezoo eval` for images on the device."""
    if keras.config.backend() != "jax":
        return compiled_forward(model)
    import jax

    apply = jax.jit(lambda t, n, x: model.stateless_call(t, n, x, training=False)[0])

    def forward(images: Any) -> np.ndarray:
        trained = [v.value for v in model.trainable_variables]
        others = [v.value for v in model.non_trainable_variables]
        return np.asarray(apply(trained, others, images))

    return forward


def _training(model: keras.Model, precision: str, images: np.ndarray) -> Call:
    """Return the training step of `rezoo train` on one batch."""
    classes = model.output_shape[-1]
    if len(model.output_shape) != 2 or classes < 1:
        raise SpecError(f"{model.name} has no classes to train")
    recipe = Recipe(
        name="benchmark",
        batch_size=len(images),
        precision=precision,
        schedule="constant",
        warmup_epochs=0,
    )
    step = training_step(model, recipe, steps_per_epoch=_STEPS_PER_EPOCH)
    labels = np.random.default_rng(0).integers(0, classes, len(images)).astype(np.int32)
    batch = (keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(labels))
    return lambda: step([batch]).read()


def _exported(job: dict[str, Any]) -> Workload:
    from rezoo.exporters.runner import open_exported

    name = job["reference"]
    if job["train"]:
        raise SpecError(f"{name} is an exported file: it cannot be trained")
    run = open_exported(Path(job["path"]), threads=job["threads"])
    quantized = run.metadata.get("quantization", "none")
    facts = {
        "kind": run.format,
        "precision": "float32" if quantized == "none" else quantized,
        "input_shape": run.shape,
        "runtime": run.runtime,
    }

    def call(size: int) -> Call:
        images = _images(size, run.shape)
        if run.input == "raw":
            images = np.clip(128 + 64 * images, 0, 255).astype(np.uint8)
        return lambda: run(images)

    return Workload(
        facts=facts,
        actions={inference(size): partial(call, size) for size in (1, *job["batch_sizes"])},
        counts=lambda: _exported_counts(run.metadata, run.shape),
    )


def _exported_counts(metadata: dict[str, Any], shape: tuple[int, int, int]) -> dict[str, int]:
    """Return the counts of the network that an exported file names; none if it names no network."""
    name, classes = metadata.get("architecture"), metadata.get("num_classes")
    if name not in registry.architectures.names() or not isinstance(classes, int):
        return {}
    model = start_from_zeros(lambda: create_model(name, num_classes=classes, input_shape=shape))
    return _counts(model, shape)


def _counts(model: keras.Model, shape: tuple[int, int, int]) -> dict[str, int]:
    cost = profile(model, input_shape=shape)
    return {
        "params": cost.params,
        "statistics": cost.statistics,
        "macs": cost.macs,
        "activations": cost.activations,
    }


def _peak(precision: str) -> Workload:
    """Return the product of large matrices in a precision: the peak of the machine."""
    side, dtype = _MATRIX_SIDE["gpu" if device.on_gpu() else "cpu"], _DTYPES[precision]
    rng = np.random.default_rng(0)
    one, other = (
        keras.ops.cast(rng.standard_normal((side, side), np.float32), dtype) for _ in range(2)
    )

    def product() -> Call:
        compiled = _compiled(keras.ops.matmul)
        # indexed outside the compiled function, which would otherwise compute one element only
        return lambda: float(keras.ops.cast(compiled(one, other)[0, 0], "float32"))

    facts = {
        "flops": 2 * side**3,
        "precision": precision,
        "device": ", ".join(dict.fromkeys(device.names())),
        "runtime": _backend(),
    }
    return Workload(facts=facts, actions={PEAK: product})


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    import jax

    return jax.jit(function)


def _images(count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise with the distribution of preprocessed images: float32 `(count, H, W, C)`."""
    return np.random.default_rng(0).standard_normal((count, *shape), np.float32)


def _backend() -> str:
    backend = keras.config.backend()
    return f"{backend} {version(backend)}"
