"""Datasets of the Hub where something is missing, forbidden, damaged or in the way."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image

import dataset_stand_in as stand_in
from conftest import encoded, fails, picture
from dataset_stand_in import REPO, parquet, rows, table
from hub_fixtures import TOKEN
from hub_stand_in import Fault
from rezoo.data.hf import open_hf
from rezoo.errors import (
    AccessError,
    IncompatibleError,
    IntegrityError,
    MissingExtraError,
    NetworkError,
    NotFoundError,
    ResourceError,
)

datasets = pytest.importorskip(
    "datasets", reason="the datasets library is not installed: pip install 'rezoo[hf]'"
)


@pytest.fixture(autouse=True)
def here(hub, monkeypatch, tmp_path):
    stand_in.serve_datasets(monkeypatch, hub, tmp_path / "data")


@pytest.fixture
def shapes(hub) -> str:
    return stand_in.add_shapes(hub)


def test_refusals(hub, shapes, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(NotFoundError, match="no such repository"):
        open_hf("team/shape")
    with pytest.raises(NotFoundError, match="no such revision"):
        open_hf(f"{REPO}@v2")
    hub.add("team/secret", {"data/x.parquet": b"x"}, private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(AccessError, match="401"):
        open_hf("team/secret")
    hub.faults = [Fault.gated(match="/resolve/")]
    with pytest.raises(AccessError, match="gated") as caught:
        open_hf(REPO)
    assert f"{hub.url}/datasets/{REPO}," in caught.value.hint


@pytest.mark.parametrize("where", ["/api/datasets", "/resolve/", "parquet"])
def test_a_hub_that_hangs(hub, shapes, monkeypatch, where):
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.3)
    hub.faults = [Fault("hang", match=where)]
    start = time.monotonic()
    with pytest.raises(NetworkError, match="was not reached for hf://datasets/team/shapes@"):
        open_hf(REPO)
    assert time.monotonic() - start < 10


def test_no_data(hub):
    hub.add("team/empty", {"README.md": b"Soon."})
    with pytest.raises(NotFoundError, match="team/empty"):
        open_hf("team/empty")


def test_damaged_data(hub):
    whole = parquet(rows(30))
    hub.add(REPO, {"data/train-00000-of-00001.parquet": whole[: len(whole) // 2]})
    with pytest.raises(IntegrityError, match="is damaged"):
        open_hf(REPO)


def test_programs_are_not_run(hub, tmp_path):
    mark = tmp_path / "ran"
    hub.add(REPO, {"shapes.py": f"open({str(mark)!r}, 'w')".encode()})
    with pytest.raises(IncompatibleError, match="has a loading script"):
        open_hf(REPO)
    assert not mark.exists()


def test_files_elsewhere_are_not_read(hub, tmp_path):
    """A table may name files instead of holding them; those of others are not its own."""
    (tmp_path / "mine.jpg").write_bytes(encoded(picture(1)))
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}
    for path in (str(tmp_path / "mine.jpg"), "/dev/zero"):
        images = [{"bytes": None, "path": path}] * 4
        hub.add(
            REPO,
            {
                "data/test-00000-of-00001.parquet": table(
                    {"image": images, "label": [0, 1] * 2}, kinds
                )
            },
        )
        part = open_hf(REPO)["test"]
        with pytest.raises(IntegrityError, match="outside of its own folders"):
            part.source.read(0)


def test_no_room(hub, shapes, full_disk, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(full_disk))
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    content = [(encoded(Image.fromarray(noise), "PNG"), 0)]
    hub.add(REPO, {"data/train-00000-of-00001.parquet": parquet(content)})
    with pytest.raises(ResourceError):
        open_hf(REPO)


def test_without_the_library(hub, shapes, monkeypatch, call):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError) as caught:
        open_hf(REPO)
    assert caught.value.hint == 'pip install "rezoo[hf]"'
    answer = call("train", "test_resnet", "--dataset", f"hf:{REPO}")
    fails(answer, 6, 'pip install "rezoo[hf]"')
