"""Safetensors files: written whole, read with checks of our own, refused when damaged."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from rezoo.artifacts import safetensors as tensor_files
from rezoo.artifacts.safetensors import read_tensors, write_tensors
from rezoo.errors import (
    IncompatibleError,
    IntegrityError,
    NotFoundError,
    RezooError,
    UnsafeFileError,
)
from rezoo.utils.files import FileRecord, record

VALUES = {
    "weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "counter": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float32),
}


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "x.safetensors"
    write_tensors(path, VALUES, metadata={"who": "me"})
    return path


@pytest.mark.parametrize("length", [640, 896, 1152, 1408, 65536 + 640])
def test_lengths_that_begin_as_pickles_do(tmp_path, length):
    path = tmp_path / "x.safetensors"
    write_tensors(path, VALUES, metadata={"filler": ""})
    short = int.from_bytes(path.read_bytes()[:8], "little")
    write_tensors(path, VALUES, metadata={"filler": "x" * (length - short)})
    assert path.read_bytes()[:8] == struct.pack("<Q", length)
    assert read_tensors(path)[0].keys() == VALUES.keys()


def with_header(path: Path, header: bytes, data: bytes = b"", length: int | None = None) -> Path:
    size = len(header) if length is None else length
    path.write_bytes(struct.pack("<Q", size) + header + data)
    return path


def test_tensors_round_trip(file):
    back, metadata = read_tensors(file)
    assert metadata == {"who": "me"}
    assert back.keys() == VALUES.keys()
    for name, value in VALUES.items():
        assert (back[name].shape, back[name].dtype) == (value.shape, value.dtype)
        np.testing.assert_array_equal(back[name], value)


def test_w13_arrays_that_are_not_contiguous(tmp_path):
    base = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    views = {
        "transposed": base.transpose(2, 0, 1),
        "stepped": base[:, ::2],
        "backwards": base[::-1],
        "fortran": np.asfortranarray(base),
        "wide": np.broadcast_to(np.float32(3), (2, 2)),
    }
    write_tensors(tmp_path / "x.safetensors", views)
    for name, value in read_tensors(tmp_path / "x.safetensors")[0].items():
        np.testing.assert_array_equal(value, views[name], err_msg=name)


def test_w13_what_is_read_back_is_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(safetensors.numpy, "load", lambda content: {"weight": np.zeros(3)})
    with pytest.raises(IntegrityError, match="not those written"):
        write_tensors(tmp_path / "x.safetensors", VALUES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 50, 100, -40, -4, -1])
def test_w1_cut_files(file, size):
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(IntegrityError) as caught:
        read_tensors(file)
    assert caught.value.hint


def test_w7_trailing_bytes(file):
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(IntegrityError, match="damaged"):
        read_tensors(file)


def test_every_flipped_header_byte_is_survived(file):
    """A damaged header is an error of ours or another valid header, never a crash."""
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    refused = 0
    for place in range(8 + length):
        for mask in (0x01, 0x80):
            damaged = bytearray(content)
            damaged[place] ^= mask
            file.write_bytes(damaged)
            try:
                read_tensors(file)
            except IntegrityError:
                refused += 1
    assert refused > length


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"1",
        b"null",
        b"[]",
        b'"x"',
        b'{"a": 1}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [4611686018427387904], "data_offsets": [0, 0]}}',
        b'{"a": {"dtype": "F99", "shape": [], "data_offsets": [0, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}, "a": 1}',
        b'{"__metadata__": {"a": 1}}',
        b"[" * 100_000,
        b'{"n": ' + b"1" * 5000 + b"}",
        b"\xff\xfe",
    ],
    ids=lambda header: repr(header[:40]),
)
def test_w7_wrong_headers(tmp_path, header):
    with pytest.raises(IntegrityError):
        read_tensors(with_header(tmp_path / "x.safetensors", header))


def test_w12_dtype_that_no_network_has(tmp_path):
    header = b'{"a": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}'
    path = with_header(tmp_path / "x.safetensors", header, b"\0\0")
    with pytest.raises(IncompatibleError, match="F8_E4M3"):
        read_tensors(path)


@pytest.mark.parametrize("length", [101 * 1024 * 1024, 2**62, 2**64 - 1])
def test_w6_header_bomb(tmp_path, length):
    path = with_header(tmp_path / "x.safetensors", b"{}", length=length)
    with pytest.raises(UnsafeFileError, match="the header claims"):
        read_tensors(path)
    os.truncate(path, 2**31)  # sparse: the file is large enough for what it claims, and more
    with pytest.raises(UnsafeFileError, match="the header claims"):
        read_tensors(path)


def test_w6_too_many_tensors(tmp_path):
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"t{i}": entry for i in range(12_000)}, separators=(",", ":")).encode()
    assert len(header) < tensor_files.MAX_HEADER_BYTES
    with pytest.raises(UnsafeFileError, match="12000 tensors"):
        read_tensors(with_header(tmp_path / "x.safetensors", header))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html><title>404</title>", "is a web page"),
        (b"\n  <HTML>" + b" " * 200, "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git-LFS pointer"),
        *((pickle.dumps({"a": 1}, version), "is a pickle") for version in range(2, 6)),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file"),
        (b"PK\x03\x04" + bytes(100), "is a zip archive"),
    ],
)
def test_w5_w14_w16_w17_other_kinds_of_files(tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=message):
        read_tensors(path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(NotFoundError, match=r"cannot read .*x\.safetensors: No such file"):
        read_tensors(tmp_path / "x.safetensors")


def test_a_folder_where_a_file_should_be(tmp_path):
    (tmp_path / "x.safetensors").mkdir()
    with pytest.raises(RezooError):
        read_tensors(tmp_path / "x.safetensors")


def test_file_that_cannot_be_read(file, not_root):
    file.chmod(0)
    with pytest.raises(NotFoundError, match="cannot read"):
        read_tensors(file)


# what the bytes should be

ENTRY = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
OVERLAP = b'{"a":%s,"b":%s}' % (ENTRY, ENTRY)


def test_w1_cut_file_names_both_sizes(file):
    expected = record(file, source="the catalogue")
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(IntegrityError, match=f"has {size - 8} bytes; the catalogue says {size}"):
        read_tensors(file, expected)


def test_w2_one_flipped_bit(file):
    expected = record(file)
    content = bytearray(file.read_bytes())
    content[-3] ^= 0x10
    file.write_bytes(content)
    read_tensors(file)  # the control: the format itself does not notice
    with pytest.raises(IntegrityError, match="its SHA-256 is"):
        read_tensors(file, expected)


def test_w3_hash_is_compared_before_the_header_is_parsed(tmp_path, monkeypatch):
    """Bytes that are not the expected ones are not given to any parser."""
    path = with_header(tmp_path / "x.safetensors", b'{"a": 1}')

    def parse(*args, **options):
        raise AssertionError("parsed")

    monkeypatch.setattr(json, "loads", parse)
    with pytest.raises(IntegrityError, match="its SHA-256 is"):
        read_tensors(path, FileRecord("0" * 64, path.stat().st_size))


def test_w12_bfloat16_is_read(tmp_path):
    values = np.array([1.5, -2.25, 0.0], ml_dtypes.bfloat16)
    header = b'{"a":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]}}'
    back, _ = read_tensors(with_header(tmp_path / "x.safetensors", header, values.tobytes()))
    np.testing.assert_array_equal(back["a"].astype(np.float32), [1.5, -2.25, 0.0])


@pytest.mark.parametrize(
    "header",
    [
        OVERLAP,
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}',
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}',
        b'{"a":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}}',
    ],
)
def test_w7_layouts_that_do_not_fill_the_data(tmp_path, header):
    with pytest.raises(IntegrityError, match="damaged"):
        read_tensors(with_header(tmp_path / "x.safetensors", header, bytes(8)))


def test_reader_agrees_with_safetensors(tmp_path):
    """Whatever safetensors refuses is refused; what both read is equal. Seeded damage."""
    random = np.random.default_rng(0)
    good = safetensors.numpy.save(VALUES, {"who": "me"})
    (length,) = struct.unpack("<Q", good[:8])
    path = tmp_path / "x.safetensors"
    both = 0
    for _ in range(600):
        damaged = bytearray(good)
        for _ in range(random.integers(1, 3)):
            damaged[random.integers(0, 8 + length)] = random.integers(32, 127)
        try:
            theirs = safetensors.numpy.load(bytes(damaged))
        except Exception:
            theirs = None
        path.write_bytes(damaged)
        try:
            ours, _ = read_tensors(path)
        except (IntegrityError, IncompatibleError):
            continue
        assert theirs is not None, bytes(damaged[8 : 8 + length])
        both += 1
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert value.tobytes() == theirs[name].tobytes()
    assert both > 10
