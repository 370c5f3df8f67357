"""Out of memory: the errors of the libraries themselves, and a process that C++ would abort."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf

import rezoo
from conftest import fails
from rezoo.errors import IntegrityError, ResourceError
from rezoo.models import layers
from rezoo.specs import ModelSpec
from rezoo.utils.memory import is_out_of_memory, memory_errors
from tiny import tiny_network  # noqa: F401 - a fixture


def of_jax():
    jax = pytest.importorskip("jax")
    jax.block_until_ready(jax.numpy.zeros((1 << 21, 1 << 21), device=jax.devices("cpu")[0]))


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: np.empty((1 << 30, 1 << 20)),
        lambda: bytearray(1 << 60),
        # TensorFlow waits 10 s for other threads to give memory back
        pytest.param(lambda: tf.zeros((1 << 21, 1 << 21)) + 1, marks=pytest.mark.slow),
        of_jax,
    ],
)
def test_errors_of_libraries_are_recognised(allocate):
    with pytest.raises(ResourceError) as caught, memory_errors("a batch of 9", hint="take 8."):
        allocate()
    assert caught.value.exit_code == 9
    assert caught.value.message == "out of memory: a batch of 9"
    assert caught.value.hint == "take 8."
    assert is_out_of_memory(caught.value.__cause__)


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (RuntimeError("Exception from src/inference: std::bad_alloc"), True),
        (tf.errors.InternalError(None, None, "CUDA_ERROR_OUT_OF_MEMORY: out of memory"), True),
        (tf.errors.ResourceExhaustedError(None, None, "/tmp/x; No space left on device"), False),
        (tf.errors.ResourceExhaustedError(None, None, "/tmp/x; Too many open files"), False),
        (OSError(12, "Cannot allocate memory"), True),
        (OSError(28, "No space left on device"), False),
        (ValueError("std::bad_alloc"), False),
    ],
)
def test_what_is_out_of_memory(error, is_it):
    assert is_out_of_memory(error) is is_it


def test_other_errors_pass():
    with pytest.raises(IntegrityError), memory_errors("x", hint="y"):
        raise IntegrityError("damaged")
    with pytest.raises(ResourceError, match=r"^no space$"), memory_errors("x", hint="y"):
        raise ResourceError("no space")


THROW = """
import ctypes, sys, threading
from rezoo.utils.memory import memory_errors
throw = getattr(ctypes.CDLL("libstdc++.so.6"), sys.argv[1])
with memory_errors("a batch of 9", hint="take 8."):
    thread = threading.Thread(target=throw)
    thread.start()
    thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the standard library of C++ on Linux")
@pytest.mark.parametrize(
    ("name", "rc", "text"),
    [
        ("_ZSt17__throw_bad_allocv", 9, "Error: out of memory: a batch of 9\nHint: take 8.\n"),
        ("_ZSt21__throw_bad_exceptionv", -6, "terminate called after throwing"),
    ],
)
def test_bad_alloc_of_a_thread_ends_with_the_message(name, rc, text):
    command = [sys.executable, "-c", THROW, name]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (answer.returncode, answer.stdout) == (rc, ""), answer
    assert text in answer.stderr


def hungry(*, name, input_shape, num_classes, classifier_activation, times):
    """Build a network whose step with 64 images of 8 pixels needs 33 kB, `times` squared."""
    pixels = keras.Input(input_shape)
    x = layers.conv(pixels, 8, 3, stride=2, name="conv1")
    x = keras.layers.UpSampling2D(times, name="large")(x)
    outputs = layers.classifier(x, num_classes, activation=classifier_activation)
    return keras.Model(pixels, outputs, name=name)


@pytest.fixture
def large(monkeypatch):
    """Return a function that registers the network and returns its name."""

    def register(times):
        spec = ModelSpec(name="hungry", build=partial(hungry, times=times), summary="")
        find = rezoo.registry.architectures.get
        monkeypatch.setattr(
            rezoo.registry.architectures, "get", lambda n: spec if n == spec.name else find(n)
        )
        return spec.name

    return register


@pytest.fixture
def one_gigabyte():
    """Limit the addresses of this process, as `ulimit -v` does, to one gigabyte more."""
    resource = pytest.importorskip("resource", reason="of POSIX")
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Linux counts every address")
def test_a_limited_process_names_the_batch(call, large, tmp_path, request):
    name = large(1 << 9)  # 8.6 GB
    request.getfixturevalue("one_gigabyte")
    options = ("--image-size", 8, "--batch-size", 64, "--output", tmp_path / "run")
    answer = call("train", name, *options)
    fails(answer, 9, "out of memory: training with batch size 64, images of 8×8", "--batch-size")


@pytest.mark.ci
def test_a_step_that_needs_too_much_names_the_batch(call, large, tmp_path):
    options = ("--image-size", 8, "--batch-size", 64, "--set", "accumulation=2")
    answer = call("train", large(1 << 14), *options, "--output", tmp_path / "run")
    fails(
        answer, 9, "out of memory: training with batch size 64 in 2 micro-batches of 32, images of "
        "8×8", "--batch-size", "accumulation=N", "--image-size",
    )  # fmt: skip
