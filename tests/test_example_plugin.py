"""The example of the plugin guide: installed as a distribution, listed, trained."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"


@pytest.fixture
def site(tmp_path):
    """A folder as pip would leave it: the package and its dist-info, without pip's network."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    shutil.copytree(EXAMPLE / "src", tmp_path, dirs_exist_ok=True)
    info = tmp_path / f"rezoo_plugin_example-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text("\n".join(groups))
    return tmp_path


@pytest.mark.ci
def test_example_plugin_is_listed_and_trains(cli, site, tmp_path):
    env = {"PYTHONPATH": str(site)}
    listed = json.loads(cli("list", "--json", env=env).out)
    mine = {
        row["name"] for kind in listed.values() for row in kind if "example" in row.get("from", "")
    }
    assert mine == {"tinynet", "stripes"}
    folder = tmp_path / "run"
    options = ("--epochs", "1", "--json", "--output", str(folder))
    trained = cli("train", "tinynet", "--dataset", "stripes", *options, env=env)
    assert trained.rc == 0, trained.err
    assert json.loads(trained.out)["architecture"] == "tinynet"
    measured = cli("eval", str(folder), "--json", env=env)
    assert measured.rc == 0, measured.err
    off = cli("info", "tinynet", env={**env, "REZOO_DISABLE_PLUGINS": "1"})
    assert off.rc == 2
