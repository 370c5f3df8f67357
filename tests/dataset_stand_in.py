"""Datasets on the stand-in of the Hub: the calls that the `datasets` library makes."""

from __future__ import annotations

import io
import json
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs

import hub_stand_in
from conftest import encoded, picture
from hub_stand_in import REVISION, Fault, RefusedError, Reply, Request, StandIn, as_json, describe

NAMES = ["square", "circle", "star"]
REPO = "team/shapes"
OWNED = r"(?P<repo>[\w.-]+/[\w.-]+?)"
DATASET = f"/api/datasets/{OWNED}"


def tree(hub: StandIn, request: Request, repo: str, revision: str, folder: str = "") -> Reply:
    """List the files and folders at the top of a folder, or all below it."""
    files = hub.read(request, repo, revision)[1].files
    start = f"{folder}/" if folder else ""
    inside = {name: data for name, data in sorted(files.items()) if name.startswith(start)}
    if folder and not inside:
        raise RefusedError(Fault.status(404, "EntryNotFound", "Entry not found"))
    parents = {str(parent) for name in inside for parent in PurePosixPath(name).parents}
    found = [directory(name) for name in sorted(parents) if name.startswith(start) and name != "."]
    found += [describe(name, data) for name, data in inside.items()]
    if "recursive=true" not in request.path.lower():
        found = [told for told in found if "/" not in told["path"][len(start) :]]
    return as_json(found)


def paths_info(hub: StandIn, request: Request, repo: str, revision: str) -> Reply:
    files = hub.read(request, repo, revision)[1].files
    body = request.body.decode()
    asked = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
    found = [describe(name, files[name]) for name in asked if name in files]
    folders = [name for name in asked if any(f.startswith(f"{name}/") for f in files)]
    return as_json(found + [directory(name) for name in folders])


def directory(name: str) -> dict:
    return {"type": "directory", "path": name, "size": 0, "oid": "0" * 40}


ROUTES = (
    ("GET", f"{DATASET}(/revision/{REVISION})?", hub_stand_in.info),
    ("GET", f"{DATASET}/tree/{REVISION}(/(?P<folder>.+))?", tree),
    ("POST", f"{DATASET}/paths-info/{REVISION}", paths_info),
    ("GET", f"/datasets/{OWNED}/resolve/{REVISION}/(?P<file>.+)", hub_stand_in.resolve),
)


def serve_datasets(monkeypatch, hub: StandIn, home: Path) -> None:
    """Let the stand-in answer for datasets, the library here ask it, and tables be in `home`."""
    import datasets
    from datasets import config

    datasets.disable_progress_bars()
    monkeypatch.setattr(hub_stand_in, "ROUTES", (*ROUTES, *hub_stand_in.ROUTES))
    monkeypatch.setattr(config, "HF_ENDPOINT", hub.url)
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(home))


def rows(count: int, *, first: int = 0) -> list[tuple[bytes, int]]:
    """Return photographs as JPEG and PNG in turn, and their classes."""
    kinds = ("JPEG", "PNG")
    return [
        (encoded(picture(first + i, (40, 36)), kinds[i % 2]), i % len(NAMES)) for i in range(count)
    ]


def photographs(count: int) -> list[dict]:
    return [{"bytes": content, "path": None} for content, _ in rows(count)]


def table(columns: dict, kinds: dict | None = None) -> bytes:
    """Return a Parquet file, as the library's users push it."""
    import datasets

    made = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds or {}) or None)
    stream = io.BytesIO()
    made.to_parquet(stream)
    return stream.getvalue()


def parquet(rows: list[tuple[bytes, int]]) -> bytes:
    """Return a Parquet file of images and classes."""
    import datasets

    columns = {
        "image": [{"bytes": content, "path": None} for content, _ in rows],
        "label": [number for _, number in rows],
    }
    return table(columns, {"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})


def add_shapes(hub: StandIn) -> str:
    """Add a repository with three splits; return its commit."""
    sizes = {"train": 30, "validation": 6, "test": 9}
    files = {
        f"data/{split}-00000-of-00001.parquet": parquet(rows(count, first=100 * count))
        for split, count in sizes.items()
    }
    return hub.add(REPO, {"README.md": b"---\nlicense: mit\n---\n", **files})
