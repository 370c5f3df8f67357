"""What is chosen by the device."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from rezoo.cli import doctor
from rezoo.utils import device


@pytest.mark.parametrize("wanted", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_precision_that_is_asked_for_is_taken(wanted):
    assert device.precision(wanted) == wanted


@pytest.mark.parametrize(("fast", "expected"), [(False, "float32"), (True, "mixed_bfloat16")])
def test_auto_follows_the_processor(monkeypatch, fast, expected):
    monkeypatch.setattr(device, "on_gpu", lambda: False)
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: fast)
    assert device.precision("auto") == expected


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("6.0", "float32"),  # Pascal has no tensor cores
        ("7.5", "mixed_float16"),
        ("8.0", "mixed_bfloat16"),
        ("12.0", "mixed_bfloat16"),
        ("gfx90a", "float32"),  # AMD
        ("gfx1100", "float32"),
        ("", "float32"),
    ],
)
def test_auto_follows_the_gpu(monkeypatch, stated, expected):
    monkeypatch.setattr(device, "on_gpu", lambda: True)
    monkeypatch.setattr(device, "compute_capability", lambda: device.parse_capability(stated))
    assert device.precision("auto") == expected


@pytest.mark.parametrize(
    ("description", "fast"),
    [
        ("vendor_id : GenuineIntel\nflags : fpu avx512_bf16 amx_bf16", True),
        ("vendor_id : GenuineIntel\nflags : fpu avx512_bf16", False),  # Cooper Lake
        ("vendor_id : AuthenticAMD\nflags : fpu avx512_bf16", True),
        ("vendor_id : AuthenticAMD\nflags : fpu avx2", False),
        ("", False),
    ],
)
def test_bfloat16_where_the_processor_is_fast(description, fast):
    assert device.fast_in_bfloat16(description) is fast


# memory


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Put an `nvidia-smi` on the path that answers like the driver's: `driver(free, apps)`."""

    def answer(free, apps=""):
        tool = tmp_path / "nvidia-smi"
        tool.write_text(
            f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n'
            f'case "$*" in *memory.free*) echo "{free}";; *) printf "{apps}";; esac\n'
        )
        tool.chmod(0o755)
        return tmp_path / "asked"

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return answer


def test_free_memory_of_a_gpu_is_what_others_leave(driver, monkeypatch):
    asked = driver("1000", "1, 70000\\n")
    assert device.free_gpu_bytes(used=0) == 1000 * 2**20
    assert "--id 0 " in asked.read_text()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1234,3")
    device.free_gpu_bytes(used=0)
    assert "--id GPU-1234 " in asked.read_text()


def test_memory_that_the_backend_reserves_and_does_not_use_is_free(driver):
    driver("1000", f"{os.getpid()}, 70000\\n")
    assert device.free_gpu_bytes(used=60_000 * 2**20) == 11_000 * 2**20
    assert device.free_gpu_bytes(used=80_000 * 2**20) == 1000 * 2**20


def test_free_memory_that_the_driver_does_not_report(driver, monkeypatch):
    driver("[N/A]")
    assert device.free_gpu_bytes(used=0) is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert device.free_gpu_bytes(used=0) is None


def test_free_memory_of_a_cpu_is_that_of_the_host(monkeypatch):
    monkeypatch.setattr(device, "on_gpu", lambda: False)
    monkeypatch.setattr(device, "free_host_bytes", lambda: 123)
    assert device.free_bytes() == 123


def test_doctor_has_the_extras_of_the_package():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    wanted = {
        name: tuple(re.match(r"[\w-]+", package).group() for package in packages)
        for name, packages in extras.items()
        if name not in ("docs", "test")
    }
    wanted["cuda"] = ("nvidia-cudnn-cu12",)  # what tensorflow[and-cuda] adds
    assert wanted == doctor._EXTRAS
