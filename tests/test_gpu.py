"""What differs on a GPU, with the device's part played on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import rezoo
from rezoo.artifacts.weights import save_model
from rezoo.cli import doctor
from rezoo.data import batches
from rezoo.errors import DeviceWarning, IncompatibleError, IntegrityError, SpecError
from rezoo.evaluation import evaluate as evaluation
from rezoo.evaluation.forward import compiled_forward
from rezoo.evaluation.reference_batch import drawn_pictures, write_reference
from rezoo.models import cpu_kernels, settings
from rezoo.models.factory import create_model
from rezoo.models.norms import freeze_statistics
from rezoo.recipes.recipe import Recipe
from rezoo.sources.references import resolve
from rezoo.specs import ModelConfig, Preprocessing
from rezoo.training import estimate, step, to_device
from rezoo.training.trial import dry_run
from rezoo.utils import device, nvidia
from rezoo.utils.gpu_faults import gpu_faults
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

ONE = "0, GPU-aaaa-1, NVIDIA H200, 1000"
TWO = f"{ONE}\\n1, GPU-bbbb-2, NVIDIA H200, 2000"
MIXED = f"{ONE}\\n1, GPU-bbbb-2, NVIDIA T4, 2000"


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Put an `nvidia-smi` on the path that answers like the driver's: `driver(gpus, apps)`."""

    def answer(gpus, apps=""):
        tool = tmp_path / "nvidia-smi"
        tool.write_text(
            f'#!/bin/sh\ncase "$*" in *memory.free*) printf "{gpus}";; *) printf "{apps}";; esac\n'
        )
        tool.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    return answer


def computes_in_tensor_float_32():
    """Return whether a GPU would compute products of float32 in TensorFloat-32 now."""
    if keras.config.backend() == "jax":
        import jax

        return jax.config.jax_default_matmul_precision != "highest"
    return tf.config.experimental.tensor_float_32_execution_enabled()


@pytest.mark.backend
def test_a_reference_batch_is_recorded_in_full_precision(tmp_path):
    preprocessing = Preprocessing(input_size=(3, 8, 8))
    config = ModelConfig(architecture=NETWORK, num_classes=3, preprocessing=preprocessing)
    (tmp_path / "network").mkdir()
    save_model(create_model(NETWORK, num_classes=3), config, tmp_path / "network")
    source = resolve(tmp_path / "network")
    found = []

    def forward(inputs):
        found.append(computes_in_tensor_float_32())
        return np.zeros((len(inputs), source.config.num_classes), np.float32)

    pictures = drawn_pictures(source.config.preprocessing.for_test())
    assert computes_in_tensor_float_32()
    write_reference(tmp_path, source, pictures, "drawn pictures", forward=forward)
    assert found == [False]
    assert computes_in_tensor_float_32()


# the choice of a device


@pytest.fixture
def before_imports(monkeypatch):
    """Let the backend seem not imported yet, with its libraries for a GPU installed."""
    monkeypatch.setattr(settings, "sys", SimpleNamespace(modules={}))
    monkeypatch.setattr(settings, "missing_library", lambda backend: "")
    monkeypatch.setenv("JAX_PLATFORMS", "")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")


@pytest.mark.parametrize(
    ("visible", "name", "left"),
    [
        (None, "cpu", "-1"),
        (None, "gpu", None),
        (None, "gpu:1", "GPU-bbbb-2"),
        ("1", "gpu:0", "GPU-bbbb-2"),
    ],
)
def test_one_device_is_left_to_the_backend(
    driver, before_imports, monkeypatch, visible, name, left
):
    driver(TWO)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    settings.choose_device(name)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == left
    assert os.environ["JAX_PLATFORMS"] == ("cpu" if name == "cpu" else "")


