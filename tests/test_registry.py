"""Names of third parties: distributions with entry points, sound ones and broken ones."""

from __future__ import annotations

import json
import signal
import sys
import warnings
import zipfile

import pytest

from conftest import fails, start
from rezoo import registry
from rezoo.errors import PluginError, PluginWarning, UnknownNameError
from rezoo.models.factory import create_model
from rezoo.sources.references import resolve
from rezoo.sources.selection import list_models

GOOD = """
from rezoo.specs import ModelSpec

def build(*, name, input_shape, num_classes, classifier_activation, width):
    import keras

    inputs = keras.Input(input_shape)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(width, 3, name="conv")(inputs))
    outputs = keras.layers.Dense(num_classes, classifier_activation, name="fc")(x)
    return keras.Model(inputs, outputs, name=name)

tiny = ModelSpec(name="tiny", build=build, config={"width": 4}, summary="a tiny net")
"""
BROKEN = {
    "raises": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "misses": ("import a_module_that_is_not_there", "a_module_that_is_not_there"),
    "garbles": ("def f(:", "SyntaxError"),
    "lacks": ("other = 1", "has no attribute 'net'"),
    "errs": ("net = 5", "is a int, not a rezoo.specs.ModelSpec"),
    "fakes": (
        "from rezoo.specs import DatasetSpec; net = DatasetSpec(name='net', open=list)",
        "is a DatasetSpec, not a rezoo.specs.ModelSpec",
    ),
}


@pytest.fixture
def install(place):
    """Write a distribution: its metadata, one entry point, one module."""

    def write(distribution, name, *, code=GOOD, attribute="tiny", group="architectures", version=1):
        module = f"{distribution.replace('-', '_')}_{name}"
        (place / f"{module}.py").write_text(code)
        info = place / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        with open(info / "entry_points.txt", "a") as file:
            file.write(f"[rezoo.{group}]\n{name} = {module}:{attribute}\n")
        registry._scan.cache_clear()
        return info

    return write


def test_plugin_is_like_a_built_in(install):
    install("someones-nets", "tiny")
    assert "tiny" in list_models()
    spec = registry.architectures.get("tiny")
    assert (spec.name, spec.summary) == ("tiny", "a tiny net")
    assert registry.architectures.get("someones-nets:tiny") is spec
    assert registry.architectures.get("Someones_Nets:tiny") is spec
    assert registry.architectures.find("tiny").builtin is False
    model = create_model("tiny", num_classes=3, input_shape=(8, 8, 1))
    assert model.output_shape == (None, 3)
    assert resolve("tiny").config.architecture == "tiny"


def test_names_are_known_without_an_import(install):
    install("bad", "boom", code="raise RuntimeError", attribute="net")
    assert "boom" in registry.architectures.names()
    assert "bad_boom" not in sys.modules


def test_near_names_include_plugins(install):
    install("someones-nets", "tinynet")
    with pytest.raises(UnknownNameError) as caught:
        registry.architectures.get("tinynte")
    assert caught.value.hint.startswith("Did you mean tinynet?")


def test_plugin_dataset(install):
    code = "from rezoo.specs import DatasetSpec\nd = DatasetSpec(name='mine', open=lambda: None)"
    install("mine", "mine", code=code, attribute="d", group="datasets")
    from rezoo.data.datasets import load_dataset

    with pytest.raises(PluginError, match=r"open returned a NoneType, not rezoo.data.examples"):
        load_dataset("mine")


def test_build_that_breaks_the_contract(install):
    code = "from rezoo.specs import ModelSpec\nnet = ModelSpec(name='odd', build=lambda **k: 7)"
    install("odd", "odd", code=code, attribute="net")
    with pytest.raises(PluginError, match="build returned a int"):
        create_model("odd")


