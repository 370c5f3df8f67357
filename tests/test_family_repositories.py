"""A repository of each family, as timm writes it: load, measure, fine-tune, export, push, timm."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rezoo
from conftest import encoded, picture
from hub_fixtures import TOKEN
from peers import ROUNDINGS, import_timm, logits_of, rounding, torch_twin

timm = import_timm()

pytestmark = pytest.mark.slow

FAMILIES = (
    *("resnet18", "resnext50_32x4d", "seresnet18", "ecaresnet26t", "resnetaa34d", "resnetblur18"),
    *("resnetrs50", "resnet50_gn", "resnetv2_18", "resnetv2_50x1_bit", "res2net50_48w_2s"),
    *("resnest14d", "skresnet18", "regnetx_002", "regnety_002", "wide_resnet50_2"),
)
RELATIVE = 1e-5  # of the largest logit
CLASSES = ("ant", "bee", "cat")
SIZE = 64


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of eight training images a class, and two test images."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    for label, name in enumerate(CLASSES):
        for split, count in (("train", 8), ("test", 2)):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                image = picture(100 * label + i + len(split), (80, 72))
                (folder / split / name / f"{i}.png").write_bytes(encoded(image, "PNG"))
    return folder


def difference(one, other, images):
    """Return the largest difference of two networks' logits, relative to the largest."""
    wanted, found = logits_of(one, images), logits_of(other, images)
    assert wanted.shape == found.shape
    return np.abs(wanted - found).max() / np.abs(wanted).max()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_repository_goes_through_every_command(name, hub, photos, tmp_path, monkeypatch):
    from huggingface_hub import constants
    from timm.models import save_for_hf

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    # of timm's download: a busy machine needs more than the default to hash 263 MB
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 300)
    twin = torch_twin(name)
    twin.reset_classifier(len(CLASSES))
    save_for_hf(
        twin,
        tmp_path / "made",
        model_config={"label_names": list(CLASSES), "num_classes": len(CLASSES)},
        safe_serialization=True,
    )
    made = {p.name: p.read_bytes() for p in (tmp_path / "made").iterdir()}
    reference = f"hf://you/{name}@{hub.add(f'you/{name}', made)}"
    images = np.random.default_rng(0).standard_normal((2, 96, 64, 3), dtype=np.float32)
    # BiT's maps of two to three pixels round more than those of test_parity
    allowed = max(RELATIVE, ROUNDINGS * rounding(twin, images))
    assert difference(twin, rezoo.load(reference), images) <= allowed

    data = f"folder:{photos}"
    assert len(rezoo.evaluate(reference, data, image_size=SIZE).predictions.keys) == 6

    changes = {"epochs": 1, "batch_size": 8, "image_size": SIZE, "head_start": "random"}
    run = rezoo.train(reference, data, recipe="finetune", output=tmp_path / "run", **changes)
    assert run.metrics["images"]["train"] // 8 == 2  # steps

    for to in ("onnx", "litert"):
        passport = rezoo.export(run.folder, to, measure=False)
        assert passport.folder.is_dir()

    done = rezoo.push(run.folder, f"me/{name}")
    ours = rezoo.load(run.folder)
    theirs = timm.create_model(f"hf-hub:me/{name}@{done.commit}", pretrained=True).eval()
    assert difference(ours, theirs, images) <= max(RELATIVE, ROUNDINGS * rounding(theirs, images))
    keras.utils.clear_session()
