"""The published recipes against their sources, and their claims."""

from __future__ import annotations

import json
import math
import tomllib
from importlib.resources import files

import pytest

from rezoo import recipes
from rezoo.data.digits import digits
from rezoo.errors import SpecError
from rezoo.recipes.claims import Claim
from rezoo.recipes.describe import expected
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing

OWN = {"quick", "finetune", "scratch", "probe", "cifar"}
PUBLISHED = [name for name in recipes.list_recipes() if name not in OWN]


def keys(**values):
    return values


# As the sources have them: arXiv:1512.03385 and 2110.00476, pytorch/vision references, issue 3995,
# DeepLearningExamples' TensorFlow scripts, ffcv-imagenet's YAML files, mosaicml/examples,
# mlcommons/training_results_v3.0, big_vision, big_transfer, PaddleClas, fast.ai's course.
FACTS = {
    "tv_v1": keys(epochs=90, batch_size=256, learning_rate=0.1, momentum=0.9, weight_decay=1e-4),
    "paper_cifar": keys(
        steps=64_000, batch_size=128, learning_rate=0.1, momentum=0.9, weight_decay=1e-4,
        step_at=(32 / 64, 48 / 64), crop_padding=4, image_size=32, decay_norm_and_bias=True,
    ),
    "tv_v2": keys(
        epochs=600, batch_size=1024, learning_rate=0.5, weight_decay=2e-5, warmup_epochs=5.0,
        auto_augment="ta_wide", random_erase=0.1, label_smoothing=0.1, mixup_alpha=0.2,
        cutmix_alpha=1.0, train_size=176, image_size=224, ema_every=32, repeated_augmentation=4,
    ),
    "rsb_a1": keys(
        epochs=600, learning_rate=5e-3, weight_decay=0.01, label_smoothing=0.1, mixup_alpha=0.2,
        auto_augment="rand-m7-mstd0.5-inc1", stochastic_depth=0.05, repeated_augmentation=3,
    ),
    "rsb_a2": keys(
        epochs=300, learning_rate=5e-3, weight_decay=0.02, label_smoothing=0.0, mixup_alpha=0.1,
        auto_augment="rand-m7-mstd0.5-inc1", stochastic_depth=0.05, repeated_augmentation=3,
    ),
    "rsb_a3": keys(
        epochs=100, learning_rate=8e-3, weight_decay=0.02, mixup_alpha=0.1, batch_size=2048,
        auto_augment="rand-m6-mstd0.5-inc1", stochastic_depth=0.0, train_size=160, image_size=224,
    ),
    "nv_90": keys(
        epochs=90, batch_size=2048, learning_rate=8 * 0.256, momentum=0.875, weight_decay=1 / 32768,
        warmup_epochs=8.0, label_smoothing=0.1, mixup_alpha=0.0, decay_norm_and_bias=False,
    ),
    "nv_250": keys(epochs=250, learning_rate=8 * 0.256, mixup_alpha=0.2, momentum=0.875),
    "mosaic_mild": keys(
        epochs=36, batch_size=2048, learning_rate=2.048, momentum=0.875, weight_decay=5e-4,
        label_smoothing=0.08, warmup_epochs=8.0, train_size=176, start_size=88, ema_every=20,
    ),
    "mlperf_lars": keys(
        epochs=37, batch_size=8 * 408, learning_rate=10.5, momentum=0.9, trust_coefficient=0.001,
        weight_decay=5e-5, warmup_epochs=2.0, poly_power=2.0, label_smoothing=0.1,
    ),
    "bit_i1k": keys(
        epochs=90, batch_size=4096, learning_rate=1.6, weight_decay=1.6e-3, warmup_steps=1000,
        clip_norm=1.0, decoupled_weight_decay=True,
    ),
    "bit_hyperrule": keys(
        steps=500, batch_size=512, learning_rate=0.003, weight_decay=0.0, warmup_steps=100,
        step_at=(0.4, 0.6, 0.8), image_size=384,
    ),
    "bigvision_transfer": keys(
        steps=500, batch_size=512, learning_rate=0.003, warmup_steps=100, clip_norm=1.0,
    ),
    "paddleclas_pets": keys(learning_rate=0.003, weight_decay=1e-4, label_smoothing=0.0),
    "fastai_pets": keys(epochs=12, learning_rate=1e-4, batch_size=64, optimizer="adamw"),
}  # fmt: skip
# epochs: (first and last epoch of growing, top-1 of ResNet-50, of ResNet-18)
FFCV = {
    16: (11, 13, 0.738, 0.669),
    24: (17, 20, 0.756, 0.688),
    32: (23, 27, 0.766, 0.700),
    40: (29, 34, 0.772, 0.706),
    56: (41, 48, 0.780, 0.713),
    88: (65, 76, 0.784, 0.724),
}
TOP1 = {
    "paper_cifar": {
        "resnet20": 0.9125,
        "resnet32": 0.9249,
        "resnet44": 0.9283,
        "resnet56": 0.9303,
        "resnet110": 0.9339,
    },
    "tv_v1": {"resnet50": 0.7613, "resnet34": 0.7331, "resnet18": 0.6976},
    "tv_v2": {"resnet50": 0.80858},
    "nv_90": {"resnet50": 0.7701},
    "nv_250": {"resnet50": 0.7835},
    "bit_i1k": {"resnet50": 0.756},
    "paddleclas_pets": {"resnet50d": 0.9364},
    "bit_hyperrule": {},
}


def load(name):
    values, claim = recipes.read_with_claim(name)
    return Recipe.from_dict(values, origin=name), claim


# the files


