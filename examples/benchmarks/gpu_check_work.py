"""The checks of `gpu_check.py`: each prints rows of a table. Usage: CHECK [--tiny]."""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

TINY = "--tiny" in sys.argv
MODEL, SIZE, BATCH = ("resnet18", 32, 8) if TINY else ("resnet50", 224, 256)
STEPS = 4 if TINY else 20
PRECISION = "float32" if TINY else "mixed_bfloat16"


def row(what: str, value: object) -> None:
    """Print a measured value."""
    print(f"| {what} | {value} |", flush=True)


def images(count: int = BATCH, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 `(B, H, W, 3)` and int32 `(B,)`, random."""
    rng = np.random.default_rng(0)
    pixels = rng.standard_normal((count, size, size, 3), np.float32)
    return pixels, rng.integers(0, 1000, count).astype(np.int32)


def build(
    model: str = MODEL,
    size: int = SIZE,
    batch: int = BATCH,
    *,
    whole_levels: bool = False,
    **keys: Any,
) -> Any:
    """Return a network's training step; its weights are the same in every process.

    With `whole_levels` it takes uint8 images and normalizes them, as in `rezoo train`.
    """
    import keras

    from rezoo.models.factory import create_model
    from rezoo.recipes.recipe import Recipe
    from rezoo.specs import Preprocessing
    from rezoo.training.step import training_step

    shared = {"learning_rate": 0.001, "schedule": "constant", "epochs": 9, "warmup_epochs": 0}
    recipe = Recipe(name="check", batch_size=batch, **{"precision": PRECISION, **shared, **keys})
    keras.utils.set_random_seed(0)
    network = create_model(
        model, num_classes=1000, input_shape=(size, size, 3), precision=recipe.precision
    )
    preprocessing = Preprocessing(input_size=(3, size, size)) if whole_levels else None
    return training_step(network, recipe, steps_per_epoch=1000, preprocessing=preprocessing)


def ms(run: Callable[[], Any], count: int = STEPS) -> float:
    """Return the milliseconds of each of `count` steps, done by one call."""
    began = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - began) / count


def unread(step: Any, batch: Any, count: int = STEPS) -> None:
    """Do steps, and read the last one's figures."""
    for _ in range(count):
        outcome = step(batch)
    outcome.read()


def on_gpu() -> bool:
    """Return whether there is a GPU."""
    from rezoo.utils import device

    return device.on_gpu()


class _Refused:
    """A finder that finds no TensorFlow."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise the error of a missing package."""
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError("TensorFlow is refused here", name=name)


def without_tensorflow() -> None:
    """The step needs no TensorFlow."""
    sys.meta_path.insert(0, _Refused())
    step = build("resnet18", 32, 4)
    row("loss of a step without TensorFlow", f"{step([images(4, 32)]).read().loss:.3f}")


def device() -> None:
    """What the backend reports of the device."""
    import jax
    import keras

    from rezoo.utils import device as ours

    row("JAX, Keras", f"{jax.__version__}, {keras.__version__}")
    row("device", ", ".join(ours.names()))
    row("compute capability", ours.compute_capability())
    row("precision auto", ours.precision())
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    row("free bytes, and JAX's limit", f"{ours.free_bytes()}, {limit}")
    try:
        import tensorflow as tf
    except ImportError:
        row("GPUs of TensorFlow under JAX", "skipped: TensorFlow is not installed")
        return
    from rezoo.data import images as _reads_with_tensorflow  # noqa: F401

    row("GPUs of TensorFlow under JAX", len(tf.config.list_logical_devices("GPU")))


def host() -> None:
    """The host's part: starting steps, reading figures, input on its way to the device."""
    import jax

    from rezoo.training.to_device import on_device

    step, pair = build(), images()
    batch = [tuple(map(jax.device_put, pair))]
    unread(step, batch, 3)
    began = time.perf_counter()
    started = []
    for _ in range(STEPS):
        outcome = step(batch)
        started.append(time.perf_counter())
    gaps = np.diff([began, *started])
    outcome.read()
    row("a step, figures unread, ms", f"{1000 * (time.perf_counter() - began) / STEPS:.2f}")
    row("of it, the fastest start by the host, ms", f"{1000 * gaps.min():.2f}")
    for every, behind in ((1, 0), (3, 0), (3, 2)):

        def read(every: int = every, behind: int = behind) -> None:
            waiting: deque[Any] = deque(maxlen=behind + 1)
            for number in range(STEPS):
                waiting.append(step(batch))
                if number % every == every - 1:
                    waiting[0].read()
            waiting[-1].read()

        what = f"figures of {behind} steps before read every {every} steps"
        row(f"a step, {what}, ms", f"{ms(read):.2f}")
    levels = np.clip(pair[0] * 60 + 120, 0, 255).astype(np.uint8)
    steps = {np.dtype("float32"): step, np.dtype("uint8"): build(whole_levels=True)}
    ways: dict[str, tuple[np.ndarray, bool]] = {
        "float32": (pair[0], False),
        "float32, copied ahead": (pair[0], True),
        "uint8, normalized in the step": (levels, False),
        "uint8, normalized in the step, copied ahead": (levels, True),
    }
    for name, (pixels, ahead) in ways.items():

        def stream(pixels: np.ndarray = pixels, *, ahead: bool = ahead) -> None:
            batches: Iterator[Any] = ((pixels.copy(), pair[1]) for _ in range(STEPS))
            for x, y in on_device(batches) if ahead else batches:
                outcome = steps[np.dtype(x.dtype)]([(x, y)])
            outcome.read()

        stream()
        row(f"a step with input as {name}, ms", f"{ms(stream):.2f}")


def parallel() -> None:
    """`DataParallel` on one device against a plain step, in interleaved rounds."""
    import jax
    import keras

    pair = images()
    steps = {"plain": build()}
    first = [str(d) for d in keras.distribution.list_devices()][:1]
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=first, auto_shard_dataset=False)
    )
    steps["DataParallel"] = build()
    batch = [tuple(map(jax.device_put, pair))]
    for step in steps.values():
        unread(step, batch, 3)
    ratios = []
    for _ in range(7):
        taken = {n: ms(lambda s=s: unread(s, batch)) for n, s in steps.items()}
        ratios.append(taken["plain"] / taken["DataParallel"])
    row("speed with DataParallel on one device, plain is 1", f"{statistics.median(ratios):.3f}")