def test_plugin_that_registers_a_class_of_rezoo_with_keras(install):
    import keras

    code = (
        f"{GOOD}import keras\n"
        "@keras.saving.register_keras_serializable(package='rezoo', name='FusedBatchNorm')\n"
        "class Mine(keras.layers.Layer): pass\n"
    )
    install("usurps", "tiny", code=code)
    before = dict(keras.saving.get_custom_objects())
    try:
        with pytest.raises(PluginError, match="usurps_tiny registers 'rezoo>FusedBatchNorm'"):
            create_model("tiny")
    finally:
        keras.saving.get_custom_objects().clear()
        keras.saving.get_custom_objects().update(before)
    assert create_model("tiny").count_params() > 0


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_plugin_spoils_only_itself(install, kind):
    code, reason = BROKEN[kind]
    install("bad", kind, code=code, attribute="net")
    with pytest.raises(PluginError) as caught:
        registry.architectures.get(kind)
    assert "plugin bad 1" in str(caught.value)
    assert reason in str(caught.value)
    assert "pip uninstall bad" in caught.value.hint
    assert registry.architectures.get("resnet18").name == "resnet18"
    with pytest.warns(PluginWarning, match="plugin bad 1") as seen:
        described = {entry.name: spec for entry, spec in registry.architectures.describe()}
    assert len(seen) == 1
    assert described[kind] is None
    assert described["resnet50"] is not None


def test_command_line_with_broken_plugins(install, place, cli):
    for kind, (code, _) in BROKEN.items():
        install(f"bad-{kind}", kind, code=code, attribute="net")
    install("chatty", "tiny", code=f"print('buy my net')\n{GOOD}")
    env = {"PYTHONPATH": str(place)}
    answer = cli("list", "--json", env=env)
    assert answer.rc == 0
    rows = {row["name"]: row for row in json.loads(answer.out)["models"]}
    assert rows["resnet50"]["summary"] == "50 layers"
    assert rows["tiny"]["from"] == "chatty 1"
    lines = answer.err.splitlines()
    assert all(line.startswith("Warning: ") for line in lines)
    for kind in BROKEN:
        assert rows[kind]["summary"] == "does not load"
        assert len([line for line in lines if f"plugin bad-{kind} 1" in line]) == 1
    assert len([line for line in lines if "chatty" in line]) == 1
    assert len(lines) == len(BROKEN) + 1
    fails(cli("info", "exits", env=env), 7, "plugin bad-exits 1", "SystemExit: 3")
    off = cli("list", "--json", env={**env, "REZOO_DISABLE_PLUGINS": "1"})
    assert off.err == ""
    assert not {*BROKEN, "tiny"} & {row["name"] for row in json.loads(off.out)["models"]}


def test_plugin_that_writes_past_python(install, place, cli):
    """C libraries write to the file descriptor; `--json` stays pure all the same."""
    install("chatty", "tiny", code=f"import os\nos.write(1, b'hello\\n')\n{GOOD}")
    json.loads(cli("list", "--json", env={"PYTHONPATH": str(place)}).out)


@pytest.mark.slow  # waits five seconds, in two processes
@pytest.mark.parametrize("command", [["list", "--models"], ["plugin", "list"]])
def test_an_import_that_never_ends_is_named_and_can_be_stopped(install, place, command):
    install("sleepy", "net", code="import time\ntime.sleep(1000)\n")
    with start(*command, env={"PYTHONPATH": str(place)}) as process:
        try:
            line = process.stderr.readline()
            assert line.startswith("Warning: the import of plugin sleepy 1 takes more than 5 s; ")
            assert "Ctrl-C ends it, and REZOO_DISABLE_PLUGINS=1 leaves plugins out" in line
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out, err.strip()) == (130, "", "Interrupted.")


