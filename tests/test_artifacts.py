"""Weights files: written whole, read with checks, refused when damaged."""

from __future__ import annotations

import errno
import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import rezoo
from rezoo import artifacts
from rezoo.configs import config_to_json
from rezoo.errors import (
    IncompatibleError,
    IntegrityError,
    NotFoundError,
    ResourceError,
    RezooError,
    UnsafeFileError,
)
from rezoo.models import tensors
from rezoo.models.factory import create_model
from rezoo.specs import ModelConfig

VALUES = {
    "weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "counter": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float32),
}


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "x.safetensors"
    artifacts.write_tensors(path, VALUES, metadata={"who": "me"})
    return path


@pytest.fixture(scope="module")
def network():
    return create_model("resnet18", num_classes=2)


@pytest.fixture(scope="module")
def saved(network) -> dict[str, np.ndarray]:
    return tensors.to_tensors(network)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a config and no weights yet."""
    config = ModelConfig(architecture="resnet18", num_classes=2)
    artifacts.write_json(tmp_path / "net" / "config.json", config_to_json(config))
    return tmp_path / "net"


def with_header(path: Path, header: bytes, data: bytes = b"", length: int | None = None) -> Path:
    size = len(header) if length is None else length
    path.write_bytes(struct.pack("<Q", size) + header + data)
    return path


# writing


def test_tensors_round_trip(file):
    back, metadata = artifacts.read_tensors_and_metadata(file)
    assert metadata == {"who": "me"}
    assert back.keys() == VALUES.keys()
    for name, value in VALUES.items():
        assert (back[name].shape, back[name].dtype) == (value.shape, value.dtype)
        np.testing.assert_array_equal(back[name], value)


def test_arrays_that_are_not_contiguous(tmp_path):
    base = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    views = {
        "transposed": base.transpose(2, 0, 1),
        "stepped": base[:, ::2],
        "backwards": base[::-1],
        "fortran": np.asfortranarray(base),
        "wide": np.broadcast_to(np.float32(3), (2, 2)),
    }
    artifacts.write_tensors(tmp_path / "x.safetensors", views)
    for name, value in artifacts.read_tensors(tmp_path / "x.safetensors").items():
        np.testing.assert_array_equal(value, views[name], err_msg=name)


def test_model_tensors_are_contiguous(saved):
    assert all(value.flags.c_contiguous for value in saved.values())
    counters = [value for name, value in saved.items() if name.endswith("num_batches_tracked")]
    assert {(value.shape, value.dtype.name) for value in counters} == {((), "int64")}
    assert len(saved) == 122


def test_what_is_read_back_is_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(safetensors.numpy, "load", lambda content: {"weight": np.zeros(3)})
    with pytest.raises(IntegrityError, match="not those written"):
        artifacts.write_tensors(tmp_path / "x.safetensors", VALUES)
    assert list(tmp_path.iterdir()) == []


def test_json_is_finite(tmp_path):
    content = {"a": float("nan"), "b": [np.float32("inf"), (1, np.int64(2))], "é": "ü", 3: None}
    artifacts.write_json(tmp_path / "x.json", content)
    text = (tmp_path / "x.json").read_text("utf-8")
    assert json.loads(text) == {"a": None, "b": [None, [1, 2]], "é": "ü", "3": None}
    assert "é" in text
    assert text.endswith("\n")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_failed_write_leaves_the_old_file(file, monkeypatch, call, code):
    before = file.read_bytes()

    def fail(*args):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "replace") if call == "replace" else (os, "fsync")), fail)
        with pytest.raises(ResourceError, match=r"x\.safetensors"):
            artifacts.write_bytes(file, b"new")
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_interrupted_write_leaves_the_old_file(file, monkeypatch):
    before = file.read_bytes()

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            artifacts.write_bytes(file, b"new")
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_file_is_synced_before_it_is_named(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("sync"), sync(handle)))
    monkeypatch.setattr(Path, "replace", lambda *a: (calls.append("name"), replace(*a)))
    artifacts.write_bytes(tmp_path / "x", b"content")
    assert calls == ["sync", "name", "sync"]


def test_full_disk(full_disk):
    path = full_disk / "x.bin"
    artifacts.write_bytes(path, b"old")
    with pytest.raises(ResourceError, match="no space left while writing") as caught:
        artifacts.write_bytes(path, bytes(2_000_000))
    assert "free some space" in caught.value.hint
    assert path.read_bytes() == b"old"
    assert list(full_disk.iterdir()) == [path]


def test_file_size_limit(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(ResourceError, match="no space left"):
            artifacts.write_bytes(tmp_path / "x", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written(tmp_path, not_root):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(ResourceError, match="cannot write"):
        artifacts.write_bytes(locked / "x", b"")


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "net").write_text("")
    with pytest.raises(ResourceError, match="cannot write"):
        artifacts.write_bytes(tmp_path / "net" / "config.json", b"")


# reading


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 50, 100, -40, -4, -1])
def test_cut_files(file, size):
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(IntegrityError) as caught:
        artifacts.read_tensors(file)
    assert caught.value.hint


def test_trailing_bytes(file):
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(IntegrityError, match="damaged"):
        artifacts.read_tensors(file)


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
                artifacts.read_tensors(file)
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
def test_wrong_headers(tmp_path, header):
    with pytest.raises(IntegrityError):
        artifacts.read_tensors(with_header(tmp_path / "x.safetensors", header))


def test_dtype_that_numpy_has_not(tmp_path):
    header = b'{"a": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}'
    path = with_header(tmp_path / "x.safetensors", header, b"\0\0")
    with pytest.raises(RezooError):
        artifacts.read_tensors(path)


@pytest.mark.parametrize("length", [101 * 1024 * 1024, 2**62, 2**64 - 1])
def test_header_bomb(tmp_path, length):
    path = with_header(tmp_path / "x.safetensors", b"{}", length=length)
    with pytest.raises(UnsafeFileError, match="the header claims"):
        artifacts.read_tensors(path)
    os.truncate(path, 2**31)  # sparse: the file is large enough for what it claims, and more
    with pytest.raises(UnsafeFileError, match="the header claims"):
        artifacts.read_tensors(path)


def test_too_many_tensors(tmp_path):
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"t{i}": entry for i in range(12_000)}, separators=(",", ":")).encode()
    assert len(header) < artifacts.MAX_HEADER_BYTES
    with pytest.raises(UnsafeFileError, match="12000 tensors"):
        artifacts.read_tensors(with_header(tmp_path / "x.safetensors", header))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html><title>404</title>", "is a web page"),
        (b"\n  <HTML>" + b" " * 200, "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git-LFS pointer"),
        (pickle.dumps({"a": 1}), "the header claims"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "the header claims"),
        (b"PK\x03\x04" + bytes(100), "the header claims"),
    ],
)
def test_other_kinds_of_files(tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=message):
        artifacts.read_tensors(path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(NotFoundError, match=r"has no x\.safetensors"):
        artifacts.read_tensors(tmp_path / "x.safetensors")


def test_a_folder_where_a_file_should_be(tmp_path):
    (tmp_path / "x.safetensors").mkdir()
    with pytest.raises(RezooError):
        artifacts.read_tensors(tmp_path / "x.safetensors")


def test_file_that_cannot_be_read(file, not_root):
    file.chmod(0)
    with pytest.raises(NotFoundError, match="cannot read"):
        artifacts.read_tensors(file)


# networks


def test_model_round_trip(network, saved, folder):
    artifacts.write_tensors(folder / "model.safetensors", saved)
    other = rezoo.load(str(folder))
    for name, value in tensors.to_tensors(other).items():
        np.testing.assert_array_equal(value, saved[name], err_msg=name)
    assert other.rezoo_config.num_classes == 2


def test_counters_may_be_absent(network, saved, folder):
    plain = {n: v for n, v in saved.items() if not n.endswith("num_batches_tracked")}
    artifacts.write_tensors(folder / "model.safetensors", plain)
    artifacts.load_weights(network, folder)


def test_all_differences_are_listed(network, saved, folder):
    wrong = dict(saved)
    del wrong["conv1.weight"], wrong["layer4.1.bn2.running_var"]
    wrong["layer9.0.conv1.weight\x1b[31m"] = np.zeros(1, np.float32)
    wrong["fc.weight"] = np.zeros((3, 512), np.float32)
    artifacts.write_tensors(folder / "model.safetensors", wrong)
    before = tensors.to_tensors(network)
    with pytest.raises(IncompatibleError) as caught:
        artifacts.load_weights(network, folder)
    text = str(caught.value)
    assert "2 missing: conv1.weight, layer4.1.bn2.running_var" in text
    assert r"1 unexpected: layer9.0.conv1.weight\x1b[31m" in text
    assert "1 of another shape: fc.weight is (3, 512), not (2, 512)" in text
    assert "nothing was loaded" in caught.value.hint
    for name, value in tensors.to_tensors(network).items():
        np.testing.assert_array_equal(value, before[name])


def test_long_lists_are_shortened(network, folder):
    artifacts.write_tensors(folder / "model.safetensors", {"x": np.zeros(1, np.float32)})
    with pytest.raises(IncompatibleError, match=r"102 missing: .* and 92 more; 1 unexpected: x"):
        artifacts.load_weights(network, folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(network, saved, folder, value):
    wrong = dict(saved)
    wrong["layer1.0.bn1.weight"] = np.full(64, value, np.float32)
    artifacts.write_tensors(folder / "model.safetensors", wrong)
    with pytest.raises(IntegrityError, match=r"1 tensors have NaN .* first layer1\.0\.bn1\.weight"):
        artifacts.load_weights(network, folder)


def test_weights_of_whole_numbers(network, saved, folder):
    wrong = {**saved, "bn1.weight": np.ones(64, np.int32)}
    artifacts.write_tensors(folder / "model.safetensors", wrong)
    with pytest.raises(IncompatibleError, match=r"bn1\.weight has dtype int32, not float"):
        artifacts.load_weights(network, folder)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_of_other_precision(network, saved, folder, dtype):
    other = {n: v.astype(dtype) if v.dtype.kind == "f" else v for n, v in saved.items()}
    artifacts.write_tensors(folder / "model.safetensors", other)
    artifacts.load_weights(network, folder)
    np.testing.assert_allclose(
        tensors.to_tensors(network)["conv1.weight"], saved["conv1.weight"], atol=1e-3
    )
    tensors.assign(network, saved)


def test_new_head_keeps_the_rest(saved, folder):
    artifacts.write_tensors(folder / "model.safetensors", saved)
    back = tensors.to_tensors(rezoo.load(str(folder), num_classes=5))
    assert back["fc.weight"].shape == (5, 512)
    np.testing.assert_array_equal(back["conv1.weight"], saved["conv1.weight"])


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "model.pth", "model.h5", "model.keras", "weights.pkl", "saved_model.pb"],
)
def test_pickles_are_never_opened(folder, tmp_path, name):
    sprung = tmp_path / "sprung"
    (folder / name).write_bytes(pickle.dumps(Trap(str(sprung))))
    with pytest.raises(NotFoundError, match=r"has no model\.safetensors") as caught:
        rezoo.load(str(folder))
    assert "safetensors only" in caught.value.hint
    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap(str(sprung))))
    with pytest.raises(UnsafeFileError):
        rezoo.load(str(folder))
    assert not sprung.exists()
