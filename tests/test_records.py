from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from rezoo.data import records
from rezoo.errors import IntegrityError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REZOO_CACHE", str(tmp_path / "cache"))


def write_records(path: Path, values: list[bytes]) -> Path:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for value in values:
            writer.write(value)
    return path


@pytest.fixture
def shards(tmp_path) -> list[Path]:
    values = [[b"a" * 10, b"", b"c" * 1000], [b"d"]]
    return [write_records(tmp_path / f"{i}.tfrecord", part) for i, part in enumerate(values)]


def test_records_by_index(shards):
    found = records.open_records(shards, counts=[3, 1])
    assert [found.read(i) for i in (3, 0, 2, 1)] == [b"d", b"a" * 10, b"c" * 1000, b""]


def test_record_table_is_read_once(shards, tmp_path, monkeypatch):
    records.open_records(shards)
    assert len(list((tmp_path / "cache" / "records").glob("*"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr(records, "_scan", None)
        assert records.open_records(shards).read(3) == b"d"
    write_records(shards[1], [b"longer than before", b"e"])
    assert records.open_records(shards).read(4) == b"e"


@pytest.mark.parametrize("content", [b"", b"no numpy file", b"\x93NUMPY\x01\x00"])
def test_damaged_table_is_read_again(shards, tmp_path, content):
    records.open_records(shards)
    [cached] = (tmp_path / "cache" / "records").glob("*")
    cached.write_bytes(content)
    assert records.open_records(shards).read(3) == b"d"


def test_cache_that_cannot_be_written(shards, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert records.open_records(shards).read(3) == b"d"


def test_damaged_records(shards):
    with pytest.raises(IntegrityError, match=r"0\.tfrecord has 3 records instead of 4"):
        records.open_records(shards, counts=[4, 1])
    data = bytearray(shards[0].read_bytes())
    data[100] ^= 1
    shards[0].write_bytes(data)
    found = records.open_records(shards)
    assert found.read(0) == b"a" * 10
    with pytest.raises(IntegrityError, match=r"record 2 of .*0\.tfrecord"):
        found.read(2)
    shards[0].write_bytes(data[:-1])
    with pytest.raises(IntegrityError, match=r"0\.tfrecord is damaged at byte 42"):
        records.open_records(shards)
    shards[0].unlink()
    with pytest.raises(IntegrityError, match=r"cannot read .*0\.tfrecord"):
        records.open_records(shards)