def test_a_gpu_that_cannot_be_used_is_refused(driver, before_imports, monkeypatch):
    driver(ONE)
    with pytest.raises(IncompatibleError, match="there is no such GPU") as caught:
        settings.choose_device("gpu:1")
    assert caught.value.hint == "here: gpu:0 NVIDIA H200."
    monkeypatch.setattr(settings, "missing_library", lambda backend: "pip install it")
    with pytest.raises(IncompatibleError, match="tensorflow cannot use a GPU") as caught:
        settings.choose_device("gpu")
    assert caught.value.hint == "pip install it."
    driver("")
    with pytest.raises(IncompatibleError, match="there is no GPU here"):
        settings.choose_device("gpu")


def test_a_device_is_chosen_before_the_backend_is_imported():
    with pytest.raises(SpecError, match="is imported already"):
        settings.choose_device("cpu")


# errors

NO_ALGORITHM = tf.errors.NotFoundError(None, None, "No algorithm worked!")


def fails_on_the_device(*args):
    raise NO_ALGORITHM


def test_an_error_of_a_network_is_not_one_of_an_image(trained, monkeypatch):
    monkeypatch.setattr(evaluation, "ScoredForward", lambda *args: fails_on_the_device)
    with pytest.raises(tf.errors.NotFoundError, match="No algorithm"):
        evaluation.evaluate(trained)


def test_an_error_of_a_step_is_not_one_of_an_image(monkeypatch, tmp_path):
    monkeypatch.setattr(step, "_compile", lambda *args: fails_on_the_device)
    with pytest.raises(tf.errors.NotFoundError, match="No algorithm"):
        rezoo.train(NETWORK, "digits", epochs=1, image_size=8, output=tmp_path / "run", verbose=0)


def test_a_batch_that_cannot_be_read_is_named():
    class Readable:
        """Every example of it can be read, one by one."""

        reasons: dict[int, str] = {}  # noqa: RUF012
        what = "tfds:flowers (val)"

        def find(self, indices, channels):
            return False

    def damaged(position, without):
        raise tf.errors.DataLossError(None, None, "{{node Next}} corrupted record at 12")
        yield

    stream = batches._skipping(damaged, lambda position, without: [], Readable(), 3)
    with pytest.raises(IntegrityError, match=r"tfds:flowers \(val\) could not be read: corrupted"):
        next(stream)


