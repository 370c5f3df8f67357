"""What runs on GitHub: pinned actions, least permissions, no text of strangers in scripts."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hub_fixtures import TOKEN
from hub_stand_in import StandIn

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# What a job may have besides reading: nothing else may be written.
MAY_WRITE = {
    "release.yml attest": {"id-token", "attestations"},
    "release.yml pypi": {"id-token"},
    "release.yml github": {"contents"},
    "docs.yml deploy": {"pages", "id-token"},
}

pytestmark = pytest.mark.skipif(not FILES, reason="only in a copy of the repository")


def jobs():
    """Yield the name, `FILE JOB`, and the content of each job."""
    for file in FILES:
        for name, job in yaml.safe_load(file.read_text())["jobs"].items():
            yield f"{file.name} {name}", job


def test_actions_are_pinned_to_one_commit_each_with_its_version():
    pins: dict[str, set[tuple[str, str]]] = {}
    for file in FILES:
        for line in re.findall(r"uses: *(.+)", file.read_text()):
            match = re.fullmatch(r"([\w-]+/[\w-]+)@([0-9a-f]{40})  # (v\d+\.\d+\.\d+)", line)
            assert match, f"{file.name}: {line}"
            pins.setdefault(match[1], set()).add((match[2], match[3]))
    assert len(pins) > 5
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}


def test_each_job_states_its_permissions_and_few_write():
    writing = {}
    for name, job in jobs():
        rights = job["permissions"].items()
        assert {level for _, level in rights} <= {"read", "write"}, name
        if written := {scope for scope, level in rights if level == "write"}:
            writing[name] = written
        assert 0 < job["timeout-minutes"] <= 360, name
    assert writing == MAY_WRITE
    for file in FILES:
        assert yaml.safe_load(file.read_text())["permissions"] == {}, file.name


def test_scripts_take_values_from_variables_and_files_that_exist():
    seen = set()
    for name, job in jobs():
        for step in job["steps"]:
            script = step.get("run", "")
            assert "${{" not in script, name
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False, name
            seen |= {*re.findall(r"(?<![\w/])\.ci/[\w.]+|[\w.]+\.lock\b", script)}
    assert ".ci/run" in seen
    assert {path for path in seen if not (ROOT / path).is_file()} == set()


def test_the_jobs_that_publish_wait_for_those_that_check():
    release = {name.split()[1]: job for name, job in jobs() if name.startswith("release")}

    def before(name):
        needed = release[name].get("needs", [])
        needed = [needed] if isinstance(needed, str) else needed
        return {*needed, *(earlier for one in needed for earlier in before(one))}

    assert before("pypi") >= {"build", "use", "sbom", "attest"}
    assert before("github") >= {"pypi"}
    builders = [name for name, job in release.items() if "package.py build" in str(job["steps"])]
    assert builders == ["build"]  # all other jobs take its files
    pythons = release["use"]["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.12", "3.13"]


@pytest.mark.ci
def test_zizmor_finds_nothing():
    zizmor = shutil.which("zizmor", path=Path(sys.executable).parent) or shutil.which("zizmor")
    if not zizmor:
        pytest.skip("zizmor is not installed: pip install --group lint")
    command = [zizmor, "--offline", "--quiet", "--no-progress", "--format", "plain", ".github"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def weights_steps():
    """Return the scripts of the workflow that trains and publishes."""
    (job,) = [job for name, job in jobs() if name == "weights.yml train"]
    return {step["name"]: step["run"] for step in job["steps"] if "name" in step}


@pytest.mark.ci
def test_a_claim_without_the_architecture_is_refused_before_training(tmp_path):
    command = [sys.executable, ROOT / ".ci" / "claim.py", "sprint", "resnet18", "--output", "x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "sprint claims wide_resnet8, not resnet18" in done.stderr
    assert list(tmp_path.iterdir()) == []


RECIPE = """
image_size = 8
epochs = {epochs}
batch_size = 128
learning_rate = 0.05

[claim]
dataset = "digits"
top1 = {{ test_resnet = {top1} }}
tolerance = 0.0
tta = "flip"
"""


@pytest.mark.slow
@pytest.mark.parametrize(("top1", "holds"), [(0.02, True), (0.999, False)])
def test_a_claim_that_holds_is_published_and_another_is_not(tmp_path, top1, holds):
    """The workflow's own commands train, check and push to a stand-in of the Hub."""
    place = tmp_path / "bin"
    place.mkdir()
    for name, what in {"python": "", "rezoo": "-m rezoo "}.items():
        (place / name).write_text(f'#!/bin/sh\nexec {sys.executable} {what}"$@"\n')
        (place / name).chmod(0o755)
    (tmp_path / ".ci").symlink_to(ROOT / ".ci")
    (tmp_path / "mine.toml").write_text(RECIPE.format(epochs=1, top1=top1))
    steps = weights_steps()
    script = "\n".join(["set -e", steps["Train and check"], steps["Publish"]])
    given = {"RECIPE": "mine.toml", "ARCHITECTURE": "test_resnet", "REPOSITORY": "me/digits"}
    with StandIn() as hub:
        hub.tokens = {TOKEN: "write"}
        env = {**os.environ, **hub.env(tmp_path / "hf"), "HF_TOKEN": TOKEN, **given}
        env |= {"PATH": f"{place}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert ("the claim holds" in done.stdout) == holds, done.stderr
        assert ("the claim does not hold" in done.stderr) != holds
        assert (done.returncode == 0) == holds, done.stderr
        assert ("me/digits" in hub.repositories) == holds
        if holds:
            files = hub.files("me/digits")
            assert {"model.safetensors", "config.json", "README.md", "metrics.json"} <= {*files}
            assert "test" in json.loads(files["metrics.json"])