def test_one_name_twice(install, place, cli):
    install("one", "tiny")
    install("two", "tiny")
    owners = "(one 1 and two 1|two 1 and one 1)"  # in the file system's order
    with pytest.raises(PluginError, match=f"'tiny' is registered twice, by {owners}"):
        registry.architectures.get("tiny")
    assert registry.architectures.get("two:tiny").build.__module__ == "two_tiny"
    assert registry.architectures.names().count("tiny") == 1
    env = {"PYTHONPATH": str(place)}
    fails(cli("info", "tiny", env=env), 7, "one 1", "two 1", "Hint: name one of them: ", ":tiny")
    answer = cli("list", "--json", env=env)
    claims = {r["from"] for r in json.loads(answer.out)["models"] if r["name"] == "tiny"}
    assert claims == {"one 1", "two 1"}
    assert "two registers the model 'tiny', which is also registered by one" in answer.err


def test_built_in_cannot_be_replaced(install, place, cli):
    install("evil", "resnet18")
    assert registry.architectures.get("resnet18").family == "resnet"
    assert registry.architectures.get("evil:resnet18").name == "tiny"
    answer = cli("list", env={"PYTHONPATH": str(place)})
    (line,) = answer.err.splitlines()
    assert line.startswith("Warning: evil registers the model 'resnet18', which is rezoo's own")
    assert "evil:resnet18" in line


@pytest.mark.parametrize(("value", "seen"), [("1", False), ("yes", False), ("0", True), ("", True)])
def test_plugins_switched_off(install, monkeypatch, value, seen):
    install("someones-nets", "tiny")
    monkeypatch.setenv(registry.DISABLE_VARIABLE, value)
    assert ("tiny" in registry.architectures.names()) == seen
    assert "resnet18" in registry.architectures.names()


def test_stale_and_doubled_distributions(install, place, monkeypatch):
    install("someones-nets", "tiny")
    stale = place / "gone-1.dist-info"  # a folder that uninstalling left behind
    stale.mkdir()
    (stale / "entry_points.txt").write_text("[rezoo.architectures]\nghost = gone:net\n")
    install("someones-nets", "tiny", version=2)  # an update that left the old one behind
    monkeypatch.setattr(sys, "path", [str(place), str(place), *sys.path, str(place)])
    registry._scan.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.architectures.get("tiny").name == "tiny"
    assert "ghost" not in registry.architectures.names()


def test_a_plugin_in_a_zip_archive(place, monkeypatch):
    archive = place / "plugin.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped_net.py", GOOD)
        metadata = "Metadata-Version: 2.1\nName: zipped\nVersion: 1\n"
        file.writestr("zipped-1.dist-info/METADATA", metadata)
        entry = "[rezoo.architectures]\ntiny = zipped_net:tiny\n"
        file.writestr("zipped-1.dist-info/entry_points.txt", entry)
    monkeypatch.syspath_prepend(str(archive))
    registry._scan.cache_clear()
    assert registry.architectures.get("tiny").name == "tiny"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("entry_points.txt", b"[rezoo.architectures]\nno equals sign\n"),
        ("entry_points.txt", b"net = outside:section\n"),
        ("entry_points.txt", b"[rezoo.architectures]\nnet = not a reference\n"),
        ("entry_points.txt", b"[rezoo.architectures]\nn\xe9t = x:y\n"),
        ("METADATA", b""),
        ("METADATA", b"Name: \xff\xfe\n"),
        ("METADATA", b"Name: only\n"),
    ],
)
@pytest.mark.filterwarnings("ignore::rezoo.errors.PluginWarning")
def test_damaged_metadata_spoils_only_itself(install, file, content):
    info = install("damaged", "tiny")
    (info / file).write_bytes(content)
    registry._scan.cache_clear()
    assert registry.architectures.get("resnet18").name == "resnet18"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        names = [entry.name for entry, spec in registry.architectures.describe() if spec]
    assert "resnet152" in names


def test_config_never_imports_what_it_names(tmp_path, place):
    (place / "payload.py").write_text("raise SystemExit")
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "config.json").write_text('{"architecture": "payload:net", "num_classes": 2}')
    with pytest.raises(UnknownNameError, match="payload:net"):
        create_model(resolve(str(folder)).config.architecture)
    assert "payload" not in sys.modules
