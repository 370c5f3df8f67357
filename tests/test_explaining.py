"""Recipes told in words, and their list."""

from __future__ import annotations

import json

import pytest

from conftest import fails
from rezoo import recipes
from rezoo.recipes.describe import explain, explain_claim
from rezoo.recipes.recipe import Recipe


@pytest.mark.parametrize("name", recipes.list_recipes())
def test_every_recipe_can_be_told(name):
    values, claim = recipes.read_with_claim(name)
    recipe = Recipe.from_dict(values, origin=name)
    rows = dict([*explain(recipe), *explain_claim(claim, recipe.source)])
    assert {"training images", "length", "optimizer", "learning rate", "source"} <= rows.keys()
    assert all(text and "None" not in text for text in rows.values())


def test_words_of_tv_v2():
    rows = dict(explain(Recipe.from_dict(recipes.read_recipe("tv_v2"), origin="tv_v2")))
    assert "resized to 176 × 176 pixels" in rows["training images"]
    assert (
        "mixup (alpha 0.2) in half of the batches, by CutMix (alpha 1)" in rows["training images"]
    )
    assert "each image four times in a batch" in rows["training images"]
    assert "resized to 232 pixels (bilinear), 224 × 224 cut out" in rows["test images"]
    assert rows["length"] == "600 epochs, 1024 images a step"
    assert rows["learning rate"].startswith("in a line from 0 to 0.5 over 5 epochs, then down to 0")
    assert "updated every 32 steps" in rows["averaging"]
    assert "transfer" not in rows


@pytest.mark.parametrize(
    ("keys", "heading", "text"),
    [
        ({"schedule": "constant"}, "learning rate", "0.1, then the same to the end"),
        ({"schedule": "step", "step_at": (0.5,)}, "learning rate", "a tenth of it after 50 %"),
        ({"schedule": "poly"}, "learning rate", "to the power of 2"),
        (
            {"warmup_steps": 5, "warmup_epochs": 1.0},
            "learning rate",
            "1 epochs or 5 steps, the lon",
        ),
        ({"optimizer": "lars"}, "optimizer", "momentum 0.9 and trust coefficient 0.001"),
        ({"clip_norm": 1.0}, "optimizer", "gradients of a norm above 1"),
        (
            {"loss": "binary_cross_entropy", "bce_threshold": 0.2},
            "objective",
            "above 0.2 count as 1",
        ),
        ({"class_weights": "balanced"}, "objective", "each class counts as much"),
        ({"head_start": "probe"}, "transfer", "logistic regression"),
        ({"backbone_lr_scale": 0.0}, "transfer", "only the head learns"),
        ({"backbone_lr_scale": 0.1}, "transfer", "all but the head learn at 0.1"),
        ({"batch_norm": "frozen"}, "transfer", "statistics stay"),
        ({"decoupled_weight_decay": True}, "regularization", "a step at the peak of the rate"),
        ({"stochastic_depth": 0.1}, "regularization", "with probability 0.1"),
        ({"accumulation": 4}, "length", "64 images at a time"),
        ({"early_stopping_epochs": 3}, "length", "after 3 epochs without a better one"),
        ({"steps": 10}, "length", "10 steps of 256 images"),
        ({"cutmix_alpha": 1.0}, "training images", "mixed by CutMix (alpha 1)"),
        ({"image_size": 64}, "test images", "64 × 64 pixels, cut as weights or dataset say"),
        (
            {"image_size": 96, "start_size": 32, "grow_epochs": (1.0, 4.0)},
            "training images",
            "32 × 32 at first, from epoch 1 to 4 growing to 96 × 96",
        ),
    ],
)
def test_words(keys, heading, text):
    assert text in dict(explain(Recipe(name="r", **keys)))[heading]


def test_info_of_a_recipe(call):
    answer = call("info", "ffcv_16")
    assert answer.rc == 0
    for text in (
        "160 × 160 at first, from epoch 11 to 13 growing to 192 × 192 pixels",
        "top-1 of resnet50 73.8 %, ± 0.2, on imagenet2012",
        "not by rezoo yet",
        "no BlurPool",
        "libffcv/ffcv-imagenet",
    ):
        assert text in " ".join(answer.out.split())
    document = json.loads(call("info", "ffcv_16", "--json").out)
    assert (document["epochs"], document["claim"]["top1"]) == (16, {"resnet50": 0.738})
    assert json.loads(call("info", "quick", "--json").out)["claim"] is None


def test_info_of_a_file(call, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('summary = "short"\nepochs = 3\n')
    answer = call("info", path)
    assert answer.rc == 0
    for text in ("mine: short", "3 epochs", "makes no claim"):
        assert text in answer.out
    path.write_text('[claim]\ndataset = "d"\ncosts = ""\n')
    fails(call("info", path), 2, "unknown key 'costs' in [claim]")
    fails(call("info", tmp_path / "other.toml"), 3, "cannot read the recipe")


def test_list_of_recipes(call):
    answer = call("list", "--recipes")
    for text in ("top-1", "76.1 %", "78.4 %", "16-18 A100-hours", "500 steps"):
        assert text in answer.out
    rows = {
        row["name"]: row for row in json.loads(call("list", "--recipes", "--json").out)["recipes"]
    }
    assert rows["nv_90"]["expected"] == {"resnet50": 0.7701}
    assert (rows["bit_hyperrule"]["epochs"], rows["bit_hyperrule"]["steps"]) == (None, 500)
    assert rows["quick"]["expected"] == {}
