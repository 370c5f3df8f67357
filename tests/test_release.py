"""The files of a release: what is in them, and links that the page of an index can show."""

import runpy
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / ".ci" / "package.py"
ADDRESS = "https://git.example/owner/rezoo"

pytestmark = pytest.mark.skipif(not PACKAGE.is_file(), reason="only in a copy of the repository")


@pytest.fixture(scope="module")
def package():
    return runpy.run_path(str(PACKAGE))


@pytest.fixture
def metadata(monkeypatch):
    """The functions that the build backend calls."""
    pytest.importorskip("hatchling", reason="pip install --group lint")
    for name in ("REZOO_REPOSITORY", "REZOO_SITE"):
        monkeypatch.delenv(name, raising=False)
    return runpy.run_path(str(ROOT / ".ci" / "metadata.py"))


LINKS = {
    "[a](docs/a.md)": "[a](ADDRESS/blob/v1/docs/a.md)",
    "[a](docs/a.md#b)": "[a](ADDRESS/blob/v1/docs/a.md#b)",
    "[a](./LICENSE)": "[a](ADDRESS/blob/v1/LICENSE)",
    "[a](examples/plugin)": "[a](ADDRESS/blob/v1/examples/plugin)",
    "[a](images/a.svg)": "[a](ADDRESS/blob/v1/images/a.svg)",
    "![a](images/a.svg)": "![a](ADDRESS/raw/v1/images/a.svg)",
    '<img alt="a" src="images/a.png">': '<img alt="a" src="ADDRESS/raw/v1/images/a.png">',
    '<a href="docs/a.md">': '<a href="ADDRESS/blob/v1/docs/a.md">',
    "[![a](b.svg)](c.md)": "[![a](ADDRESS/raw/v1/b.svg)](ADDRESS/blob/v1/c.md)",
    "[a](https://b.example/c)": "[a](https://b.example/c)",
    "[a](#b)": "[a](#b)",
}


@pytest.mark.ci
@pytest.mark.parametrize("text", LINKS)
def test_links_to_files_become_links_to_the_repository(metadata, text):
    assert metadata["absolute"](text, ADDRESS, "v1") == LINKS[text].replace("ADDRESS", ADDRESS)


@pytest.mark.ci
def test_the_address_decides_all_links_of_the_project(metadata, monkeypatch):
    hook = metadata["Links"](str(ROOT), {})
    found = {"version": "1.2.3"}
    hook.update(found)
    assert found["urls"] == {}
    assert found["readme"]["text"] == (ROOT / "README.md").read_text(encoding="utf-8")
    monkeypatch.setenv("REZOO_REPOSITORY", ADDRESS + "/")
    monkeypatch.setenv("REZOO_SITE", "https://docs.example")
    other = {"version": "1.2.3"}
    hook.update(other)
    assert set(other["urls"]) == {"Documentation", "Repository", "Changelog", "Issues"}
    assert other["urls"]["Changelog"] == f"{ADDRESS}/blob/v1.2.3/CHANGELOG.md"
    assert f"({ADDRESS}/raw/v1.2.3/images/activation-map.jpg)" in other["readme"]["text"]
    hook.update(found)  # a source distribution: what its PKG-INFO says stays
    assert found["urls"] == {}
    monkeypatch.setenv("REZOO_REPOSITORY", "github.com/owner/rezoo")
    with pytest.raises(ValueError, match=r"is not an address; write https://HOST/OWNER/NAME"):
        hook.update({"version": "1.2.3"})


def write_wheel(path, names, readme="[a](https://b.example)"):
    text = f"Metadata-Version: 2.4\nName: rezoo\nProject-URL: Issues, {ADDRESS}\n\n{readme}\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
        archive.writestr("rezoo-1.dist-info/METADATA", text)
    return path


def test_faults_of_a_wheel_are_named(package, tmp_path):
    good = package["IN_WHEEL"]
    assert package["wheel_faults"](write_wheel(tmp_path / "a.whl", good)) == []
    bad = [*good[1:], "rezoo/tests/test_a.py", "conftest.py"]
    faults = package["wheel_faults"](write_wheel(tmp_path / "b.whl", bad, "![a](images/a.svg)"))
    assert f"lacks {good[0]}" in faults
    assert "links to images/a.svg in its README" in faults
    assert {fault.split()[1].strip(",") for fault in faults if fault.startswith("has ")} == {
        "rezoo/tests/test_a.py",
        "conftest.py",
    }


def test_a_source_distribution_without_pictures_is_named(package, tmp_path):
    path = tmp_path / "rezoo-1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in (*package["IN_SDIST"], "PKG-INFO"):
            if name != "images/hero.svg":
                archive.addfile(tarfile.TarInfo(f"rezoo-1/{name}"))
    assert package["sdist_faults"](path) == ["lacks images/hero.svg"]


@pytest.mark.slow
def test_both_files_are_built_and_the_wheel_works_alone(tmp_path, monkeypatch):
    """Needs a package index; other versions of Python: `pythonX.Y .ci/package.py use DIST`."""
    pytest.importorskip("hatchling", reason="pip install --group lint")
    monkeypatch.setenv("REZOO_REPOSITORY", ADDRESS)
    for job in ("build", "use"):
        command = [sys.executable, PACKAGE, job, tmp_path / "dist"]
        done = subprocess.run(command, capture_output=True, text=True)
        if job == "use" and "No matching distribution found" in done.stdout + done.stderr:
            pytest.skip("no package index")
        assert done.returncode == 0, done.stdout + done.stderr
    assert "rezoo export" in done.stdout
