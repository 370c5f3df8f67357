"""`rezoo plugin new`, `list` and `check`: a new package works, and what is wrong is named."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest
import yaml

from conftest import fails
from plugin_site import add_distribution, install_package
from rezoo import registry
from rezoo.errors import PluginError, ResourceError, SpecError
from rezoo.testing.new_package import NEW_KINDS, write_package

GROUPS = {
    "architecture": "rezoo.architectures",
    "dataset": "rezoo.datasets",
    "recipe": "rezoo.recipes",
}


@pytest.mark.parametrize("kind", NEW_KINDS)
def test_new_package_is_complete(tmp_path, kind):
    made = write_package("my_thing", kind, tmp_path)
    assert made.folder == tmp_path / "rezoo-my-thing"
    found = {p.relative_to(made.folder).as_posix() for p in made.folder.rglob("*") if p.is_file()}
    assert found == set(made.files)
    (tmp_path / "site").mkdir()
    settings = install_package(made.folder, tmp_path / "site")
    project = settings["project"]
    assert project["name"] == "rezoo-my-thing"
    assert list(project["entry-points"]) == [GROUPS[kind]]
    assert list(project["entry-points"][GROUPS[kind]]) == ["my_thing"]
    assert project["dependencies"] == [f"rezoo>={version('rezoo')}"]
    assert "license" not in project  # the author chooses one
    assert "Private :: Do Not Upload" in project["classifiers"]
    assert "No licence has been chosen" in (made.folder / "LICENSE").read_text()
    for path in made.folder.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text()))
    unfilled = {p.name for p in made.folder.rglob("*") if p.is_file() and "{{" in p.read_text()}
    assert unfilled == {"test.yml"}  # GitHub fills these


def test_workflow_pins_its_actions(tmp_path):
    made = write_package("tinynet", "architecture", tmp_path)
    jobs = yaml.safe_load((made.folder / ".github/workflows/test.yml").read_text())["jobs"]
    steps = jobs["test"]["steps"]
    used = [step["uses"].partition("@") for step in steps if "uses" in step]
    assert [action for action, _, _ in used] == ["actions/checkout", "actions/setup-python"]
    assert all(len(commit) == 40 for _, _, commit in used)
    assert steps[1]["with"]["python-version"] == "${{ matrix.python }}"


@pytest.mark.parametrize(
    ("name", "error", "message", "hint"),
    [
        ("My-Net", SpecError, "name: 'My-Net'; allowed are a-z", "for example my_net"),
        ("3net", SpecError, "first a letter", "for example net"),
        ("", SpecError, "name: ''", "choose another."),
        ("é", SpecError, "allowed are a-z", "choose another."),
        ("a.b", SpecError, "allowed are", "for example a_b"),
        ("../x", SpecError, "allowed are", "for example x"),
        ("a" * 51, SpecError, "at most 50 characters", "a" * 50),
        ("class", SpecError, "is a word of Python", "class_net"),
        ("rezoo-net", SpecError, "begins with rezoo", "rezoo plugin new net"),
        ("resnet50", PluginError, "rezoo 0.1.0 registers the architecture 'resnet50'", "another"),
    ],
)
def test_names_that_are_refused(tmp_path, name, error, message, hint):
    with pytest.raises(error) as refused:
        write_package(name, "architecture", tmp_path)
    assert message.replace("0.1.0", version("rezoo")) in refused.value.message
    assert hint in refused.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "name"), [("dataset", "digits"), ("recipe", "quick")])
def test_names_of_other_kinds_that_are_taken(tmp_path, kind, name):
    with pytest.raises(PluginError, match=name):
        write_package(name, kind, tmp_path)
    assert write_package(name, "architecture", tmp_path).folder.is_dir()  # another kind is free


def test_existing_files_are_kept(tmp_path):
    folder = tmp_path / "rezoo-tinynet"
    (folder / ".git").mkdir(parents=True)  # a repository that was cloned first
    write_package("tinynet", "architecture", tmp_path)
    mine = folder / "README.md"
    mine.write_text("mine")
    with pytest.raises(SpecError, match=r"rezoo-tinynet exists and has .*, …"):
        write_package("tinynet", "architecture", tmp_path)
    assert mine.read_text() == "mine"
    (tmp_path / "rezoo-other").write_text("a file")
    with pytest.raises(SpecError, match="rezoo-other exists"):
        write_package("other", "architecture", tmp_path)


@pytest.mark.usefixtures("not_root")
def test_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ResourceError):
        write_package("tinynet", "architecture", tmp_path)


def test_a_full_disk_leaves_no_half_package(full_disk):
    with open(full_disk / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(512)):
            pass
    with pytest.raises(ResourceError, match="no space left while writing"):
        write_package("tinynet", "architecture", full_disk)
    assert [path.name for path in full_disk.iterdir()] == ["filler"]


def test_plugins_are_listed_with_what_is_wrong(place, call):
    (place / "listed_good.py").write_text(
        "from rezoo.specs import DatasetSpec\ngood = DatasetSpec(name='good', open=list)\n"
    )
    (place / "listed_bad.py").write_text("import nosuch_module\n")
    add_distribution(place, "good-data", {"rezoo.datasets": {"good": "listed_good:good"}})
    add_distribution(place, "bad-net", {"rezoo.architectures": {"bad": "listed_bad:bad"}})
    add_distribution(place, "typo", {"rezoo.architecture": {"net": "listed_good:good"}})
    add_distribution(
        place,
        "newer",
        {"rezoo.recipes": {"late": "listed_good:good"}},
        requires=["rezoo>=99", "numpy"],
    )
    add_distribution(place, "thief", {"rezoo.datasets": {"digits": "listed_good:good"}})
    answer = call("plugin", "list", "--json")
    assert answer.rc == 0, answer.err
    rows = {row["name"]: row for row in json.loads(answer.out)["plugins"]}
    assert rows["good"] == {
        "name": "good",
        "kind": "dataset",
        "distribution": "good-data",
        "version": "1",
        "state": "loads",
        "reason": "",
    }
    reasons = {name: row["reason"] for name, row in rows.items() if row["state"] != "loads"}
    assert "No module named 'nosuch_module'" in reasons["bad"]
    assert "no group rezoo.architecture. Did you mean rezoo.architectures" in reasons["net"]
    assert f"newer 1 requires rezoo>=99; installed is rezoo {version('rezoo')}" in reasons["late"]
    assert "rezoo registers the dataset 'digits', too" in reasons["digits"]
    assert len(rows) == 5
    shown = call("plugin", "list").out
    assert "good-data 1" in shown
    assert "does not load: " in shown


@pytest.mark.ci  # two processes of half a second
def test_commands_load_nothing_heavy(tmp_path):
    """`plugin new` and `plugin list` do not start TensorFlow."""
    probe = (
        "import sys; from rezoo.cli.main import cli\n"
        "cli(sys.argv[1:], standalone_mode=False)\n"
        "assert not {'keras', 'tensorflow', 'numpy', 'pytest'} & set(sys.modules)"
    )
    for arguments in (["new", "tinynet"], ["list"]):
        command = [sys.executable, "-c", probe, "plugin", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert "no plugins; rezoo plugin new NAME writes one" in done.stdout


PYTEST = {
    "right": '@pytest.mark.rezoo("digits")\n',
    "bare": "",
    "wrong": '@pytest.mark.rezoo("digts")\n',
}


@pytest.mark.ci  # a process of pytest
def test_marker_of_pytest(tmp_path):
    """Each check is a test; a marker without a name, or with a wrong one, is an error."""
    for name, marker in PYTEST.items():
        code = f"import pytest\n\n{marker}def test_contract(rezoo_check): rezoo_check()\n"
        (tmp_path / f"test_{name}.py").write_text(code)
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "assert 'rezoo.testing.pytest_plugin' in sys.modules\n"
        "assert not {'keras', 'tensorflow', 'numpy'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "test_right.py::test_contract[digits: stateless order]" in done.stdout, done.stdout
    assert "test_bare.py::test_contract takes rezoo_check and names nothing" in done.stdout
    assert "is called 'digts', and none registers that name. Did you mean digits" in done.stdout
    assert "12 tests collected, 2 errors" in done.stdout


def test_names_that_nothing_registers(call):
    fails(call("plugin", "check", "resnt50"), 2, "'resnt50'", "Did you mean ", "resnet50")
    fails(call("plugin", "check", "qqqqqqq"), 2, "rezoo plugin list shows all")


def test_plugins_that_are_disabled(call, monkeypatch):
    monkeypatch.setenv(registry.DISABLE_VARIABLE, "1")
    assert "is set: no plugin is loaded" in call("plugin", "list").out
    fails(call("plugin", "check", "qqqqqqq"), 2, f"{registry.DISABLE_VARIABLE} is set")


@pytest.mark.slow
def test_checks_need_a_backend_of_rezoo(cli):
    fails(cli("plugin", "check", "digits", env={"KERAS_BACKEND": "torch"}), 6, "'torch'")


@pytest.mark.ci
def test_new_recipe_passes_its_check(place, tmp_path, call):
    install_package(write_package("faster", "recipe", tmp_path).folder, place)
    answer = call("plugin", "check", "faster")
    assert answer.rc == 0, answer.err
    assert "6 checks passed" in answer.out
    assert "faster" in call("list", "--recipes").out


@pytest.mark.slow
@pytest.mark.parametrize("kind", NEW_KINDS)
def test_new_package_is_checked_tested_and_trains(tmp_path, cli, kind):
    """What a reader does: new, install, check, its own tests, the command of its README."""
    made = write_package("mine", kind, tmp_path)
    site = tmp_path / "site"
    site.mkdir()
    install_package(made.folder, site)
    env = {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    checked = cli("plugin", "check", "rezoo-mine", env=env, timeout=600)
    assert checked.rc == 0, checked.err
    assert "checks passed" in checked.out
    assert "skipped" not in checked.out or "not installed" in checked.out
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    tested = subprocess.run(
        command, cwd=made.folder, env={**os.environ, **env}, capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stdout
    assert "failed" not in tested.stdout
    program, *arguments = made.command.split()
    assert program == "rezoo"
    trained = cli(*arguments, "--set", "image_size=8", env=env, timeout=600)
    assert trained.rc == 0, trained.err
