"""What is chosen by the device."""

from __future__ import annotations

import pytest

from rezoo.utils import device


@pytest.mark.parametrize("wanted", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_precision_that_is_asked_for_is_taken(wanted):
    assert device.precision(wanted) == wanted


@pytest.mark.parametrize(
    ("capability", "bfloat16", "expected"),
    [
        (None, False, "float32"),
        (None, True, "mixed_bfloat16"),
        ((7, 5), False, "mixed_float16"),
        ((8, 0), False, "mixed_bfloat16"),
        ((9, 0), True, "mixed_bfloat16"),
    ],
)
def test_auto_follows_the_device(monkeypatch, capability, bfloat16, expected):
    monkeypatch.setattr(device, "compute_capability", lambda: capability)
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: bfloat16)
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
