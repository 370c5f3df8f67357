"""Recipes, preprocessing and `config.json`: bounds, unknown keys, round trips."""

from __future__ import annotations

import dataclasses
import json
import tomllib

import pytest

from hub_fixtures import PUBLISHED_CONFIG
from rezoo import recipes
from rezoo.artifacts.config import config_from_json, config_to_json, read_config
from rezoo.artifacts.run_files import local_facts
from rezoo.data.digits import digits
from rezoo.errors import IncompatibleError, IntegrityError, NotFoundError, SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.specs import DatasetSpec, ModelConfig, Origin, Preprocessing
from rezoo.utils.names import natural_key, near, suggest

TINY = {"architecture": "resnet18", "num_classes": 2}


def config_file(folder, content) -> object:
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    data = text.encode() if isinstance(text, str) else text
    (folder / "config.json").write_bytes(data)
    return folder


# names


def test_natural_order():
    names = ["resnet110", "resnet20", "ResNet50", "resnet50_v1", "resnet152", "a", "resnet"]
    assert sorted(names, key=natural_key) == [
        "a",
        "resnet",
        "resnet20",
        "ResNet50",
        "resnet50_v1",
        "resnet110",
        "resnet152",
    ]
    sorted(["1a", "a1", "", "1", "²", "a²"], key=natural_key)


def test_near_names():
    known = ["resnet18", "resnet34", "resnet50", "resnet50_v1", "resnet101", "resnet152"]
    assert near("resent50", known)[0] == "resnet50"
    assert near("ResNet_50-V1", known)[0] == "resnet50_v1"
    assert near("vit", known) == []
    assert len(near("resnet5", known)) == 3
    assert len(near("resnet5", known, most=1)) == 1
    assert suggest("digts", ["digits"], "there are").startswith("Did you mean digits?")
    assert suggest("x", ["b10", "b9"], "There are") == "There are b9, b10."
    hint = suggest("x", [f"b{number}" for number in range(100)], "There are")
    assert hint.startswith("There are b0, b1, b2, ")
    assert hint.endswith(", b39 and 60 more.")


# recipes


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_size", 0),
        ("image_size", 8193),
        ("crop_pct", 0.0),
        ("crop_pct", 1.01),
        ("interpolation", "lanczos"),
        ("crop_scale", [0.5, 0.4]),
        ("crop_scale", [0.0, 1.0]),
        ("crop_scale", [0.1, 1.1]),
        ("crop_ratio", [0.0, 1.0]),
        ("crop_ratio", [1.0, float("nan")]),
        ("flip", -0.1),
        ("flip", 1.1),
        ("epochs", 0),
        ("epochs", -1),
        ("batch_size", 0),
        ("optimizer", "adam"),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("backbone_lr_scale", -0.1),
        ("backbone_lr_scale", 2.0),
        ("momentum", 1.0),
        ("weight_decay", -1e-4),
        ("schedule", "exponential"),
        ("warmup_epochs", -1.0),
        ("step_at", [0.5, 0.4]),
        ("label_smoothing", 1.0),
        ("precision", "float16"),
        ("seed", -1),
        ("seed", 2**31),
        ("epochs", True),
        ("epochs", 2.5),
        ("epochs", [3]),
        ("flip", "yes"),
        ("nesterov", 1),
        ("optimizer", 5),
        ("crop_scale", 0.5),
        ("crop_scale", [0.5]),
        ("crop_scale", [True, True]),
        ("name", 5),
    ],
)
def test_recipe_bounds(key, value):
    with pytest.raises(SpecError, match=f"recipe key {key} = .*(allowed is|must be) "):
        Recipe.from_dict({"name": "r", key: value}, origin="test")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("epochs", "3", 3),
        ("learning_rate", "1", 1.0),
        ("learning_rate", "1e-3", 1e-3),
        ("nesterov", "true", True),
        ("crop_scale", "[0.5, 1]", (0.5, 1.0)),
        ("optimizer", "adamw", "adamw"),
        ("summary", "5", "5"),
        ("warmup_epochs", "0", 0.0),
    ],
)
def test_recipe_values_as_text(key, text, value):
    recipe = Recipe.from_dict({"name": "r", key: text}, origin="--set")
    assert getattr(recipe, key) == value
    assert type(getattr(recipe, key)) is type(value)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("epochs", "three"),
        ("epochs", "3.0"),
        ("epochs", ""),
        ("nesterov", "True"),
        ("flip", "NaN"),
        ("crop_scale", "0.5"),
        ("image_size", "null"),
        ("learning_rate", "1" * 400),
        ("seed", "1" * 5000),
        ("crop_scale", "[" * 100_000),
    ],
    ids=lambda text: text[:14],
)
def test_recipe_values_that_are_none(key, text):
    with pytest.raises(SpecError, match=key):
        Recipe.from_dict({"name": "r", key: text}, origin="--set")