def test_every_published_recipe_is_spot_checked():
    ffcv = {f"{kind}_{epochs}" for kind in ("ffcv", "ffcv_r18") for epochs in FFCV}
    assert set(PUBLISHED) == FACTS.keys() | ffcv


@pytest.mark.parametrize("name", FACTS)
def test_facts(name):
    recipe, _ = load(name)
    for key, value in FACTS[name].items():
        found = getattr(recipe, key)
        assert found == (value if isinstance(value, str) else pytest.approx(value)), key


@pytest.mark.parametrize("epochs", FFCV)
def test_facts_of_ffcv(epochs):
    first, last, *figures = FFCV[epochs]
    for name, figure, facts in (
        ("ffcv", figures[0], (4096, 1.7, 1e-4)),
        ("ffcv_r18", figures[1], (1024, 0.5, 5e-5)),
    ):
        recipe, claim = load(f"{name}_{epochs}")
        assert (recipe.batch_size, recipe.learning_rate, recipe.weight_decay) == facts
        assert (recipe.epochs, recipe.grow_epochs) == (epochs, (first, last))
        sizes = (recipe.start_size, recipe.train_size, recipe.image_size)
        assert sizes == (160, 192, 256)
        assert claim.expected == ("resnet18" if "r18" in name else "resnet50", figure)


@pytest.mark.parametrize("name", TOP1)
def test_published_figures(name):
    assert load(name)[1].top1 == TOP1[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_make_a_claim(name):
    recipe, claim = load(name)
    assert len(recipe.summary) <= 36  # or lists of 100 columns break it
    assert recipe.source != "rezoo"
    assert claim.cost
    assert claim.differs
    assert bool(claim.top1) == bool(claim.tolerance)
    if claim.dataset == "imagenet2012":
        assert recipe.precision == "auto"
        assert 0.001 <= claim.tolerance <= 0.005


@pytest.mark.parametrize("name", PUBLISHED)
def test_head_of_a_file_says_what_its_claim_says(name):
    text = (files(recipes) / f"{name}.toml").read_text("utf-8")
    head = " ".join(x.removeprefix("# ") for x in text.splitlines() if x.startswith("# "))
    _, claim = load(name)
    assert "Expected: " in head
    if not claim.reproduced:
        assert "Not reproduced by rezoo yet." in head
    if claim.expected:
        percent = 100 * claim.expected[1]
        assert f"{percent:.1f}" in head or f"{percent:.4g} %" in head or f"{percent:.2f} %" in head
        assert f"± {100 * claim.tolerance:g}" in head


def test_conversions():
    assert load("tv_v2")[0].ema_decay == pytest.approx(1 - 2e-5 * 1024 * 32 / 600, abs=1e-8)
    assert load("mosaic_mild")[0].ema_decay == pytest.approx(0.5 ** (20 / 100), abs=1e-8)
    hyperrule = load("bit_hyperrule")[0]
    assert hyperrule.crop_scale == pytest.approx(((384 / 448) ** 2,) * 2, abs=1e-3)
    for name, side in (("tv_v2", 232), ("rsb_a3", 235), ("bigvision_transfer", 448)):
        recipe = load(name)[0]
        assert math.floor(recipe.image_size / recipe.crop_pct) == side
    steps = 1_281_167 // 256
    parts = [round(part * 90 * steps) for part in load("tv_v1")[0].step_at]
    assert parts == [30 * steps, 60 * steps]


# claims


CLAIM = """
epochs = 3
[claim]
dataset = "pets"
top1 = { resnet18 = 0.5, resnet50 = 0.75 }
tolerance = 0.01
cost = "1 hour (on paper)"
reproduced = "never"
differs = ["all"]
"""


def test_claim_of_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(CLAIM)
    values, claim = recipes.read_with_claim(str(path))
    assert values == recipes.read_recipe(str(path)) == {"epochs": 3, "name": "mine"}
    assert claim.expected == ("resnet50", 0.75)
    assert claim.short_cost == "1 hour"
    assert expected(claim) == "top-1 of resnet18 50 %, resnet50 75 %, ± 1, on pets"
    assert Claim.from_dict(json.loads(json.dumps(claim.to_dict())), origin="") == claim
    recipe, _ = recipes.resolve_recipe(str(path), digits, {}, preprocessing=Preprocessing())
    assert "claim" not in tomllib.loads(recipes.recipe_to_toml(recipe))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tolerance", "toleranc", r"unknown key 'toleranc' in \[claim\]"),
        ('dataset = "pets"', "", "has no dataset"),
        ('"pets"', "5", "dataset = 5 .* must be text"),
        ("0.75", "75", "must be a table of architectures and fractions"),
        ("{ resnet18 = 0.5, resnet50 = 0.75 }", "0.5", "must be a table of"),
        ("0.01", "1.5", "must be a fraction"),
        ("0.01", "nan", "nan is not a finite number"),
        ("0.01", "true", "must be a fraction"),
        ('["all"]', '"all"', "must be a list of texts"),
        ('["all"]', "[1]", "must be a list of texts"),
        ("[claim]", "[[claim]]", "must be a table"),
    ],
)
def test_claims_that_are_wrong(tmp_path, old, new, message):
    path = tmp_path / "mine.toml"
    path.write_text(CLAIM.replace(old, new))
    with pytest.raises(SpecError, match=message):
        recipes.read_recipe(str(path))


def test_near_keys_of_a_claim():
    with pytest.raises(SpecError) as caught:
        Claim.from_dict({"dataset": "d", "reproducd": ""}, origin="f")
    assert "reproduced" in caught.value.hint