# GPUs that are not used


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Add installed packages: `installed(name)`."""
    folder = tmp_path / "site"
    monkeypatch.syspath_prepend(folder)

    def add(*names):
        for name in names:
            info = folder / f"{name.replace('-', '_')}-9.30.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Name: {name}\nVersion: 9.30\n")

    return add


NVIDIA = {"tensorflow": "nvidia-cudnn-cu12", "jax": "jax-cuda12-plugin"}


@pytest.mark.backend
def test_a_gpu_that_the_backend_does_not_find_is_named(driver, installed, monkeypatch):
    backend = keras.config.backend()
    assert gpu_faults() == []
    driver(TWO)
    (text,) = gpu_faults()
    extra = "cuda" if backend == "tensorflow" else "jax-cuda"
    assert text.startswith("the driver lists NVIDIA H200, NVIDIA H200, and ")
    assert f"pip install 'rezoo[{extra}]' adds {NVIDIA[backend]}" in text
    installed(NVIDIA[backend])
    (text,) = gpu_faults()
    assert "reason" in text
    assert "pip" not in text
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpu_faults() == []


def test_training_evaluation_and_prediction_warn_of_it(driver, trained, tmp_path):
    driver(ONE)
    with pytest.raises(DeviceWarning, match="computes on the CPU"):
        rezoo.train(NETWORK, "digits", epochs=1, image_size=8, output=tmp_path / "run", verbose=0)
    with pytest.raises(DeviceWarning, match="computes on the CPU"):
        rezoo.evaluate(trained)
    with pytest.raises(DeviceWarning, match="computes on the CPU"):
        rezoo.predict(trained, np.zeros((8, 8), np.uint8))


def test_doctor_lists_gpus_and_their_faults(driver, call):
    driver(MIXED)
    found = json.loads(call("doctor", "--json").out)
    assert found["gpus"] == ["0: NVIDIA H200, 1.0 GB free", "1: NVIDIA T4, 2.1 GB free"]
    (text,) = found["gpu_faults"]
    assert "NVIDIA H200, NVIDIA T4" in text


def test_doctor_names_what_devices_all_uses(driver, installed, call, monkeypatch):
    """It asks the driver and not JAX, which would take the memory of the GPUs."""

    def found():
        return json.loads(call("doctor", "--json").out)["devices_all"]

    monkeypatch.setattr(doctor, "_hub", lambda: "")
    pytest.importorskip("jax")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    assert found().endswith("on the CPU: there is no GPU")
    driver(MIXED)
    assert found().endswith("pip install 'rezoo[jax-cuda]' adds jax-cuda12-plugin")
    installed("jax-cuda12-plugin")
    all_commands = "train, eval and predict compute with JAX on "
    assert found() == f"{all_commands}2 GPUs: NVIDIA H200, NVIDIA T4"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert found() == f"{all_commands}1 GPU: NVIDIA T4"
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert found().endswith("on the CPU: JAX_PLATFORMS is cpu")
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert found() == "not available without JAX: pip install 'rezoo[jax-cuda]'"


@pytest.mark.backend
def test_doctor_counts_the_devices_of_jax_as_the_backend(driver):
    if keras.config.backend() != "jax":
        pytest.skip("of JAX")
    import jax

    driver(TWO)  # it does not decide
    names = [str(found.device_kind) for found in jax.devices()]
    count = "1 device" if len(names) == 1 else f"{len(names)} devices"
    assert doctor._all_devices().endswith(f"with JAX on {count}: {', '.join(names)}")


@pytest.mark.backend
@pytest.mark.parametrize(("capability", "known"), [((9, 0), True), ((12, 0), False), (None, True)])
def test_a_gpu_that_libraries_are_not_built_for(monkeypatch, capability, known):
    monkeypatch.setattr(device, "on_gpu", lambda: True)
    monkeypatch.setattr(device, "compute_capability", lambda: capability)
    faults = gpu_faults()
    assert len(faults) == (not known)
    for text in faults:
        assert "compute capability 12.0" in text
        assert ("KERAS_BACKEND=jax" in text) == (keras.config.backend() == "tensorflow")


def test_libraries_of_two_versions_of_cuda(installed):
    installed("nvidia-cudnn-cu12")
    assert gpu_faults() == []
    installed("nvidia-cudnn-cu13")
    assert "CUDA 12 and 13" in gpu_faults()[0]


# the same bits

FLAG = "--xla_gpu_deterministic_ops=true"


@pytest.fixture
def backend_named(monkeypatch):
    """Let Keras have, or get, a backend: `backend_named(name)`."""
    return lambda name: monkeypatch.setattr(settings, "_backend", lambda: name)


def test_tensorflow_computes_deterministically_on_a_gpu_alone(monkeypatch, backend_named):
    backend_named("tensorflow")
    asked = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: asked.append(True))
    settings.compute_deterministically()
    assert asked == []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["first"])
    settings.compute_deterministically()
    assert asked == [True]


def test_jax_gets_the_flag_before_it_is_imported(monkeypatch, backend_named):
    backend_named("jax")
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/tmp/x")
    monkeypatch.setitem(sys.modules, "jax", tf)  # any module
    with pytest.raises(SpecError, match="JAX is imported already") as error:
        settings.compute_deterministically()
    assert FLAG in error.value.hint
    monkeypatch.delitem(sys.modules, "jax")
    settings.compute_deterministically()
    assert os.environ["XLA_FLAGS"] == f"--xla_dump_to=/tmp/x {FLAG}"
    monkeypatch.setitem(sys.modules, "jax", tf)
    settings.compute_deterministically()  # it has the flag


@pytest.mark.slow
def test_a_run_with_all_that_is_random_goes_on_deterministically(tmp_path):
    """TensorFlow then refuses kernels that are not deterministic, and unseeded numbers."""
    code = """if True:
        import sys, rezoo
        import tensorflow as tf
        tf.config.experimental.enable_op_determinism()
        rezoo.train(
            "test_resnet", "digits", epochs=1, image_size=16, batch_size=256, batch_norm="frozen",
            mixup_alpha=0.2, cutmix_alpha=1.0, random_erase=0.2, ema_decay=0.9,
            stochastic_depth=0.1, precision="mixed_float16", output=sys.argv[1],
            deterministic=True, verbose=0,
        )
    """
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_frozen_statistics_have_no_fused_gradient_on_a_gpu(monkeypatch):
    """Its kernel is not deterministic, so TensorFlow refuses it."""
    model = create_model(NETWORK, num_classes=2, input_shape=(8, 8, 1))
    images = np.random.default_rng(0).standard_normal((2, 8, 8, 1), np.float32)

    def outputs():
        function = tf.function(lambda x: model(x, training=True))
        kinds = {op.type for op in function.get_concrete_function(images).graph.get_operations()}
        return "FusedBatchNormV3" in kinds, function(images).numpy()

    assert outputs()[0]
    freeze_statistics(model)
    fused, wanted = outputs()
    assert fused
    monkeypatch.setattr(cpu_kernels, "on_cpu", lambda: False)
    fused, found = outputs()
    assert not fused
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


# TensorFlow's share


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs of TensorFlow's; returns what is set on them: GPU → memory growth, visible ones."""
    found = {"first": None, "second": None, "visible": ["first", "second"]}
    config = tf.config
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: ["first", "second"])
    monkeypatch.setattr(config, "get_logical_device_configuration", lambda gpu: None)
    monkeypatch.setattr(config.experimental, "get_memory_growth", found.get)
    monkeypatch.setattr(config.experimental, "set_memory_growth", found.__setitem__)
    monkeypatch.setattr(
        config, "set_visible_devices", lambda devices, kind: found.update(visible=devices)
    )
    for name in ("CUDA_CACHE_MAXSIZE", "TF_GPU_THREAD_MODE"):
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.mark.backend
def test_tensorflow_takes_no_more_of_a_gpu_than_it_needs(gpus):
    create_model(NETWORK, num_classes=2, input_shape=(8, 8, 1))
    if keras.config.backend() == "jax":
        assert gpus == {"first": None, "second": None, "visible": []}
    else:
        assert gpus == {"first": True, "second": True, "visible": ["first", "second"]}
    assert int(os.environ["CUDA_CACHE_MAXSIZE"]) > 2**31
    assert os.environ["TF_GPU_THREAD_MODE"] == "gpu_private"


