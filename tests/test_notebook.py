"""The notebook: no outputs in the repository; its cells run from top to bottom on small data."""

import json
import os
import runpy
import sys
from pathlib import Path

import pytest
import safetensors.numpy

from hub_fixtures import TOKEN, catalogue, network_tensors, timm_config
from hub_stand_in import StandIn

NOTEBOOK = Path(__file__).parents[1] / "examples" / "quickstart.ipynb"
REPO = "me/resnet18"


@pytest.fixture
def notebook():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def text(cell) -> str:
    return "".join(cell["source"])


def test_the_notebook_is_committed_without_outputs(notebook):
    """Outputs would be large, would show folders, and would be those of other weights."""
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert codes
    assert not any(cell["outputs"] or cell["execution_count"] for cell in codes)
    for word in ("predict(", "train(", "report.html", "export(", "push(", "%pip install"):
        assert any(word in text(cell) for cell in codes), word


@pytest.mark.parametrize("repository", ["https://github.com/me/zoo", "https://github.com/me/zoo/"])
def test_the_guide_links_to_colab_where_the_repository_is_on_github(repository, monkeypatch):
    colab = runpy.run_path(str(NOTEBOOK.parents[1] / "docs" / "generate.py"))["colab"]
    monkeypatch.setenv("REZOO_REPOSITORY", repository)
    path = "github/me/zoo/blob/main/examples/quickstart.ipynb"
    assert colab() == f"[Open the notebook in Colab](https://colab.research.google.com/{path})."
    for other in ("", "https://git.example/me/zoo", "https://github.com/me"):
        monkeypatch.setenv("REZOO_REPOSITORY", other)
        assert colab() == ""


@pytest.fixture
def small_world(tmp_path):
    """Variables of a machine with ten pets, and a Hub on which random weights are published."""
    import tfds_archives as archives
    from rezoo.data.tfds import open_tfds

    data = tmp_path / "datasets"
    archives.write(archives.pets(), data / "downloads" / "manual")
    with pytest.MonkeyPatch.context() as patch:
        archives.isolate(patch, tmp_path)
        infos = archives.records_of(archives.pets(), archives.PETS_URL)
        archives.make_known(patch, "oxford_iiit_pet", infos)
        open_tfds("oxford_iiit_pet", folder=data, say=lambda text: None)
    weights = network_tensors("resnet18", num_classes=1000)
    files = {
        "config.json": timm_config("resnet18", num_classes=1000, size=64),
        "model.safetensors": safetensors.numpy.save(weights),
    }
    about = {"arch": "resnet18", "repo": REPO, "num_classes": 1000, "train_size": 64}
    with StandIn() as hub:
        hub.tokens = {TOKEN: "write"}
        commit = hub.add(REPO, files)
        own = catalogue(tmp_path, files, commit=commit, **about)
        place = tmp_path / "bin"
        place.mkdir()
        (place / "rezoo").write_text(f'#!/bin/sh\nexec {sys.executable} -m rezoo "$@"\n')
        (place / "rezoo").chmod(0o755)
        yield (
            hub,
            {
                **hub.env(tmp_path / "hf"),
                "HF_TOKEN": TOKEN,
                "REZOO_CATALOGUE": str(own),
                "TFDS_DATA_DIR": str(data),
                "IPYTHONDIR": str(tmp_path / "ipython"),
                "PATH": f"{place}{os.pathsep}{os.environ['PATH']}",
            },
        )


def outputs(cell) -> str:
    """Return what a cell printed and showed, as text."""
    told = []
    for output in cell["outputs"]:
        told += [output.get("text", "")]
        told += [str(value) for value in output.get("data", {}).values()]
    return "".join(told)


@pytest.mark.slow
def test_the_cells_run_from_top_to_bottom(small_world, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="pip install --group notebook")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel", reason="pip install --group notebook")
    hub, env = small_world
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    work = tmp_path / "work"
    work.mkdir()
    cells = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(cells)
    client = nbclient.NotebookClient(cells, timeout=600, resources={"metadata": {"path": work}})
    client.execute()
    (tmp_path / "executed.ipynb").write_text(nbformat.writes(cells), encoding="utf-8")

    shown = {text(cell): outputs(cell) for cell in cells.cells if cell.cell_type == "code"}

    def of(word):
        (found,) = [out for source, out in shown.items() if word in source]
        return found

    def pictures(word):
        (found,) = [cell for cell in cells.cells if word in text(cell)]
        kinds = [*found["outputs"][-1]["data"]]
        return any(kind.startswith("image/") for kind in kinds)

    assert pictures("load_sample_image")
    assert of("predict(").count("%") == 3
    assert pictures("overlay(0)")
    assert pictures("plot_confusion")
    assert "epoch" in of("rezoo.train")
    assert "top-1" in of("rezoo.evaluate")
    assert "iframe srcdoc=" in of("report.html")
    assert "model.onnx" in of("rezoo.export")
    assert "README.md" in of("--dry-run")
    assert str(tmp_path) not in of("--dry-run")
    assert "published as hf://your-name/resnet18-pets@" in of("rezoo.push")
    assert {"model.safetensors", "README.md"} <= {*hub.files("your-name/resnet18-pets")}
