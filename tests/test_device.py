"""What is chosen by the device."""

from __future__ import annotations

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
    # what tensorflow[and-cuda] and jax[cuda12] add
    wanted["cuda"] = ("nvidia-cudnn-cu12", "nvidia-nccl-cu12")
    wanted["jax-cuda"] += ("jax-cuda12-plugin", "nvidia-cudnn-cu12")
    assert wanted == doctor._EXTRAS