def test_memory_growth_that_the_user_sets_stays(gpus):
    gpus["second"] = False
    settings.share_gpus()
    assert (gpus["first"], gpus["second"]) == (None, False)


def test_devices_that_are_in_use_stay(gpus, monkeypatch):
    def refuse(gpu, grows):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", refuse)
    settings.share_gpus()
    assert gpus["first"] is None


# the update


def lamb_steps(parts=2):
    """Return the figures of steps, the fourth of which is infinite, and the state after them."""
    model = create_model(NETWORK, num_classes=3, input_shape=(8, 8, 1))
    for number, variable in enumerate(model.trainable_variables):
        values = np.random.default_rng(number).normal(0, 0.3, variable.shape)
        variable.assign(values.astype(np.float32))
    recipe = Recipe(
        name="t", batch_size=8, learning_rate=0.05, schedule="constant", epochs=9, warmup_steps=1,
        optimizer="lamb", accumulation=parts, precision="mixed_float16", ema_decay=0.9,
        ema_every=2, clip_norm=0.5,
    )  # fmt: skip

    def loss_and_hits(logits, labels):
        right = keras.ops.one_hot(labels, 3)
        return -1e3 * keras.ops.mean(right * keras.ops.tanh(logits)), keras.ops.sum(labels)

    run = step.training_step(model, recipe, steps_per_epoch=10, objective=loss_and_hits)
    images = np.random.default_rng(1).normal(0, 1, (8, 8, 8, 1)).astype(np.float32)
    batch = list(zip(np.split(images, parts), np.split(np.arange(8) % 3, parts), strict=True))
    scale, found = run.update.scale.factor, []
    for number in range(6):
        before = float(np.asarray(scale))
        scale.assign(2.0**127 if number == 3 else before)
        found.append(run(batch).read())
        scale.assign(before)
    return np.asarray(found), {k: np.array(keras.ops.convert_to_numpy(v)) for k, v in run.state()}


