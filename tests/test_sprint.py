"""The recipe `sprint`: Muon, whitened first filters, its crop and flips; records and their recipes.

The rules are compared with torch's own: `torch.optim.Muon`, `torch.nn.init.dirac_`.
"""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import rezoo
from conftest import fails
from rezoo import recipes, registry
from rezoo.data.datasets import load_dataset
from rezoo.data.pipeline import train_batches
from rezoo.data.transforms import train_transform
from rezoo.errors import IncompatibleError, Interrupted, PluginWarning, SpecError
from rezoo.models.layers import IdentityFilters
from rezoo.models.normalization import normalized
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing
from rezoo.training import whitening
from rezoo.training.muon import Muon, orthogonalized, require_normalization
from rezoo.training.sgd import SGD
from same_bits import different
from test_registry import install  # noqa: F401 - a fixture
from test_training import StopAt
from tiny import NARROW, tiny3, tiny_network  # noqa: F401 - a fixture
from zoo import graph

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "benchmarks"
COLOURS = Preprocessing(input_size=(3, 32, 32), mean=(0.5,) * 3, std=(0.25,) * 3)


def array(x):
    return np.asarray(keras.ops.convert_to_numpy(x))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def photographs(count, seed=0):
    """Return smooth colours, uint8 `(N, 32, 32, 3)`, whose neighbours are correlated."""
    small = noise(count, 8, 8, 3, seed=seed) * 60 + 128
    large = tf.image.resize(small, (32, 32)).numpy() + noise(count, 32, 32, 3, seed=seed + 1) * 3
    return np.clip(large, 0, 255).astype(np.uint8)


# --- Muon


def test_muon_follows_torch():
    """The same kernels as torch's, which takes the matrix of each and does not keep its norm."""
    torch = pytest.importorskip("torch")
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    kernel = noise(3, 3, 8, 16)
    ours = keras.Variable(kernel)
    rule = Muon(0.1, 0.6)
    rule.build([ours])
    theirs = torch.nn.Parameter(torch.from_numpy(kernel.reshape(-1, 16).T.copy()))
    options = {"momentum": 0.6, "nesterov": True, "ns_steps": 3, "weight_decay": 0.0}
    peer = torch.optim.Muon([theirs], lr=0.1, **options)
    for step in range(4):
        gradient = noise(3, 3, 8, 16, seed=step + 1)
        rule.apply([keras.ops.convert_to_tensor(gradient)], [ours])
        with torch.no_grad():
            theirs.mul_(16**0.5 / theirs.norm())
        theirs.grad = torch.from_numpy(gradient.reshape(-1, 16).T.copy())
        peer.step()
    found = array(ours).reshape(-1, 16).T
    np.testing.assert_allclose(found, theirs.detach().numpy(), atol=0.01)  # torch's is bfloat16


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_singular_values_move_to_one(shape):
    values = np.linalg.svd(array(orthogonalized(keras.ops.convert_to_tensor(noise(*shape)))))[1]
    assert 0.5 < np.median(values) < 1.25
    assert values.max() < 1.25


def test_muon_leaves_vectors_and_the_head_to_sgd():
    """Each with its own rate; the decay is that of the schedule alone."""
    start = {"head": noise(4, 3), "vector": noise(3)}
    mixed = [keras.Variable(x) for x in start.values()]
    shared = {"weight_decay": 0.1, "decay_vectors": True}
    rules = [
        (Muon(0.2, 0.6, sgd_scale=0.5, vector_scale=3.0, peak_learning_rate=0.2, **shared), mixed)
    ]
    alone = {name: [keras.Variable(x)] for name, x in start.items()}
    for name, rate in (("head", 0.1), ("vector", 0.3)):
        rules.append(
            (SGD(rate, 0.6, nesterov=True, peak_learning_rate=rate, **shared), alone[name])
        )
    for rule, variables in rules:
        rule.build(variables)
        for step in range(3):
            gradients = [noise(*v.shape, seed=step) for v in variables]
            rule.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
    for one, (other,) in zip(mixed, alone.values(), strict=True):
        np.testing.assert_allclose(array(one), array(other), rtol=1e-6)


def test_muon_refuses_convolutions_without_normalization():
    network = graph("vgg16")
    with pytest.raises(IncompatibleError, match=r"convolution features\.0 of vgg16 has a bias"):
        require_normalization(network)


# --- the start


@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (3, 3, 6, 4), (2, 2, 5, 5)])
def test_identity_filters_are_those_of_torch(shape):
    torch = pytest.importorskip("torch")
    height, width, channels, filters = shape
    kernel = array(IdentityFilters(2.0, "fan_out", "untruncated_normal")(shape))
    count = min(channels, filters)
    wanted = torch.nn.init.dirac_(torch.empty(count, channels, height, width)).numpy()
    np.testing.assert_array_equal(kernel[..., :count].transpose(3, 2, 0, 1), wanted)
    assert np.all(kernel[..., count:].std(axis=(0, 1, 2)) > 0)