@pytest.mark.parametrize("size", [5000, 10**400], ids=["5000", "10**400"])
def test_recipe_numbers_that_are_too_large(size):
    with pytest.raises(SpecError, match="crop_ratio"):
        Recipe.from_dict({"name": "r", "crop_ratio": [1, size]}, origin="test")


def test_unknown_recipe_key():
    with pytest.raises(SpecError, match="mine: unknown recipe key 'learning_rat'") as caught:
        Recipe.from_dict({"name": "r", "learning_rat": 1}, origin="mine")
    assert "learning_rate" in caught.value.hint
    with pytest.raises(SpecError) as caught:
        Recipe.from_dict({"name": "r", "zzz": 1}, origin="mine")
    assert "the keys are" in caught.value.hint
    assert "label_smoothing" in caught.value.hint


@pytest.mark.parametrize("name", recipes.list_recipes())
def test_shipped_recipes(name):
    values = recipes.read_recipe(name)
    recipe = Recipe.from_dict(values, origin=name)
    assert recipe.name == name
    assert recipe.summary
    assert recipe.source
    assert tomllib.loads(recipes.recipe_to_toml(recipe)) == json.loads(json.dumps(recipe.to_dict()))


@pytest.mark.parametrize("name", recipes.list_recipes())
def test_recipe_round_trip(name, tmp_path):
    recipe, _ = recipes.resolve_recipe(name, digits, {}, preprocessing=Preprocessing())
    path = tmp_path / "recipe.toml"
    path.write_text(recipes.recipe_to_toml(recipe), "utf-8")
    again, _ = recipes.resolve_recipe(str(path), digits, {}, preprocessing=Preprocessing())
    assert again == recipe
    unset = {key for key, value in dataclasses.asdict(recipe).items() if value is None}
    # without them: image_size, epochs, and the part that the dataset holds out
    assert unset <= {"train_size", "start_size", "steps", "val_fraction"}


def test_who_wins_in_a_recipe():
    spec = DatasetSpec(name="d", open=list, overrides={"flip": 0.0, "epochs": 7})
    weights = Preprocessing(input_size=(3, 100, 80), crop_pct=0.9, interpolation="bicubic")
    recipe, notes = recipes.resolve_recipe("finetune", spec, {"epochs": 3}, preprocessing=weights)
    assert (recipe.epochs, recipe.flip) == (3, 0.0)
    shorter = "warmup_epochs 1 → 0.428571: the run is shorter than its recipe"
    assert notes == ("flip = 0.0: d asks for it", shorter)
    assert (recipe.image_size, recipe.crop_pct, recipe.interpolation) == (100, 0.9, "bicubic")
    quick, _ = recipes.resolve_recipe("quick", spec, {}, preprocessing=weights)
    assert quick.image_size == 64


@pytest.mark.parametrize(
    "content",
    [b"epochs = ", b"summary = '\xe9'", b"epochs = 0", b"[data]\nflip = 0.5\n", b"a = [" * 3000],
)
def test_recipe_files_that_are_wrong(tmp_path, content):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(SpecError):
        recipes.read_recipe(str(path))