@pytest.mark.ci
def test_an_update_that_is_compiled_for_a_gpu_is_that_of_a_cpu(tiny_network, monkeypatch):  # noqa: F811
    """It has no branch either, for which a GPU would wait for the host."""
    kinds = []
    wanted, state = lamb_steps()
    monkeypatch.setattr(device, "on_gpu", lambda: True)
    function = tf.function
    monkeypatch.setattr(
        tf, "function", lambda *args, **keys: kinds.append(keys) or function(*args, **keys)
    )
    monkeypatch.setattr(tf, "cond", None)
    figures, found = lamb_steps()
    assert not np.isfinite(figures[3, 2])
    assert [keys.get("jit_compile") for keys in kinds].count(True) == 1
    np.testing.assert_allclose(figures, wanted, rtol=1e-4)
    for name, values in state.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.backend
def test_a_smaller_last_batch_is_not_compiled_anew():
    traced = []

    class Watched(keras.layers.Layer):
        """Lists the batch sizes that it is traced for."""

        def call(self, inputs):
            traced.append(inputs.shape[0])
            return inputs

    pixels = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(Watched()(pixels))
    model = keras.Model(pixels, keras.layers.Dense(3)(flat))
    forward, before = compiled_forward(model), len(traced)
    images = np.random.default_rng(0).normal(0, 1, (7, 8, 8, 1)).astype(np.float32)
    outputs = [forward(images[:4]), forward(images[4:])]
    assert len(traced) - before == (keras.config.backend() == "jax")
    assert [len(x) for x in outputs] == [4, 3]
    wanted = keras.ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(np.concatenate(outputs), wanted, rtol=1e-5, atol=1e-6)
    assert forward(images).shape == (7, 3)


@pytest.mark.backend
def test_what_jax_compiles_is_kept_for_a_gpu_alone(driver, tmp_path, monkeypatch):
    if keras.config.backend() != "jax":
        pytest.skip("JAX alone has such a cache")
    import jax

    monkeypatch.setenv("REZOO_CACHE", str(tmp_path / "cache"))
    info = tmp_path / "jax_cuda12_plugin-9.30.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: jax-cuda12-plugin\nVersion: 9.30\n")
    before = jax.config.jax_compilation_cache_dir

    def kept():
        settings.share_gpus()
        return jax.config.jax_compilation_cache_dir

    try:
        jax.config.update("jax_compilation_cache_dir", None)
        driver(ONE)
        assert kept() is None  # this JAX computes on the CPU
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
        assert kept() is None
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        assert kept() == str(tmp_path / "cache" / "jax")
        monkeypatch.setenv("REZOO_CACHE", str(tmp_path / "other"))
        assert kept() == str(tmp_path / "cache" / "jax")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


# batches on their way to the device


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_batches_are_copied_ahead_and_errors_keep_their_place(count):
    pytest.importorskip("jax")
    read, seen, ahead = [], [], []

    def source():
        for number in range(count):
            read.append(number)
            yield np.full((2, 3), number, np.float32), np.arange(2)
        raise tf.errors.DataLossError(None, None, "damaged")

    def take():
        for images, _ in to_device.on_device(source()):
            seen.append(int(images[0, 0]))
            ahead.append(len(read) - len(seen))

    with pytest.raises(tf.errors.DataLossError):
        take()
    assert seen == list(range(count))
    assert max(ahead, default=0) == min(to_device.AHEAD, max(count - 1, 0))


def test_batches_end_on_the_device_as_in_the_pipeline():
    pytest.importorskip("jax")
    batches = [np.full(2, number) for number in range(5)]
    assert [int(x[0]) for x in to_device.on_device(batches)] == [0, 1, 2, 3, 4]


