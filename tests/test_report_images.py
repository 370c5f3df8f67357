"""The images of a report, from a run on a folder of photographs."""

from __future__ import annotations

import shutil

import pytest

import rezoo
from conftest import encoded, picture
from rezoo.data.datasets import load_dataset
from rezoo.evaluation.predictions import Predictions
from rezoo.evaluation.report.gallery import gallery_of
from rezoo.sources.references import resolve_weights
from rezoo.utils.pages import for_others
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

pytestmark = pytest.mark.ci


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for place, name in enumerate(("cat's eye", "dog & fox")):
        (root / name).mkdir()
        for i in range(40):
            content = encoded(picture(100 * place + i))
            (root / name / f"a photo {i}.jpg").write_bytes(content)
    return root


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    changes = {"epochs": 1, "image_size": 16, "batch_size": 16}
    folder = tmp_path_factory.mktemp("runs") / "photos"
    return rezoo.train(NETWORK, f"folder:{photos}", changes=changes, output=folder).folder


def test_each_image_has_its_map(run):
    page = (run / "report.html").read_text("utf-8")
    found = Predictions.read(run / "predictions-val.npz")
    assert all(key.endswith(".jpg") for key in found.keys)
    unsure = min(24, len(found))
    assert page.count('alt="activation map of ') == unsure + (~found.right).sum()
    assert page.count("data:image/jpeg") == 2 * page.count('alt="activation map of ')
    assert b"data:image" not in for_others(page.encode())


def test_an_image_that_can_no_longer_be_read_is_left_out(run, photos, tmp_path):
    copy = shutil.copytree(photos, tmp_path / "photos")
    found = Predictions.read(run / "predictions-val.npz")
    gone, damaged = found.keys[:2]
    data = load_dataset(f"folder:{copy}")
    (copy / damaged).write_bytes(b"\xff\xd8 no image")
    (copy / gone).unlink()
    source = resolve_weights(run)
    shown = gallery_of(found, data.examples("val"), source, rezoo.load(run))
    rows = {answer.row for answer, _ in shown.least_certain}
    assert len(rows) >= min(24, len(found)) - 2
    assert not {0, 1} & rows
    assert all(shot.photo.startswith("data:image/jpeg") for _, shot in shown.least_certain)


def test_recording_writes_the_report_anew(run, call, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    answer = call("eval", copy, "--record")
    assert answer.rc == 0, answer
    page = (copy / "report.html").read_text("utf-8")
    assert "</b> top-1 on test" in page
    assert f"{tmp_path}" in page
    assert "rezoo eval . --split test" in page
    assert call("verify", copy).rc == 0
    assert call("eval", copy).rc == 0
    assert page == (copy / "report.html").read_text("utf-8")
