"""Layers that a recipe does not train: they keep every bit, and so do their statistics."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from conftest import fails
from rezoo.artifacts.safetensors import read_tensors
from rezoo.errors import SpecError
from rezoo.models.factory import create_model
from rezoo.recipes.recipe import Recipe
from rezoo.training.freezing import frozen_layers
from rezoo.training.step import training_step
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

RECIPE = Recipe(name="t", epochs=1, batch_size=8, learning_rate=0.1)


def frozen(model, *names):
    return frozen_layers(model, dataclasses.replace(RECIPE, freeze=names))


@pytest.fixture(scope="module")
def network():
    return create_model("test_resnet", num_classes=3, input_shape=(32, 32, 3))


def test_a_name_is_a_group_a_stage_a_block_or_a_layer(network):
    with_weights = {layer.name for layer in network.layers if layer.weights}
    assert frozen(network) == frozenset()
    stem = {n for n in with_weights if n == "bn1" or n.startswith("conv1.")}
    assert frozen(network, "stem") == stem
    assert frozen(network, "backbone") == with_weights - {"fc"}
    assert frozen(network, "layer1") == {n for n in with_weights if n.startswith("layer1.")}
    block = {n for n in with_weights if n.startswith("layer2.0.")}
    assert frozen(network, "layer2.0", "bn1") == {"bn1", *block}
    assert {"layer2.0.conv1", "layer2.0.bn2", "layer2.0.downsample.1"} < block


@pytest.mark.parametrize(
    ("names", "message", "hint"),
    [
        (("layer5",), "test_resnet has no layers 'layer5'", "stem, layer1, layer2, layer3, layer4"),
        (("layer",), "no layers 'layer'", "backbone"),
        (("backbone", "fc"), "leaves no layer to train", "leave out one"),
    ],
)
def test_a_name_without_layers_is_refused(network, names, message, hint):
    with pytest.raises(SpecError, match=message) as caught:
        frozen(network, *names)
    assert hint in caught.value.hint


@pytest.mark.ci
@pytest.mark.backend
@pytest.mark.parametrize("names", [("conv1",), ("backbone",)], ids=" ".join)
def test_a_frozen_layer_keeps_every_bit_and_the_others_learn(names):
    recipe = dataclasses.replace(RECIPE, freeze=names, weight_decay=0.1, ema_decay=0.5)
    model = create_model(NETWORK, num_classes=10, input_shape=(8, 8, 3))
    kept = frozen_layers(model, recipe)
    before = {v.path: np.array(keras.ops.convert_to_numpy(v)) for v in model.variables}
    images = np.random.default_rng(0).normal(3, 2, (8, 8, 8, 3)).astype(np.float32)
    step = training_step(model, recipe, steps_per_epoch=1)
    step([(keras.ops.convert_to_tensor(images), keras.ops.arange(8))]).read()
    for variable in model.variables:
        same = np.array_equal(keras.ops.convert_to_numpy(variable), before[variable.path])
        assert same == (variable.path.split("/")[0] in kept), variable.path
    assert kept == ({"conv1"} if names == ("conv1",) else {"conv1", "bn1"})


@pytest.mark.ci
def test_frozen_layers_are_those_of_the_start_in_the_run_and_stay_so(call, tmp_path):
    first, folder = tmp_path / "first", tmp_path / "run"
    options = ("--dataset", "digits", "--image-size", "8", "--batch-size", "512", "--epochs", "1")
    assert call("train", NETWORK, *options, "--output", first).rc == 0
    more = ("--freeze", "conv1,stem", "--set", "head_start=random", "--output", folder)
    answer = call("train", first, *options, *more)
    assert answer.rc == 2  # it has no stages, and so no stem
    answer = call("train", first, *options, *more, "--freeze", "bn1")
    fails(answer, 2, "no layers 'stem'", "allowed are backbone")
    assert not folder.exists()
    more = ("--freeze", "conv1", "--freeze", "bn1", *more[2:])
    assert call("train", first, *options, *more).rc == 0
    assert 'freeze = [\n    "conv1",\n    "bn1",\n]' in (folder / "recipe.toml").read_text("utf-8")
    start, end = (read_tensors(run / "model.safetensors")[0] for run in (first, folder))
    changed = {name for name in start if not np.array_equal(start[name], end[name])}
    assert changed == {"fc.weight", "fc.bias"}
    other = call("train", "--resume", folder, "--freeze", "conv1")
    fails(other, 6, "freeze = ('conv1',) in place of ('conv1', 'bn1')")


def test_a_frozen_backbone_points_to_the_probe(trained):
    from rezoo.training.request import Request

    changes = {"freeze": "backbone"}
    notes = Request.of(trained, "digits", changes=changes).notes
    assert any("--recipe probe" in note for note in notes)
    random = Request.of("resnet18", "digits", changes=changes)
    assert any("stay random" in note for note in random.notes)
    assert random.recipe.freeze == ("backbone",)


def test_freeze_is_a_list_of_names_in_a_recipe():
    for value in ("stem,layer1", '["stem", "layer1"]', ["stem", "layer1"]):
        recipe = Recipe.from_dict({"name": "t", "freeze": value}, origin="test")
        assert recipe.freeze == ("stem", "layer1")
    for value in ("", "layer1/bn1", [1], 3):
        with pytest.raises(SpecError, match="freeze"):
            Recipe.from_dict({"name": "t", "freeze": value}, origin="test")
