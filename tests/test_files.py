"""Files that are written whole or not at all, and what their bytes should be."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from rezoo.errors import IntegrityError, ResourceError, SpecError
from rezoo.utils.files import FileRecord, canonical_digest, record, write_bytes, write_json


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "x.safetensors"
    write_bytes(path, b"old content")
    return path


def test_json_is_finite(tmp_path):
    content = {"a": float("nan"), "b": [np.float32("inf"), (1, np.int64(2))], "é": "ü", 3: None}
    write_json(tmp_path / "x.json", content)
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
            write_bytes(file, b"new")
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_interrupted_write_leaves_the_old_file(file, monkeypatch):
    before = file.read_bytes()

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_bytes(file, b"new")
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_no_other_file_is_written_or_removed_on_the_way(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"mine")
    planted = tmp_path / f".x.{os.getpid()}.tmp"
    planted.symlink_to(secret)
    write_bytes(tmp_path / "x", b"content")
    assert secret.read_bytes() == b"mine"
    assert planted.is_symlink()
    assert (tmp_path / "x").read_bytes() == b"content"


def test_file_is_synced_before_it_is_named(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("sync"), sync(handle)))
    monkeypatch.setattr(Path, "replace", lambda *a: (calls.append("name"), replace(*a)))
    write_bytes(tmp_path / "x", b"content")
    assert calls == ["sync", "name", "sync"]


def test_full_disk(full_disk):
    path = full_disk / "x.bin"
    write_bytes(path, b"old")
    with pytest.raises(ResourceError, match="no space left while writing") as caught:
        write_bytes(path, bytes(2_000_000))
    assert "free some space" in caught.value.hint
    assert path.read_bytes() == b"old"
    assert list(full_disk.iterdir()) == [path]


def test_file_size_limit(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(ResourceError, match="no space left"):
            write_bytes(tmp_path / "x", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written(tmp_path, not_root):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(ResourceError, match="cannot write"):
        write_bytes(locked / "x", b"")


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "net").write_text("")
    with pytest.raises(ResourceError, match="cannot write"):
        write_bytes(tmp_path / "net" / "config.json", b"")


def test_record_of_a_file(file):
    found = record(file, source="the test")
    assert found.sha256 == hashlib.sha256(b"old content").hexdigest()
    assert found.size == 11
    found.check("x", size=11, sha256=found.sha256)
    with pytest.raises(IntegrityError, match=r"x has 12 bytes; the test says 11"):
        found.check("x", size=12)
    with pytest.raises(IntegrityError, match=f"its SHA-256 is {'0' * 64}; the test says"):
        found.check("x", size=11, sha256="0" * 64)


@pytest.mark.parametrize("digest", ["", "0" * 63, "G" * 64, "A" * 64, 1])
def test_records_are_checked(digest):
    with pytest.raises(SpecError, match="64 hexadecimal"):
        FileRecord(digest)


def test_canonical_digest_ignores_order():
    assert canonical_digest({"a": 1, "b": [1, 2]}) == canonical_digest({"b": [1, 2], "a": 1})
    assert canonical_digest({"a": 1}) != canonical_digest({"a": 1.5})
