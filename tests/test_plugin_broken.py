"""Plugins that break the contract, one in each way, and what the check that finds it says."""

from __future__ import annotations

import sys
import textwrap

import pytest

from plugin_site import add_distribution
from rezoo import registry
from rezoo.errors import NetworkError, PluginError
from rezoo.testing import (
    check_architecture,
    contract,
    dataset_checks,
    network_checks,
    network_uses,
    recipe_checks,
)
from rezoo.testing.contract import FAILED, PASSED, SKIPPED, run
from rezoo.testing.subjects import named, subject_at
from test_guides import DOCS, blocks

GUIDE = DOCS / "guides" / "plugins.md"

NET = """
from rezoo.specs import ModelSpec

def build(*, name, input_shape, num_classes, classifier_activation{arguments}):
    import keras
    from rezoo.models import layers
    inputs = keras.Input(input_shape)
    x = layers.conv(inputs, 8, 3, stride=2, name="layer1.0.conv1")
    x = layers.relu(x, name="layer1.0.act1")
    {body}
    outputs = layers.classifier(x, num_classes, activation=classifier_activation)
    {end}
    return keras.Model(inputs, outputs, name=name)

mine = ModelSpec(name="mine", build=build, summary="s", source="s", family="f", image_size=16{spec})
"""
DATA = """
from rezoo.specs import DatasetSpec

def open_it():
    import numpy as np
    from rezoo.data.examples import Examples, Splits
    from rezoo.data.image_sources import ArraySource
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    labels = np.arange(40) % 2
    keys = [f"image {{i}}" for i in range(40)]
    names, split = ("cat", "dog"), "train"
    {body}
    parts = {{split: Examples(ArraySource(images, labels, keys))}}
    return Splits(parts=parts, class_names=names)

mine = DatasetSpec(name="mine", open=open_it, summary="s", classes=2, mean=(0.5,), std=(0.5,),
    image_size=8, {spec})
"""
LICENCE = 'licence="CC0-1.0"'


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """Install one module as a plugin, run one check of the name `mine`, and return its result."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def check(of, source, *, group="architectures", value="broken_one:mine", name="mine", **more):
        (site / "broken_one.py").write_text(textwrap.dedent(source))
        add_distribution(site, "broken", {f"rezoo.{group}": {name: value}}, **more)
        (found,) = named(f"broken:{name}")
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        return run(of, subject_at(*found, scratch))

    yield check
    sys.modules.pop("broken_one", None)
    registry._scan.cache_clear()
    registry.load.cache_clear()


def net(body="pass", *, end="pass", arguments="", spec=""):
    return NET.format(body=body, end=end, arguments=arguments, spec=spec)


def data(body="pass", *, spec=LICENCE):
    return DATA.format(body=body, spec=spec)


REGISTRATION = [
    ("import nosuch_module", {}, "No module named 'nosuch_module'"),
    ("mine = 5", {}, "is a int, not a rezoo.specs.ModelSpec"),
    (net(), {"value": "broken_one:yours"}, "has no attribute 'yours'"),
    (net(), {"requires": ["rezoo>=99"]}, "requires rezoo>=99; installed is rezoo "),
    (net(), {"name": "My.Net"}, "'My.Net' is not a name: use a-z"),
    (net(), {"name": "resnet18"}, "rezoo registers the architecture 'resnet18', too"),
]


@pytest.mark.parametrize(("source", "options", "reason"), REGISTRATION)
def test_what_does_not_load(checked, source, options, reason):
    result = checked(contract.registration, source, **options)
    assert (result.outcome, reason in result.text) == (FAILED, True), result
    assert ("Traceback" in result.trace) == ("No module" in reason or "attribute" in reason)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (f"import numpy\n{net()}", "imports numpy, and `rezoo list` imports it"),
        (f"print('hello')\n{net()}", "it prints when it is imported: 'hello'"),
    ],
)
@pytest.mark.ci  # each is a process
def test_imports_that_cost(checked, source, reason):
    result = checked(contract.import_cost, source)
    assert (result.outcome, reason in result.text) == (FAILED, True), result


DENSE = "keras.layers.Dense(num_classes or 3, name='{}')(keras.layers.Flatten()(x))"
NETWORKS = [
    ("build", net(arguments=", depth"), "build requires depth: add config"),
    ("build", net(spec=", config={'depth': 3}"), "build has no argument 'depth'"),
    ("build", net(end="return 7"), "build returned a int, not a keras.Model"),
    ("build", net(end="outputs = x"), "the output has the shape (None, None, None, 8)"),
    ("build", net(end="outputs = [outputs, x]"), "1 inputs and 2 outputs, not one"),
    ("metadata", net().replace('source="s"', 'source=""'), "has no source"),
    ("metadata", net().replace('summary="s"', 'summary="s\\nt"'), "more than one line"),
    ("metadata", net().replace('name="mine"', 'name="yours"'), "called 'yours' and registered"),
    ("metadata", net().replace("image_size=16", "image_size=0"), "image_size is 0"),
    ("counts", net(spec=", params=1"), "params is 1; the network has 9,216"),
    ("counts", net(spec=", macs=5"), "macs is 5; the network has "),
    (
        "tensor_names",
        net("x = keras.layers.Conv2D(8, 3)(x)"),
        "in one build and conv2d",
    ),
    (
        "tensor_names",
        net("x = keras.layers.DepthwiseConv2D(3, name='dw')(x)"),
        "the filters of dw have another layout than PyTorch's",
    ),
    (
        "tensor_names",
        net(end=f"outputs = {DENSE.format('top')}").replace("input_shape)", "(16, 16, 3))"),
        "no layer is called 'fc' or 'head.fc'",
    ),
    (
        "shapes",
        net("x = layers.norm(x, name='bn1')").replace(
            "name='bn1')", "name='bn1'); x = x * keras.ops.mean(x, axis=0, keepdims=True)"
        ),
        "depend on the other images of its batch",
    ),
    ("shapes", net("x = keras.ops.log(-keras.ops.abs(x) - 1.0)"), "a logit is not finite"),
    (
        "shapes",
        net(end="outputs = keras.ops.cast(outputs, 'float16')"),
        "the logits are float16, not float32",
    ),
    (
        "classes",
        net(end="outputs = outputs if num_classes else x"),
        "num_classes=0 gives the shape",
    ),
    (
        "classes",
        net("if not num_classes: x = x * 2"),
        "does not give the features that the head reads",
    ),
    (
        "classes",
        net(end="classifier_activation = None").replace(
            "activation=classifier_activation", "activation=None"
        ),
        "does not give the softmax",
    ),
    (
        "determinism",
        net().replace(
            "x = layers.relu",
            "import os; from keras.initializers import RandomNormal; x = keras.layers.Conv2D(8, 1, "
            "kernel_initializer=RandomNormal(seed=int.from_bytes(os.urandom(3))), name='c2')(x)\n"
            "    x = layers.relu",
        ),
        "c2.weight is random whatever the seed is",
    ),
    (
        "gradients",
        net().replace(
            "x = layers.relu",
            "x = keras.layers.Lambda(keras.ops.stop_gradient)(x)\n    x = layers.relu",
        ),
        "has no gradient",
    ),
    (
        "stochastic_depth",
        net(arguments=", stochastic_depth=0.0, seed=0"),
        "training drops no branch",
    ),
    (
        "mixed_precision",
        net()
        .replace(
            "layers.conv(inputs, 8, 3, stride=2,", "keras.layers.Conv2D(8, 3, dtype='float32',"
        )
        .replace('conv1")', 'conv1")(inputs)'),
        "no layer computes in bfloat16",
    ),
]


@pytest.mark.ci
@pytest.mark.parametrize(("check", "source", "reason"), NETWORKS)
def test_networks_that_break_the_contract(checked, check, source, reason):
    of = getattr(network_checks, check, None) or getattr(network_uses, check)
    result = checked(of, source)
    assert (result.outcome, reason in result.text) == (FAILED, True), result


@pytest.mark.ci
@pytest.mark.parametrize("check", ["build", "counts", "tensor_names", "shapes", "classes"])
def test_network_without_the_faults_passes(checked, check):
    result = checked(getattr(network_checks, check), net())
    assert result.outcome == PASSED, result


@pytest.mark.ci
@pytest.mark.parametrize("check", ["metadata", "licence", "splits", "labels", "keys", "images"])
def test_dataset_without_the_faults_passes(checked, check):
    result = checked(getattr(dataset_checks, check), data(), group="datasets")
    assert result.outcome == PASSED, result


def test_backend_that_is_not_installed(checked, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = checked(network_uses.other_backend, net())
    assert result.outcome == SKIPPED
    assert "is not installed: pip install 'rezoo[" in result.text


DATASETS = [
    ("opening", data().replace("return Splits", "return 5 or Splits"), "returned a int, not"),
    ("opening", data("names = ('a_b', 'A B')"), "differ only in case, blanks or _"),
    ("metadata", data(spec=f"{LICENCE}, recipe='quik'"), "unknown recipe 'quik'"),
    ("metadata", data(spec=f"{LICENCE}, overrides={{'lr': 1}}"), "unknown recipe key 'lr'"),
    ("metadata", data(spec=f"{LICENCE}, val_fraction=2.0"), "val_fraction is 2.0"),
    ("licence", data(spec=""), "licence is 'unknown': state what"),
    ("licence", data(spec="shareable=True"), "licence is 'unknown' and shareable=True"),
    ("splits", data("split = 'training'"), "a split is called 'training'"),
    ("splits", data("split = 'val'"), "there is no split 'train'"),
    ("class_names", data("names = ('cat', 'dog', 'eel')"), "states 2 classes; there are 3 names"),
    ("opening", data("names = ('cat', 'cat')"), "classes 'cat' and 'cat' differ only in case"),
    ("labels", data("labels = labels + 1"), "has the label 2; a label is"),
    ("labels", data("labels = labels * 0"), "no training image has the class 'dog'"),
    ("keys", data("keys = ['image'] * 40"), "the key 'image' of train is twice"),
    ("images", data("images = images / 255.0"), "an image of train is float64"),
    ("images", data("images = images.repeat(3, -1)"), "have 3 channels; mean and std have 1"),
    (
        "same_each_time",
        data("images = np.random.default_rng().integers(0, 9, (40, 8, 8, 1)).astype(np.uint8)"),
        "images of train are others at a second opening",
    ),
    (
        "same_each_time",
        data("keys = list({f'image {i}' for i in range(40)})"),
        "keys or labels of train are others in another process",
    ),
]


@pytest.mark.ci
@pytest.mark.parametrize(("check", "source", "reason"), DATASETS)
def test_datasets_that_break_the_contract(checked, check, source, reason):
    result = checked(getattr(dataset_checks, check), source, group="datasets")
    assert (result.outcome, reason in result.text) == (FAILED, True), result


def test_a_missing_network_is_no_fault_of_the_data(checked):
    body = "from rezoo.errors import NetworkError; raise NetworkError('no route')"
    with pytest.raises(NetworkError, match="no route"):
        checked(dataset_checks.opening, data(body), group="datasets")


def test_data_that_end_the_program(checked):
    result = checked(dataset_checks.opening, data("raise SystemExit(3)"), group="datasets")
    assert (result.outcome, result.text) == (FAILED, "SystemExit: 3")


RECIPE = """
from pathlib import Path
mine = Path(__file__).with_name("mine.toml")
mine.write_text({text!r})
"""
GOOD = 'name = "mine"\nsummary = "s"\nsource = "s"\n'
RECIPES = [
    ("values", GOOD + "lr = 1\n", "unknown recipe key 'lr'"),
    ("values", GOOD + "epochs = 0\n", "recipe key epochs = 0"),
    ("values", "= 1", "not valid TOML"),
    ("description", 'name = "mine"\n', "has no summary and no source"),
    ("description", GOOD.replace("mine", "other"), "called 'other' and registered as 'mine'"),
    (
        "claim",
        GOOD + '[claim]\ndataset = "digits"\ntop1 = { resnet51 = 0.5 }\n',
        "unknown model 'resnet51'",
    ),
    (
        "claim",
        GOOD + '[claim]\ndataset = "digits"\ntop1 = { resnet18 = 0.5 }\n',
        "the claim has no cost",
    ),
]


@pytest.mark.parametrize(("check", "text", "reason"), RECIPES)
def test_recipes_that_break_the_contract(checked, check, text, reason):
    source = RECIPE.format(text=text)
    result = checked(getattr(recipe_checks, check), source, group="recipes")
    assert (result.outcome, reason in result.text) == (FAILED, True), result


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("mine = 'mine.toml'", "is a str, not a "),
        (
            "from pathlib import Path\nmine = Path('/nosuch.toml')",
            "is not in the installed package",
        ),
    ],
)
def test_recipe_without_a_file(checked, source, reason):
    result = checked(recipe_checks.values, source, group="recipes")
    assert (result.outcome, reason in result.text) == (FAILED, True), result


@pytest.mark.ci
def test_the_guides_module_for_a_folder_of_photographs(checked, photographs):
    """Without mean and std the files are read in colour; the mean of the stripes means grey."""
    (source,) = [text for text in blocks(GUIDE, "python") if "open_folder" in text]
    source = source.replace("/data/birds", str(photographs({"robin": 5, "tit": 5, "wren": 5})))
    result = checked(
        dataset_checks.images, source, group="datasets", value="broken_one:birds", name="birds"
    )
    assert (result.outcome, "read in colour" in result.text) == (PASSED, True), result


WEIGHTS = '[[weights]]\narch = "resnet18"\ntag = "x"\nrepo = "a/b"\nlicence = "mit"\n'
CATALOGUES = [
    ("entries", "", "has no [[weights]]"),
    ("entries", WEIGHTS + "sha = 5\n", "unknown key 'sha'"),
    ("networks", WEIGHTS.replace("resnet18", "resnet51"), "unknown model 'resnet51'"),
    ("licences", WEIGHTS.replace("mit", "unknown"), "the licence of resnet18.x is not stated"),
]


@pytest.mark.parametrize(("check", "text", "reason"), CATALOGUES)
def test_catalogues_that_break_the_contract(checked, check, text, reason):
    source = RECIPE.format(text=text)
    result = checked(getattr(recipe_checks, check), source, group="catalogues")
    assert (result.outcome, reason in result.text) == (FAILED, True), result


@pytest.mark.ci
def test_command_shows_the_traceback_and_ends_with_7(checked, call):
    checked(contract.registration, "def helper():\n    raise RuntimeError('no luck')\nhelper()\n")
    answer = call("plugin", "check", "mine")
    assert answer.rc == 7
    assert "FAILED  registration" in answer.out
    assert 'broken_one.py", line 2, in helper' in answer.err
    assert "mine, architecture of broken 1 fails 1 of 1 checks: registration" in answer.err


def test_function_raises_with_all_reasons(checked):
    checked(contract.registration, "mine = 5")
    with pytest.raises(PluginError, match=r"mine fails 1 of 1 checks: registration: .*is a int"):
        check_architecture("mine")
