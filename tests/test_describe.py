"""Recipes as text, and their list."""

from __future__ import annotations

import dataclasses
import json

import pytest

from conftest import fails
from rezoo import recipes
from rezoo.recipes.describe import explain, explain_claim, meanings
from rezoo.recipes.recipe import Recipe


@pytest.mark.parametrize("name", recipes.list_recipes())
def test_every_recipe_can_be_described(name):
    values, claim = recipes.read_with_claim(name)
    recipe = Recipe.from_dict(values, origin=name)
    rows = dict([*explain(recipe), *explain_claim(claim, recipe.source)])
    length = "epochs" if recipe.steps is None else "steps"
    rate = {"optimizer", "learning_rate"}  # a probe has none
    assert {length, "batch_size", "source", *(rate if recipe.epochs else ())} <= rows.keys()
    if not recipe.epochs:
        assert not rate & rows.keys()
    assert all(text and "None" not in text for text in rows.values())


def test_every_key_has_a_meaning():
    assert set(meanings()) == {field.name for field in dataclasses.fields(Recipe)}


def test_keys_that_differ_from_the_defaults_are_described():
    rows = dict(explain(Recipe.from_dict(recipes.read_recipe("tv_v2"), origin="tv_v2")))
    assert rows["train_size"].startswith("176: side of training images")
    assert rows["mixup_alpha"].startswith("0.2: ")
    assert rows["repeated_augmentation"].startswith("4: ")
    assert rows["epochs"].startswith("600: ")
    assert rows["ema_every"].startswith("32: ")
    assert not {"flip", "schedule", "head_start", "seed", "name", "summary"} & rows.keys()


@pytest.mark.parametrize(
    ("keys", "key", "text"),
    [
        ({}, "learning_rate", "0.1: "),
        ({"schedule": "step", "step_at": (0.5,)}, "step_at", "[0.5]: "),
        ({"image_size": 96, "start_size": 32, "grow_epochs": (1.0, 4.0)}, "grow_epochs", "[1, 4]"),
        ({"backbone_lr_scale": 0.0}, "backbone_lr_scale", "0: "),
        ({"nesterov": True}, "nesterov", "true: "),
        ({"steps": 10}, "steps", "10: "),
    ],
)
def test_values_are_shown_as_in_a_recipe_file(keys, key, text):
    rows = dict(explain(Recipe(name="r", **keys)))
    assert rows[key].startswith(text)
    assert ("epochs" in rows) != ("steps" in keys)


def test_info_of_a_recipe(call):
    answer = call("info", "ffcv_16")
    assert answer.rc == 0
    for text in (
        "start_size 160: side of training images in the first epochs",
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
    for text in ("mine: short", "3: passes over", "makes no claim"):
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
