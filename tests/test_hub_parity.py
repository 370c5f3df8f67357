"""The Hub with timm as the other side: the same repositories, the same logits."""

from __future__ import annotations

import json
import shutil

import keras
import numpy as np
import pytest

import rezoo
from conftest import encoded, fails, picture
from hub_fixtures import PUBLISHED_CONFIG, REPO, TOKEN, catalogue, sha256
from peers import import_timm, logits_of
from rezoo.errors import IntegrityError
from rezoo.sources import catalogue as catalogues

timm = import_timm()
torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

pytestmark = pytest.mark.ci

RELATIVE = 1e-5  # of the largest logit


@pytest.fixture(scope="module")
def twin():
    """timm's resnet50 with random values and statistics that are not trivial."""
    torch.manual_seed(0)
    model = timm.create_model("resnet50")
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


@pytest.fixture(scope="module")
def files(twin):
    config = json.dumps(PUBLISHED_CONFIG, indent=2).encode()
    assert len(config) == 756
    weights = safetensors_torch.save({k: v.contiguous() for k, v in twin.state_dict().items()})
    return {
        ".gitattributes": b"",
        "README.md": b"",
        "config.json": config,
        "model.safetensors": weights,
        "pytorch_model.bin": b"",
    }


def test_three_lines(hub, files, twin, tmp_path, monkeypatch):
    """A repository laid out as the published one, pinned by a catalogue of one's own."""
    commit = hub.add(REPO, files)
    path = catalogue(
        tmp_path,
        files,
        commit=commit,
        arch="resnet50",
        tag="a1_in1k",
        repo=REPO,
        num_classes=1000,
        train_size=224,
        test_size=288,
        test_crop_pct=1.0,
    )
    assert len(files["model.safetensors"]) == catalogues.get("resnet50.a1_in1k").size
    monkeypatch.setenv("REZOO_CATALOGUE", str(path))

    model = rezoo.load("resnet50", pretrained=True, classifier_activation="softmax")
    images = np.random.default_rng(0).standard_normal((2, 288, 288, 3), dtype=np.float32)
    predictions = model.predict(images, verbose=0)

    assert predictions.shape == (2, 1000)
    assert np.allclose(predictions.sum(1), 1, atol=1e-5)
    wanted = logits_of(twin, images)
    got = logits_of(rezoo.load("resnet50", pretrained=True), images)
    assert np.abs(wanted - got).max() <= RELATIVE * np.abs(wanted).max()
    assert len(model.rezoo_config.class_names) == 1000
    assert model.rezoo_config.preprocessing == catalogues.get("resnet50.a1_in1k").preprocessing


def test_built_in_pin_refuses_the_same_bytes(hub, files, call, tmp_path):
    pin = catalogues.default("resnet50")
    assert (pin.name, pin.catalogue) == ("resnet50.a1_in1k", "rezoo")
    hub.move(REPO, pin.commit, hub.add(REPO, files))
    with pytest.raises(IntegrityError) as refused:
        rezoo.load("resnet50", pretrained=True)
    assert sha256(files["model.safetensors"]) in str(refused.value)
    assert pin.sha256 in str(refused.value)
    (tmp_path / "photo.png").write_bytes(encoded(picture(1), "PNG"))
    answer = call("predict", "resnet50", "--pretrained", tmp_path / "photo.png")
    fails(answer, 5, "the catalogue (rezoo) says", pin.sha256)


def test_round_trip_by_way_of_the_hub(hub, finished_run, tmp_path, monkeypatch):
    """Push a run, delete it, load it here and in timm: the same top-1 on every test image."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    run = shutil.copytree(finished_run, tmp_path / "run")
    before = rezoo.load(str(run))
    preprocessing = before.rezoo_config.preprocessing
    batches = rezoo.load_dataset("digits").batches("test", model=before, batch_size=64)
    images = np.concatenate([x for x, _ in batches.as_numpy_iterator()])
    wanted = logits_of(before, images)
    done = rezoo.push(run, "me/digits")
    shutil.rmtree(run)
    keras.utils.clear_session()
    assert np.array_equal(logits_of(rezoo.load(done.reference), images), wanted)
    theirs = timm.create_model(f"hf-hub:me/digits@{done.commit}", pretrained=True).eval()
    got = logits_of(theirs, images)
    assert np.array_equal(got.argmax(1), wanted.argmax(1))
    assert np.abs(got - wanted).max() <= RELATIVE * np.abs(wanted).max()
    config = theirs.pretrained_cfg
    assert tuple(config["mean"]) == preprocessing.mean
    assert (config["crop_pct"], config["interpolation"]) == (
        preprocessing.crop_pct,
        preprocessing.interpolation,
    )


@pytest.mark.parametrize("name", ["test_resnet", pytest.param("resnet18d", marks=pytest.mark.slow)])
def test_repository_that_timm_made(hub, name, tmp_path):
    """`timm.models.save_for_hf` writes what rezoo reads, in its present form too."""
    from timm.models import save_for_hf

    torch.manual_seed(1)
    model = timm.create_model(name, num_classes=5).eval()
    save_for_hf(model, tmp_path / "made", safe_serialization=True)
    made = {p.name: p.read_bytes() for p in (tmp_path / "made").iterdir()}
    commit = hub.add("you/made-by-timm", made)
    images = np.random.default_rng(0).standard_normal((2, 96, 96, 3), dtype=np.float32)
    wanted = logits_of(model, images)
    got = logits_of(rezoo.load(f"hf://you/made-by-timm@{commit}"), images)
    assert np.abs(wanted - got).max() <= RELATIVE * np.abs(wanted).max()


@pytest.mark.parametrize("spec", catalogues.describe(), ids=lambda spec: spec.name)
def test_catalogue_is_what_timm_registers(spec):
    """Sizes, crop, interpolation, mean, std, licence and repository of every entry."""
    cfg = timm.models.get_pretrained_cfg(spec.name)
    pre = spec.preprocessing
    assert spec.repo == f"timm/{spec.name}"
    assert cfg.hf_hub_id == spec.repo
    assert (spec.licence, spec.num_classes) == (cfg.license, cfg.num_classes)
    assert pre.input_size == cfg.input_size
    assert pre.test_input_size == cfg.test_input_size
    assert (pre.crop_pct, pre.test_crop_pct) == (cfg.crop_pct, cfg.test_crop_pct)
    assert pre.interpolation == cfg.interpolation
    assert (pre.mean, pre.std) == (cfg.mean, cfg.std)