def test_whitened_patches_are_uncorrelated():
    layer = keras.layers.Conv2D(24, 2, use_bias=False)
    layer.build((None, 32, 32, 3))
    images = photographs(64)
    kernel = whitening.fit(layer, [(images[:40], 0), (images[40:], 0)], COLOURS)
    np.testing.assert_array_equal(kernel[..., :12], -kernel[..., 12:])
    pixels = normalized(images.astype(np.float32), COLOURS)
    found = tf.nn.conv2d(pixels, kernel[..., :12], 1, "VALID").numpy().reshape(-1, 12)
    moments = found.T @ found / len(found)
    off = moments - np.diag(np.diag(moments))
    assert np.abs(off).max() < 1e-3
    assert 0.2 < np.diag(moments).min() <= np.diag(moments).max() < 1.01


def test_only_a_fitting_first_layer_is_whitened():
    network = tiny3.build(
        name="tiny3", input_shape=(16, 16, 3), num_classes=2, classifier_activation=None
    )
    with pytest.raises(IncompatibleError, match="the first layer of tiny3") as caught:
        whitening.first_convolution(network)
    assert "--set stem_start=random" in caught.value.hint


@pytest.mark.ci
def test_weights_keep_their_first_layer(call, trained, tmp_path):
    answer = call(
        "train", trained, "--recipe", "sprint", "--dataset", "digits", "--output", tmp_path
    )
    fails(answer, 2, "fits the first convolution to the images", "--set stem_start=random")


@pytest.mark.ci
@pytest.mark.backend
def test_a_stopped_run_ends_in_the_same_bits(tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    changes = {"image_size": 12, "batch_size": 128, "epochs": 2, "precision": "float32"}
    options = {"recipe": "sprint", "changes": changes}
    rezoo.train(NARROW, "digits", output=whole, **options)
    with pytest.raises(Interrupted):
        rezoo.train(NARROW, "digits", output=halves, reporter=StopAt(1, 3), **options)
    rezoo.train(NARROW, "digits", output=halves, resume=True, **options)
    assert different(whole, halves) == set()
    with np.load(whole / "predictions-val.npz") as predictions:
        assert len(predictions.files)


# --- crop and flips


def recipe_of(**keys):
    return Recipe.from_dict({"name": "t", "image_size": 32, **keys}, origin="test")


def test_every_image_is_mirrored_in_every_other_epoch():
    """By seed, index and parity alone: which images come first depends on the seed."""
    images, first = photographs(16), {}
    for seed in (0, 1):
        recipe = recipe_of(flip_order="alternate", crop_padding=1, seed=seed)
        transform = train_transform(COLOURS, recipe, encoded=False)
        still = train_transform(COLOURS, recipe_of(flip=0.0, crop_padding=1), encoded=False)
        mirrored = np.zeros((4, 16), bool)
        for epoch in range(4):
            for index in range(16):
                key = tf.constant([1000 * seed + epoch, index], tf.int64)
                plain = still(images[index], key).numpy()
                found = transform(images[index], key, tf.constant(epoch, tf.int64)).numpy()
                mirrored[epoch, index] = not np.array_equal(found, plain)
                np.testing.assert_array_equal(
                    found, plain[:, ::-1] if mirrored[epoch, index] else plain
                )
        assert np.array_equal(mirrored[0], mirrored[2])
        assert np.array_equal(mirrored[0], ~mirrored[1])
        assert np.array_equal(mirrored[1], mirrored[3])
        assert 2 < mirrored[0].sum() < 14
        first[seed] = mirrored[0]
    assert not np.array_equal(first[0], first[1])


def test_the_epoch_reaches_the_flips():
    """The pipeline mirrors in the second epoch what it did not in the first, resumed or not."""
    digits = load_dataset("digits").examples("train").select(np.arange(24))
    grey = Preprocessing(input_size=(1, 8, 8), mean=(0.5,), std=(0.5,))
    keys = {"batch_size": 24, "epochs": 2, "crop_scale": [1.0, 1.0], "crop_ratio": [1.0, 1.0]}
    recipe = recipe_of(flip_order="alternate", **{**keys, "image_size": 8})
    one, two = (images.numpy() for images, _ in train_batches(digits, grey, recipe))
    mirrored = {image[:, ::-1].tobytes() for image in one}
    assert {image.tobytes() for image in two} == mirrored
    (again,) = (x.numpy() for x, _ in train_batches(digits, grey, recipe, first_epoch=1))
    np.testing.assert_array_equal(again, two)


def test_a_reflected_crop_is_a_part_of_the_reflection():
    images, places = photographs(30), set()
    transform = train_transform(
        COLOURS, recipe_of(crop_fill="reflection", crop_padding=2, flip=0.0), encoded=False
    )
    for index, image in enumerate(images):
        found = transform(image, tf.constant([3, index], tf.int64)).numpy()
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
        parts = np.lib.stride_tricks.sliding_window_view(padded, (32, 32, 3))[:, :, 0]
        (top,), (left,) = np.nonzero((parts == found).all((2, 3, 4)))
        places.add((top, left))
    assert {top for top, _ in places} == {left for _, left in places} == set(range(5))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"crop_fill": "reflection"}, "reflection without crop_padding"),
        ({"crop_fill": "reflection", "crop_padding": 32}, "32 pixels has at most 31"),
        ({"flip_order": "alternate", "flip": 0.3}, "flip = 0.3: it mirrors half"),
        ({"flip_order": "alternate", "repeated_augmentation": 2}, "all be mirrored, or none"),
        ({"flip_order": "odd"}, "allowed is random or alternate"),
        ({"crop_fill": "black"}, "allowed is mean or reflection"),
        ({"stem_start": "white"}, "allowed is random or whitened"),
        ({"vector_lr_scale": 0}, "allowed is above 0"),
    ],
)
def test_keys_that_exclude_each_other(keys, message):
    with pytest.raises(SpecError, match=message):
        recipe_of(**keys)