def test_recipe_file_takes_its_name(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 5")
    assert recipes.read_recipe(str(path)) == {"epochs": 5, "name": "mine"}
    with pytest.raises(NotFoundError, match="cannot read the recipe"):
        recipes.read_recipe(str(tmp_path / "other.toml"))


def test_default_recipe():
    assert recipes.default_recipe(digits, has_weights=False)[0] == "quick"
    assert recipes.default_recipe(digits, has_weights=True)[0] == "finetune"


# preprocessing


@pytest.mark.parametrize(
    "values",
    [
        {"input_size": (2, 8, 8)},
        {"input_size": (3, 0, 8)},
        {"input_size": (3, 8, 8193)},
        {"input_size": (3, 8)},
        {"test_input_size": (1, 8, 8)},
        {"crop_pct": 0.0},
        {"crop_pct": 1.5},
        {"crop_pct": float("nan")},
        {"test_crop_pct": -0.1},
        {"test_crop_pct": 0.0},
        {"interpolation": "nearest"},
        {"mean": (0.5,)},
        {"std": (0.5, 0.5)},
        {"std": (0.0, 1.0, 1.0)},
        {"mean": (float("nan"), 0.0, 0.0)},
        {"std": (float("inf"), 1.0, 1.0)},
    ],
)
def test_preprocessing_bounds(values):
    with pytest.raises(SpecError):
        Preprocessing(**values)


def test_preprocessing_for_the_test():
    pre = Preprocessing(
        input_size=(3, 160, 160), crop_pct=0.875, test_input_size=(3, 224, 200), test_crop_pct=0.95
    )
    assert pre.size == (160, 160)
    test = pre.for_test()
    assert (test.size, test.crop_pct, test.test_input_size) == ((224, 200), 0.95, None)
    assert pre.at(None) is pre
    assert pre.at(64).size == (64, 64)
    assert Preprocessing().for_test() == Preprocessing()
    with pytest.raises(SpecError, match="sides are 1 to"):
        pre.at(0)


def test_dataset_spec_needs_one_std_a_channel():
    with pytest.raises(SpecError, match="mean has 1 channels, std 2"):
        DatasetSpec(name="d", open=list, mean=(0.5,), std=(1.0, 1.0))


def test_model_config_labels():
    config = ModelConfig(architecture="a", num_classes=2, class_names=("n01", "n02"))
    assert config.label(1) == "n02"
    described = dataclasses.replace(config, class_descriptions=("tench", "shark"))
    assert described.label(1) == "shark"
    assert ModelConfig(architecture="a", num_classes=2).label(1) == "1"
    with pytest.raises(SpecError, match="num_classes: -1"):
        ModelConfig(architecture="a", num_classes=-1)
    with pytest.raises(IncompatibleError, match="1 class names for num_classes = 2"):
        ModelConfig(architecture="a", num_classes=2, class_names=("one",))


# config.json


def test_golden_config_of_timm(tmp_path):
    text = json.dumps(PUBLISHED_CONFIG, indent=2)
    assert len(text) == 756
    config = read_config(config_file(tmp_path, text))
    pre = config.preprocessing
    assert (config.architecture, config.num_classes, config.tag) == ("resnet50", 1000, "a1_in1k")
    assert pre.input_size == (3, 224, 224)
    assert pre.test_input_size == (3, 288, 288)
    assert (pre.crop_pct, pre.test_crop_pct, pre.interpolation) == (0.95, 1.0, "bicubic")
    assert pre.mean == (0.485, 0.456, 0.406)
    assert pre.std == (0.229, 0.224, 0.225)
    assert len(config.class_names) == 1000  # the tag says which classes
    assert (config.class_names[0], config.class_names[999]) == ("n01440764", "n15075141")
    assert config.label(0) == "tench"
    assert config.extra_cfg["paper_ids"] == "arXiv:2110.00476"


def test_newer_and_older_forms_of_timm():
    base = config_from_json(PUBLISHED_CONFIG)
    newer = {
        **PUBLISHED_CONFIG,
        "global_pool": "avg",
        "model_args": {"in_chans": 3, "num_classes": 1000, "global_pool": "avg"},
        "pretrained_cfg": {**PUBLISHED_CONFIG["pretrained_cfg"], "license": "apache-2.0"},
    }
    config = config_from_json(newer)
    assert config.licence == "apache-2.0"
    assert dataclasses.replace(config, licence="") == base
    flat = config_from_json({**PUBLISHED_CONFIG["pretrained_cfg"], "architecture": "resnet50"})
    assert flat.preprocessing == base.preprocessing
    assert (flat.num_classes, flat.tag) == (1000, "a1_in1k")
    bare = config_from_json(TINY)
    assert bare.preprocessing == Preprocessing()
    assert bare.class_names == ()


def test_config_round_trip():
    config = ModelConfig(
        architecture="resnet18",
        num_classes=2,
        preprocessing=Preprocessing(
            input_size=(1, 30, 40),
            crop_pct=0.9,
            interpolation="bicubic",
            mean=(0.4,),
            std=(0.2,),
            test_input_size=(1, 60, 60),
            test_crop_pct=1.0,
        ),
        class_names=("n1", "n2"),
        class_descriptions=("Katze", "犬 <b> ---"),
        tag="mine",
        licence="mit",
        base=Origin(repo="timm/resnet18.a1_in1k", commit="1" * 40, sha256="2" * 64),
        fingerprint="1:abc",
        extra={"my_key": {"a": 1}},
        extra_cfg={"paper_ids": "arXiv:1"},
    )
    content = json.loads(json.dumps(config_to_json(config)))
    back = config_from_json(content)
    assert dataclasses.replace(back, extra_cfg=config.extra_cfg) == config
    assert back.extra_cfg["paper_ids"] == "arXiv:1"
    assert json.loads(json.dumps(config_to_json(back))) == content
    assert content["pretrained_cfg"]["num_classes"] == content["num_classes"] == 2


def test_only_keys_that_timm_knows_in_pretrained_cfg():
    known = {
        "architecture", "tag", "custom_load", "input_size", "test_input_size", "fixed_input_size",
        "min_input_size", "interpolation", "crop_pct", "test_crop_pct", "crop_mode", "mean", "std",
        "num_classes", "label_offset", "pool_size", "test_pool_size", "first_conv", "classifier",
        "license", "origin_url", "paper_ids", "paper_name", "description", "notes",
    }  # fmt: skip
    written = config_to_json(config_from_json(PUBLISHED_CONFIG))
    assert set(written["pretrained_cfg"]) <= known
    assert "rezoo_version" in written


@pytest.mark.parametrize("key", ["url", "file", "hf_hub_id", "hf_hub_filename", "source"])
def test_places_to_load_from_are_dropped(key):
    config = config_from_json({**TINY, "pretrained_cfg": {key: "https://elsewhere"}})
    assert "elsewhere" not in json.dumps(config_to_json(config))


def test_label_descriptions_in_both_forms():
    labels = {"label_names": ["a", "b"], "label_descriptions": {"b": "Bee", "a": "Ay"}}
    assert config_from_json({**TINY, **labels}).class_descriptions == ("Ay", "Bee")
    labels["label_descriptions"] = ["Ay", "Bee"]
    assert config_from_json({**TINY, **labels}).class_descriptions == ("Ay", "Bee")
    assert config_from_json({**TINY, "labels": ["a", "b"]}).class_names == ("a", "b")


@pytest.mark.parametrize(
    "content",
    [
        [],
        5,
        None,
        {},
        {"architecture": "resnet18"},
        {"num_classes": 2},
        {**TINY, "architecture": 5},
        {**TINY, "architecture": ["resnet18"]},
        {**TINY, "num_classes": "2"},
        {**TINY, "num_classes": True},
        {**TINY, "num_classes": 2.0},
        {**TINY, "num_classes": -1},
        {**TINY, "num_classes": 10**30},
        {**TINY, "label_names": ["a"]},
        {**TINY, "label_names": "ab"},
        {**TINY, "label_names": [1, 2]},
        {**TINY, "label_names": {"0": "a", "5": "b"}},
        {**TINY, "pretrained_cfg": []},
        {**TINY, "pretrained_cfg": None},
        {**TINY, "pretrained_cfg": {"custom_load": "hf"}},
        {**TINY, "pretrained_cfg": {"crop_mode": "fit"}},
        {**TINY, "pretrained_cfg": {"crop_pct": "0.9"}},
        {**TINY, "pretrained_cfg": {"crop_pct": 0}},
        {**TINY, "pretrained_cfg": {"crop_pct": 10**400}},
        {**TINY, "pretrained_cfg": {"test_crop_pct": 0}},
        {**TINY, "pretrained_cfg": {"interpolation": "lanczos"}},
        {**TINY, "pretrained_cfg": {"interpolation": None}},
        {**TINY, "pretrained_cfg": {"input_size": [224, 224]}},
        {**TINY, "pretrained_cfg": {"input_size": [3, 224.0, 224]}},
        {**TINY, "pretrained_cfg": {"input_size": [3, 1, 10**9]}},
        {**TINY, "pretrained_cfg": {"input_size": [4, 8, 8]}},
        {**TINY, "pretrained_cfg": {"mean": [0.5, 0.5]}},
        {**TINY, "pretrained_cfg": {"mean": 0.5}},
        {**TINY, "pretrained_cfg": {"mean": [10**400, 0, 0]}},
        {**TINY, "pretrained_cfg": {"std": [0, 1, 1]}},
        {**TINY, "pretrained_cfg": {"tag": 5}},
    ],
    ids=lambda content: json.dumps(content)[-50:],
)
def test_configs_that_cannot_be_honoured(tmp_path, content):
    with pytest.raises(IncompatibleError, match=r"config\.json: "):
        read_config(config_file(tmp_path, content))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"architecture": "resnet18", "num_classes": NaN}',
        '{"architecture": "resnet18", "num_classes": -Infinity}',
        '{"architecture": "resnet18", "architecture": "resnet50", "num_classes": 2}',
        '{"a": {"b": 1, "b": 2}}',
        "[" * 200_000,
        '{"a":' * 100_000,
        '{"architecture": "resnet18", "num_classes": ' + "1" * 5000 + "}",
        b"\xff\xfe{}",
        b"\x80\x04\x95",  # a pickle
    ],
    ids=lambda text: repr(text[:30]),
)
def test_configs_that_are_no_json(tmp_path, text):
    with pytest.raises(IntegrityError, match=r"config\.json is not valid JSON"):
        read_config(config_file(tmp_path, text))


def test_config_that_is_too_large(tmp_path):
    path = tmp_path / "config.json"
    with open(path, "wb") as file:
        file.truncate(2**31)  # sparse: nothing is read
    with pytest.raises(IntegrityError, match="at most 8,388,608"):
        read_config(tmp_path)


def test_folders_without_a_config(tmp_path):
    with pytest.raises(NotFoundError, match="no such folder"):
        read_config(tmp_path / "nosuch")
    with pytest.raises(NotFoundError, match=r"has no config\.json"):
        read_config(tmp_path)
    (tmp_path / "config.json").mkdir()
    with pytest.raises(NotFoundError, match=r"has no config\.json"):
        read_config(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "5", "null", "\ud800"])
def test_local_facts_of_a_damaged_file(tmp_path, text):
    path = tmp_path / "checkpoints" / "local.json"
    path.parent.mkdir()
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert local_facts(tmp_path) == {}