@pytest.mark.backend
def test_a_pipeline_gets_its_prefetch_to_the_device_on_a_gpu_alone(monkeypatch):
    pipeline = tf.data.Dataset.range(4).batch(2)
    before = to_device.as_backend(pipeline)
    if keras.config.backend() == "tensorflow":
        assert before is pipeline
        copied, place = [], tf.data.experimental.prefetch_to_device
        monkeypatch.setattr(
            tf.data.experimental,
            "prefetch_to_device",
            lambda name, size: copied.append(name) or place("/cpu:0", size),
        )
    monkeypatch.setattr(device, "on_gpu", lambda: True)
    found = to_device.as_backend(pipeline)
    assert [np.asarray(x).tolist() for x in found] == [[0, 1], [2, 3]]
    if keras.config.backend() == "tensorflow":
        assert copied == ["/gpu:0"]
    else:
        assert [np.asarray(x).tolist() for x in before] == [[0, 1], [2, 3]]


# memory


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        (None, [0, 1]),
        ("1", [1]),
        ("1,0", [1, 0]),
        ("GPU-bbbb", [1]),
        ("", []),
        ("-1", []),
        ("0,7,1", [0]),  # CUDA ignores all behind an unknown one
        ("MIG-1", []),
    ],
)
def test_gpus_that_this_process_may_use(driver, monkeypatch, visible, found):
    driver(TWO)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.number for gpu in nvidia.visible_gpus()] == found


@pytest.mark.parametrize(
    ("gpus", "environment", "name", "free"),
    [
        (ONE, {}, "NVIDIA H200", 1000),
        (ONE, {}, "as nobody else calls it", 1000),
        (TWO, {}, "NVIDIA H200", 1000),
        (TWO, {"CUDA_VISIBLE_DEVICES": "1"}, "NVIDIA H200", 2000),
        (MIXED, {"CUDA_VISIBLE_DEVICES": "GPU-bbbb"}, "NVIDIA T4", 2000),
        # CUDA numbers the fastest first, the driver by the bus
        (MIXED, {"CUDA_VISIBLE_DEVICES": "0"}, "NVIDIA T4", 2000),
        (MIXED, {}, "NVIDIA T4", 2000),
        (MIXED, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, "NVIDIA H200", 1000),
    ],
)
def test_free_memory_is_that_of_the_gpu_that_computes(
    driver, monkeypatch, gpus, environment, name, free
):
    driver(gpus, "GPU-aaaa-1, 1, 70000\\n")
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert device.free_gpu_bytes(name, used=0) == free * 2**20


def test_memory_that_the_backend_reserves_and_does_not_use_is_free(driver):
    driver(ONE, f"GPU-aaaa-1, {os.getpid()}, 70000\\nGPU-bbbb-2, {os.getpid()}, 5\\n")
    assert device.free_gpu_bytes("NVIDIA H200", used=60_000 * 2**20) == 11_000 * 2**20
    assert device.free_gpu_bytes("NVIDIA H200", used=80_000 * 2**20) == 1000 * 2**20


def test_free_memory_that_the_driver_does_not_report(driver, monkeypatch):
    driver("0, GPU-aaaa-1, NVIDIA GB10, [N/A]")
    assert device.free_gpu_bytes("NVIDIA GB10", used=0) is None
    driver("NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.")
    assert device.free_gpu_bytes("NVIDIA GB10", used=0) is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert device.free_gpu_bytes("NVIDIA GB10", used=0) is None


@pytest.mark.ci
def test_a_prediction_for_a_gpu_has_the_memory_of_the_gpu_alone(monkeypatch, tmp_path):
    gpu = SimpleNamespace(
        on_gpu=lambda: True,
        used_bytes=lambda: 123_000,
        free_bytes=lambda: 456_000,
        peak_bytes=lambda: 789_000,
        free_disk_bytes=device.free_disk_bytes,
    )
    monkeypatch.setattr(estimate, "device", gpu)
    changes = {"image_size": 8, "batch_size": 1024, "epochs": 1}
    _, found = dry_run(NETWORK, "digits", changes=changes, output=tmp_path / "run")
    memory = found.to_dict()["memory"]
    assert memory["data"] == 0
    assert memory["predicted_peak_bytes"] == found.memory.total + 123_000
    assert memory["free_bytes"] == 456_000