def first_step() -> None:
    """Print the seconds of the first step, and its hash and speed after some."""
    model, size, count = ("resnet18", 32, 8 if TINY else 128)
    step, batch = build(model, size, count), [images(count, size)]
    began = time.perf_counter()
    step(batch).read()
    first_s = time.perf_counter() - began
    taken = ms(lambda: unread(step, batch, STEPS - 1), STEPS - 1)
    digest = hashlib.sha256()
    for _, variable in step.state():
        digest.update(np.asarray(variable.value).tobytes())
    print(first_s, taken, digest.hexdigest()[:12])


def again(**environment: str) -> tuple[float, float, str]:
    """Return what `first_step` prints in a process of its own."""
    command = [sys.executable, __file__, "first-step", *(["--tiny"] if TINY else [])]
    done = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True
    )
    first_s, taken, digest = done.stdout.split()[-3:]
    return float(first_s), float(taken), digest


def compilation() -> None:
    """The first step without and with JAX's cache, and a smaller last batch of evaluation."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cold", "from JAX's cache"):
            first_s, *_ = again(JAX_COMPILATION_CACHE_DIR=folder)
            row(f"first step of ResNet-18, {name}, s", f"{first_s:.1f}")
    from rezoo.evaluation.forward import compiled_forward

    forward = compiled_forward(build().model)
    for name, count in (("first", BATCH), ("second", BATCH), ("smaller last", BATCH // 2 + 1)):
        pixels, _ = images(count)
        row(f"{name} batch of evaluation, s", f"{ms(lambda p=pixels: forward(p), 1) / 1000:.2f}")


def bits() -> None:
    """Two processes with the same seed, under flags of XLA."""
    for flag in (
        "",
        "--xla_gpu_deterministic_ops=true",
        "--xla_gpu_exclude_nondeterministic_ops=true",
    ):
        found = [again(XLA_FLAGS=flag) for _ in range(2)]
        same = "the same bits" if found[0][2] == found[1][2] else "other bits"
        speed = f"{min(f[1] for f in found):.2f} ms a step, first {found[0][0]:.0f} s"
        row(f"two processes, {flag or 'no flag'}", f"{same}; {speed}")


def memory() -> None:
    """Predicted and measured peaks; the batches grow, as a peak never falls."""
    from rezoo.models.profile import profile
    from rezoo.recipes.recipe import Recipe
    from rezoo.training.step_memory import predict_memory
    from rezoo.utils import device as ours

    for count in (2, 4) if TINY else (64, 128, 256):
        step = build(batch=count)
        before = max(ours.used_bytes() or 0, 4 * step.model.count_params())
        recipe = Recipe(
            name="check", batch_size=count, learning_rate=0.1, epochs=1, precision=PRECISION
        )
        costs = profile(step.model, input_shape=(SIZE, SIZE, 3))
        predicted = predict_memory(costs, recipe, gpu=on_gpu()).total + before
        unread(step, [images(count)], 2)
        row(f"peak of batch {count}, predicted and measured, bytes",
            f"{predicted:,}, {ours.peak_bytes() or 0:,}")  # fmt: skip


def faults() -> None:
    """TensorFloat-32 in logits, and exhausted memory."""
    from rezoo.evaluation.forward import compiled_forward
    from rezoo.evaluation.reference_batch import full_precision
    from rezoo.utils.memory import is_out_of_memory

    model = build(batch=8, precision="float32").model
    pixels, _ = images(8)
    found = compiled_forward(model)(pixels)
    with full_precision():
        exact = compiled_forward(model)(pixels)
    row("largest difference of logits in full precision", f"{np.abs(found - exact).max():.2e}")
    if not on_gpu():
        row("exhausted memory", "skipped: there is no GPU, and the host's memory is not filled")
        return
    import jax

    try:
        jax.block_until_ready([jax.numpy.ones((2**33,), "float32") for _ in range(64)])
    except Exception as error:  # which, is the question
        known = "known" if is_out_of_memory(error) else "NOT KNOWN"
        row("exhausted memory", f"{type(error).__name__}, {known}: {str(error)[:120]!r}")


def update() -> None:
    """What follows the gradients: accumulation, average, LAMB, float16."""
    import jax

    batch = [tuple(map(jax.device_put, images()))]
    quarter = [tuple(map(jax.device_put, images(BATCH // 4)))] * 4
    for name, keys in {
        "plain": {},
        "accumulation 4": {"accumulation": 4},
        "average": {"ema_decay": 0.999},
        "average, each 32nd step": {"ema_decay": 0.999, "ema_every": 32},
        "LAMB": {"optimizer": "lamb"},
    }.items():
        step, own = build(**keys), quarter if "accumulation" in keys else batch
        unread(step, own, 2)
        row(f"a step, {name}, ms", f"{ms(lambda s=step, b=own: unread(s, b)):.2f}")
    step = build(precision="mixed_float16")
    row("a step in float16, loss scale", step(batch).read().loss_scale)
    row("a step in float16, ms", f"{ms(lambda: unread(step, batch)):.2f}")
    step.update.scale.factor.assign(2.0**127)
    figures = step(batch).read()
    row("a step that is left out: norm, loss scale", figures[2:])


def tensorflow() -> None:
    """TensorFlow's step: as it is, and compiled by XLA as a whole."""
    if not on_gpu() and not TINY:
        row("TensorFlow's step", "skipped: TensorFlow finds no GPU")
        return
    import tensorflow as tf

    from rezoo.training import step_tensorflow

    batch = [tuple(map(tf.convert_to_tensor, images()))]
    for whole in (False, True):
        step_tensorflow.STEP_WITH_XLA = whole
        step = build()
        unread(step, batch, 2)
        name = "compiled by XLA" if whole else "as it is"
        row(f"TensorFlow's step, {name}, ms", f"{ms(lambda s=step: unread(s, batch)):.2f}")


WORK = {
    "without-tensorflow": without_tensorflow,
    "device": device,
    "host": host,
    "parallel": parallel,
    "compile": compilation,
    "first-step": first_step,
    "bits": bits,
    "memory": memory,
    "faults": faults,
    "update": update,
    "tensorflow": tensorflow,
}

if __name__ == "__main__":
    WORK[sys.argv[1]]()