# --- records

CLAIMED = """from pathlib import Path
fast = Path(__file__).with_suffix(".toml")
"""
PLUGIN = """summary = "faster"
epochs = 5
[claim]
dataset = "cifar10"
top1 = { wide_resnet8 = 0.99 }
pflop = 0.1
"""


def test_records_are_sorted_within_a_dataset(call):
    records = json.loads(call("list", "--records", "--json").out)["records"]
    order = [(row["dataset"], -row["top1"]) for row in records]
    assert order == sorted(order)
    assert ("sprint", "wide_resnet8") in {(row["recipe"], row["network"]) for row in records}
    text = call("list", "--records").out
    assert "PFLOP" in text


def test_a_record_of_a_plugin_is_first_if_it_is_better(install, place, call):  # noqa: F811
    install("someones-recipes", "fast", code=CLAIMED, attribute="fast", group="recipes")
    (place / "someones_recipes_fast.toml").write_text(PLUGIN)
    records = json.loads(call("list", "--records", "--json").out)["records"]
    best = next(row for row in records if row["dataset"] == "cifar10")
    assert (best["recipe"], best["pflop"]) == ("fast", 0.1)
    assert recipes.read_recipe("fast")["epochs"] == 5
    assert "faster" in call("info", "fast").out


def test_a_broken_recipe_of_a_plugin_does_not_break_the_lists(install, place, call):  # noqa: F811
    install("someones-recipes", "fast", code=CLAIMED, attribute="fast", group="recipes")
    with pytest.warns(PluginWarning, match="recipe fast of the plugin someones-recipes"):
        names = [recipe.name for recipe, _ in recipes.read_all()]
    assert "sprint" in names
    assert "fast" not in names
    assert call("list", "--records").rc == 0


def test_rezoos_own_recipes_cannot_be_replaced(install, place):  # noqa: F811
    install("someones-recipes", "sprint", code=CLAIMED, attribute="fast", group="recipes")
    (place / "someones_recipes_sprint.toml").write_text(PLUGIN)
    assert recipes.read_recipe("sprint")["optimizer"] == "muon"


def test_the_claim_counts_what_the_recipe_computes():
    """49,500 training images: a hundredth of CIFAR-10 is held out for validation."""
    values, claim = recipes.read_with_claim("sprint")
    spec = registry.architectures.get("wide_resnet8")
    steps = 49_500 // values["batch_size"] * values["epochs"]
    flops = 3 * 2 * spec.macs * steps * values["batch_size"]
    assert claim.pflop == pytest.approx(flops / 1e15, rel=0.01)
    assert claim.pflop <= 0.4


@pytest.mark.ci
def test_torch_twin_gives_the_same_logits(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    safetensors_torch = pytest.importorskip("safetensors.torch")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from torch_wide_resnet8 import WideResNet8

    from rezoo.artifacts import weights

    network = rezoo.create_model("wide_resnet8", input_shape=(32, 32, 3))
    for number, variable in enumerate(network.variables):
        if "moving_variance" not in variable.path:
            variable.assign_add(0.05 * noise(*variable.shape, seed=number))
    weights.save_model(network, network.rezoo_config, tmp_path)
    twin = WideResNet8().eval()
    state = safetensors_torch.load_file(tmp_path / "model.safetensors")
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    images = noise(4, 32, 32, 3)
    with torch.no_grad():
        theirs = twin(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    ours = array(network(images, training=False))
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())
