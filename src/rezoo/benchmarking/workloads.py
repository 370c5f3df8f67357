"""What takes turns: networks, exported files, and products of large matrices for the peak.

Each is a record of what is known, and of actions by name. An action is built when its turn to warm
up comes, and does one call: it returns when the device has finished. Images are on the device
before; the outputs are fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
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
from rezoo.models import counts
from rezoo.models.profile import profile
from rezoo.recipes.recipe import Recipe
from rezoo.sources.load import build
from rezoo.sources.references import resolve
from rezoo.training import optimizers
from rezoo.training.network import dtype_policy
from rezoo.training.step import training_step
from rezoo.utils import device

_SIDE = {False: 2048, True: 8192}  # of the matrices, by whether it is a GPU
_DTYPES = {"float32": "float32", "mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}
_STEPS = 1000  # of an epoch; the schedule is constant

Call = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Something to be timed.

    Attributes:
        known: JSON values, as `rezoo.benchmarking.results.Measured` has them.
        batches: Name of an action → images of a call.
        actions: Name of an action → what builds its call.
    """

    known: dict[str, Any]
    batches: dict[str, int]
    actions: dict[str, Callable[[], Call]]


def contender(job: dict[str, Any]) -> Contender:
    """Build what a job names; raises as `rezoo.load` does."""
    _check_device(job["device"])
    precision = device.precision(job["precision"])
    if job["kind"] == PEAK:
        return _peak(precision)
    before = 0 if device.on_gpu() else device.resident_bytes()
    made = _exported(job) if job["kind"] == "exported" else _network(job, precision)
    made.known.update(
        target=job["reference"],
        before_bytes=before,
        batches=made.batches,
    )
    return made


def _check_device(wanted: str) -> None:
    if wanted == "gpu" and not device.on_gpu():
        raise IncompatibleError(
            f"Keras's backend {keras.config.backend()} sees no GPU",
            hint="rezoo doctor shows what it sees; pip install 'rezoo[cuda]' brings what NVIDIA's "
            "GPUs need.",
        )


def _network(job: dict[str, Any], precision: str) -> Contender:
    shape = tuple(job["input_shape"])
    source = resolve(job["reference"], pretrained=job["pretrained"])
    with dtype_policy(precision):
        model = build(source, input_shape=shape)
    costs = profile(model, input_shape=shape)
    known = {
        "kind": job["kind"],
        "precision": precision,
        "input_shape": shape,
        "params": costs.params,
        "statistics": costs.statistics,
        "macs": costs.macs,
        "activations": costs.activations,
        "runtime": _runtime(),
    }
    sizes = job["batch_sizes"]
    forward = _forward(model)
    actions: dict[str, Callable[[], Call]] = {
        inference(size): partial(_inference, forward, size, shape)
        for size in dict.fromkeys((1, *sizes))
    }
    batches = {inference(size): size for size in (1, *sizes)}
    if job["train"]:
        batches[TRAIN] = max(sizes)
        actions[TRAIN] = lambda: _training(model, precision, _images(max(sizes), shape))
    return Contender(known=known, batches=batches, actions=actions)


def _inference(forward: Callable[[Any], Any], count: int, shape: tuple[int, ...]) -> Call:
    on_device = keras.ops.convert_to_tensor(_images(count, shape))
    return lambda: forward(on_device)


def _forward(model: keras.Model) -> Callable[[Any], np.ndarray]:
    """Return the compiled forward pass, as `rezoo eval` runs it, of images on the device."""
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
    """Return rezoo's own training step, as `rezoo train` does it, on one batch."""
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
    groups = optimizers.groups(model, recipe, _STEPS, head="fc")
    step = training_step(model, groups, recipe, steps_per_epoch=_STEPS)
    labels = np.random.default_rng(0).integers(0, classes, len(images)).astype(np.int32)
    part = (keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(labels))
    return lambda: step([part]).read()


def _exported(job: dict[str, Any]) -> Contender:
    from rezoo.exporters.runner import open_exported  # its own imports are the runtime's

    if job["train"]:
        raise SpecError(f"{job['reference']} is an exported file: it cannot be trained")
    run = open_exported(Path(job["path"]), threads=job["threads"])
    sizes = [size for size in job["batch_sizes"] if run.batch in (None, size)]
    if not sizes:
        raise IncompatibleError(
            f"{job['reference']} takes {run.batch} images at a time",
            hint=f"say --batch-sizes {run.batch}",
        )
    if run.batch in (None, 1):
        sizes = [1, *sizes]
    metadata = getattr(run, "metadata", {})
    quantized = metadata.get("quantization", "none")
    known = {
        "kind": run.format,
        "precision": "float32" if quantized == "none" else quantized,
        "input_shape": run.shape,
        "runtime": getattr(run, "runtime", run.format),
        **_recorded(metadata, run.shape),
    }
    raw = run.input == "raw"

    def call(size: int) -> Call:
        images = _images(size, run.shape)
        images = np.clip(128 + 64 * images, 0, 255).astype(np.uint8) if raw else images
        return lambda: run(images)

    return Contender(
        known=known,
        batches={inference(size): size for size in sizes},
        actions={inference(size): partial(call, size) for size in sizes},
    )


def _recorded(metadata: dict[str, Any], shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return the counts of the network that an exported file says it is."""
    name, classes = metadata.get("architecture"), metadata.get("num_classes")
    if not isinstance(name, str) or not isinstance(classes, int):
        return {}
    height, width, channels = shape
    known = height == width and name in registry.architectures.names()
    found = (
        counts.count(name, image_size=height, num_classes=classes, channels=channels)
        if known
        else None
    )
    return asdict(found) if found else {}


def _peak(precision: str) -> Contender:
    """Multiply large matrices in a precision: what the machine reaches at best."""
    side, dtype = _SIDE[device.on_gpu()], _DTYPES[precision]
    rng = np.random.default_rng(0)
    one, other = (
        keras.ops.cast(rng.standard_normal((side, side), np.float32), dtype) for _ in range(2)
    )

    def product() -> Call:
        compiled = _compiled(keras.ops.matmul)
        # one element is fetched outside the compiled function, which would compute no other
        return lambda: float(keras.ops.cast(compiled(one, other)[0, 0], "float32"))

    known = {
        "flops": 2 * side**3,
        "precision": precision,
        "device": ", ".join(dict.fromkeys(device.names())),
        "runtime": _runtime(),
    }
    return Contender(known=known, batches={PEAK: 1}, actions={PEAK: product})


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    import jax

    return jax.jit(function)


def _images(count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return float32 `(count, H, W, C)`: noise, as preprocessing would leave it."""
    return np.random.default_rng(0).standard_normal((count, *shape), np.float32)


def _runtime() -> str:
    backend = keras.config.backend()
    return f"{backend} {version(backend)}"
