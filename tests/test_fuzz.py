"""Whatever a file or a reference contains, its reader raises errors of rezoo only, and soon.

Each input is a valid one that was changed: bytes were inserted, removed and repeated, or a value
was replaced by one of another kind. A few hundred inputs are the same in every run; the tests
marked slow draw thousands of new ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rezoo
from rezoo.artifacts.card import model_card
from rezoo.artifacts.config import read_config, read_json
from rezoo.artifacts.manifest import checksum_holds
from rezoo.artifacts.run_files import local_facts, read_history
from rezoo.artifacts.safetensors import read_tensors
from rezoo.data import datasets
from rezoo.data.dataset_references import dataset_spec
from rezoo.data.ignored import without_listed
from rezoo.errors import RezooError
from rezoo.recipes import read_recipe, recipe_to_toml
from rezoo.recipes.recipe import Recipe
from rezoo.sources.hub_address import Address
from rezoo.training.checkpoints import Progress, restore
from rezoo.training.generations import Content, Generations

# texts and numbers that readers of earlier versions stumbled over
SNIPPETS = (
    *(b"[" * 40, b'{"a":' * 40, b"a." * 40, b"9" * 30, b"9" * 5000, b"0x" + b"f" * 2000),
    *(b"1e999", b"-1e999", b"NaN", b"nan", b"inf", b"-1", b"0", b"0.5", b"1e300", b"true"),
    *(b"null", b'""', b"''", b"{}", b"[]", b"=", b",", b":", b"\n", b"\r", b"\t", b" ", b"#"),
    *(b"\\ud800", b"\\udcff", b"\\u0000", b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
    *(b"..", b"/", b"../", b"~", b"~x/", b"%", b"*", b"\\", b"@", b'"', b"'", b"`", b"\x1b[2J"),
    *("é".encode(), "\u202e".encode(), "\U0001f600".encode(), b"x" * 300, b"x" * 5000),
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["x" * 2000, "../x", "a\0b", "](x)", "\x1b[2J"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)


@st.composite
def edited(draw, content: bytes) -> bytes:
    """Draw bytes that differ from the given ones in one to four places, or random bytes."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=300))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from([0, 0, 1, 3, 20])))
        known = st.sampled_from([b"", content[start:end] * 2, *SNIPPETS])
        part = draw(known | st.binary(max_size=4))
        content = content[:start] + part + content[end:]
    return content


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Return the path of every value in JSON values."""
    found = [path] if path else []
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(inner, (*path, key))
    return found


@st.composite
def replaced(draw, document: dict, dump: Callable[[dict], bytes]) -> bytes:
    """Draw a document of which one to three values were replaced or removed."""
    copy = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from(places(copy)))
        parent = copy
        for key in parents:
            parent = parent[key]
        if draw(st.integers(0, 4)) == 0:
            del parent[last]
        else:
            parent[last] = draw(VALUES)
        if not places(copy):
            break
    try:
        return dump(copy)
    except (TypeError, ValueError, AttributeError):  # TOML has no null, and no key of one
        return b""


def as_json(document: dict) -> bytes:
    return json.dumps(document).encode()


def as_toml(document: dict) -> bytes:
    return tomli_w.dumps(document).encode("utf-8", "surrogatepass")


RECIPE = {
    **Recipe(name="x", image_size=224, crop_pct=0.9, interpolation="bicubic").to_dict(),
    "claim": {"dataset": "cifar10", "top1": {"resnet18": 0.9}, "differs": ["x"], "cost": "1 h"},
}
RECIPE = {key: list(v) if isinstance(v, tuple) else v for key, v in RECIPE.items()}
RUN = {key: value for key, value in RECIPE.items() if key != "claim"}
CATALOGUE = {
    "format_version": 1,
    "weights": [
        {
            "arch": "resnet18",
            "tag": "x",
            "repo": "o/n",
            "licence": "mit",
            "note": "x",
            "commit": "0" * 40,
            "sha256": "0" * 64,
            "bytes": 10,
            "num_classes": 10,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "crop_pct": 0.9,
            "macs": 5,
            "train_size": 32,
            "test_size": 64,
            "top1_test_size": 80.0,
            "default": False,
        }
    ],
}
CONFIG = {
    "architecture": "resnet18",
    "num_classes": 2,
    "label_names": ["a", "b"],
    "label_descriptions": {"a": "an a", "b": "a b"},
    "multi_label": False,
    "format_version": 1,
    "fingerprint": "1:" + "0" * 64,
    "base_model": {"repo": "o/n", "commit": "0" * 40, "licence": "mit", "sha256": "0" * 64},
    "pretrained_cfg": {
        "input_size": [3, 32, 32],
        "test_input_size": [3, 64, 64],
        "tag": "x",
        "crop_pct": 0.9,
        "test_crop_pct": 1.0,
        "interpolation": "bicubic",
        "license": "mit",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "crop_mode": "center",
    },
    "calibration": {
        "temperature": 1.5,
        "temperature_interval": [1.2, 1.8],
        "images": 100,
        "score": "energy",
        "threshold": 3.5,
        "false_alarms": 0.05,
        "false_alarms_interval": [0.02, 0.1],
        "held_out_auroc": {"energy": 0.9, "probability": 0.8},
    },
    "files": {"recipe.toml": {"sha256": "0" * 64, "size": 5}},
    "checksum": "0" * 64,
}
SCORES = {
    "count": 10,
    "loss": 0.1,
    "top1": 0.9,
    "top1_interval": [0.8, 0.95],
    "top5": 1.0,
    "measured_utc": "2026-01-31T12:00:00+00:00",
    "worst_classes": [
        {"name": "a", "count": 5, "right": 4, "taken_for": [{"name": "b", "count": 1}]}
    ],
}
METRICS = {
    "data": {"name": "x", "licence": "mit", "hub_id": "x", "private": False},
    "num_classes": 2,
    "images": {"train": 5, "val": 3},
    "best_epoch": 1,
    "epochs": 2,
    "val": SCORES,
    "test": SCORES,
    "wall_time_s": 3.5,
    "warnings": ["x"],
}
ENVIRONMENT = {"cpus": 2, "devices": ["CPU"], "packages": {"rezoo": "0.1"}, "python": "3.11"}
HISTORY = b"epoch,train_loss,val_loss\n1,0.5,0.4\n2,0.3,0.2\n"
TENSORS = safetensors.numpy.save(
    {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.int32(3).reshape(1)},
    {"rezoo": json.dumps({"epoch": 1, "history": [{"epoch": 1}], "signature": "s"})},
)
ROW = {"epoch": 1, "val_loss": 0.5, "val_top1": 0.9, "gradient_norm": None, "finished_utc": "now"}
POSITION = {
    **asdict(Progress(epoch=1, history=[ROW], best_epoch=1, left_out=[3])),
    "watched": {"given": {"rate": "too large"}, "steps": 7, "losses": [0.5]},
    "signature": "s",
}
REFERENCES = (b"folder:~/x", b"csv:x.csv", b"tfds:a:1.0.0", b"hf:o/n")
TABLE = b"path,label,split\na.jpg,cat,train\nb.jpg,dog,train\nc.jpg,cat,test\n"


def in_run(name: str) -> Callable[[Path], object]:
    """Return a reader of the card of a run, of which one file is the given one."""

    def read(path: Path) -> object:
        records = {"config.json": CONFIG, "metrics.json": METRICS, "environment.json": ENVIRONMENT}
        for other, document in records.items():
            if other != name:
                (path.parent / other).write_bytes(as_json(document))
        others = {"history.csv": HISTORY, "recipe.toml": b"epochs = 1\n"}
        for other, content in others.items():
            if other != name:
                (path.parent / other).write_bytes(content)
        return model_card(path.parent, repo="me/net")

    return read


def read_one_recipe(path: Path) -> None:
    values = read_recipe(str(path))
    recipe_to_toml(Recipe.from_dict(values, origin="x")).encode()


def read_one_catalogue(path: Path) -> None:
    os.environ["REZOO_CATALOGUE"] = str(path)
    try:
        rezoo.list_weights()
    finally:
        del os.environ["REZOO_CATALOGUE"]


def read_one_config(path: Path) -> None:
    read_config(path.parent)
    checksum_holds(read_json(path.parent))
    (path.parent / "checkpoints").mkdir(exist_ok=True)
    (path.parent / "checkpoints" / "local.json").write_bytes(path.read_bytes())
    local_facts(path.parent)


def read_ignore_list(path: Path) -> None:
    (path.parent / "table.csv").write_bytes(TABLE)
    for name in "abc":
        (path.parent / f"{name}.jpg").touch()
    splits = datasets.open_splits(f"csv:{path.parent / 'table.csv'}")
    without_listed(splits, path)


def read_table(path: Path) -> None:
    for name in "abc":
        (path.parent / f"{name}.jpg").touch()
    datasets.open_splits(f"csv:{path}")


def parse_address(path: Path) -> None:
    Address.parse(path.read_bytes().decode("utf-8", "surrogateescape"))


def open_reference(path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    spec = dataset_spec(text)
    if text.startswith(("folder:", "csv:")):  # others need a network
        spec.open()


def restore_position(path: Path) -> None:
    """Restore a checkpoint of which the position is the given one."""
    files = Generations(path.parent)
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    files.write(Content({}, {"rezoo": text}))
    files.previous.unlink(missing_ok=True)
    restore(files, [], "s")


@dataclass(frozen=True)
class Parser:
    """A reader and valid inputs: bytes, or a document with the function that writes it."""

    file: str
    read: Callable[[Path], object]
    valid: tuple[bytes, ...] = ()
    document: dict | None = None
    dump: Callable[[dict], bytes] = as_json

    def inputs(self) -> st.SearchStrategy[bytes]:
        kinds = [edited(content) for content in self.valid]
        if self.document is not None:
            kinds += [edited(self.dump(self.document)), replaced(self.document, self.dump)]
        return st.one_of(kinds)


PARSERS = {
    "recipe": Parser("mine.toml", read_one_recipe, document=RECIPE, dump=as_toml),
    "catalogue": Parser("weights.toml", read_one_catalogue, document=CATALOGUE, dump=as_toml),
    "config": Parser("config.json", read_one_config, document=CONFIG),
    "card of config": Parser("config.json", in_run("config.json"), document=CONFIG),
    "metrics": Parser("metrics.json", in_run("metrics.json"), document=METRICS),
    "environment": Parser("environment.json", in_run("environment.json"), document=ENVIRONMENT),
    "recipe of a run": Parser("recipe.toml", in_run("recipe.toml"), document=RUN, dump=as_toml),
    "history": Parser("history.csv", lambda path: read_history(path.parent), (HISTORY,)),
    "tensors": Parser("model.safetensors", read_tensors, (TENSORS,)),
    "position": Parser("x", restore_position, document=POSITION),
    "table": Parser("table.csv", read_table, (TABLE, b"path,labels\na.jpg,cat;dog\nb.jpg,\n")),
    "ignore list": Parser("ignore.txt", read_ignore_list, (b"# wrong\ntrain/a.jpg\nb.jpg\n",)),
    "address": Parser("x", parse_address, (b"hf://timm/resnet50.a1_in1k@main",)),
    "reference": Parser("x", open_reference, REFERENCES),
}


def read(parser: Parser, folder: Path, content: bytes) -> None:
    """Read an input; errors of rezoo are expected, and soon."""
    path = folder / parser.file
    path.write_bytes(content)
    begun = time.process_time()
    with warnings.catch_warnings(), contextlib.suppress(RezooError):
        warnings.simplefilter("ignore")
        parser.read(path)
    assert time.process_time() - begun < 5


def fuzz(name: str, folder: Path, **options) -> None:
    parser = PARSERS[name]
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]

    @settings(deadline=None, database=None, suppress_health_check=checks, **options)
    @given(parser.inputs())
    def run(content: bytes) -> None:
        read(parser, folder, content)

    run()


@pytest.mark.ci
@pytest.mark.parametrize("name", PARSERS)
def test_a_few_inputs(name, tmp_path):
    fuzz(name, tmp_path, max_examples=50, derandomize=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_many_inputs(name, tmp_path):
    fuzz(name, tmp_path, max_examples=5000)


def test_valid_inputs_are_read(tmp_path):
    """What the inputs are made from is valid, so that changes reach every part of a reader."""
    for name, parser in PARSERS.items():
        folder = tmp_path / name
        folder.mkdir()
        for content in parser.valid or [parser.dump(parser.document)]:
            if name == "reference":
                continue  # names of things that are not there
            (folder / parser.file).write_bytes(content)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parser.read(folder / parser.file)


BOMBS = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
from rezoo.artifacts.config import read_json
from rezoo.artifacts.run_files import read_history, read_metrics
from rezoo.artifacts.safetensors import read_tensors
from rezoo.errors import RezooError
from rezoo.recipes import read_recipe
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
folder = Path(sys.argv[1])
for reader, name in (
    (read_json, ""), (read_metrics, ""), (read_history, ""),
    (lambda path: read_recipe(str(path / "x.toml")), ""),
    (lambda path: read_tensors(path / "model.safetensors"), ""),
):
    try:
        reader(folder)
    except RezooError as error:
        print(error.exit_code, end=" ")
    else:
        print("read", end=" ")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def sparse(path: Path, size: int, start: bytes = b"") -> None:
    path.write_bytes(start)
    os.truncate(path, size)


@pytest.mark.ci
@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_bombs_take_little_memory(kind, tmp_path):
    """In a process with little memory, files that claim or need much end in errors of rezoo."""
    (tmp_path / "folder").mkdir()
    folder = tmp_path / "folder"
    names = ("config.json", "metrics.json", "history.csv", "x.toml")
    if kind == "sparse":
        for name in names:
            sparse(folder / name, 2**40)
        sparse(folder / "model.safetensors", 2**40, struct.pack("<Q", 2**39) + b"{")
    else:
        empty = b'{"a":[' + b"[]," * 2_000_000 + b"[]]}"
        deep = b'{"a":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"
        contents = (empty, deep, b"epoch\n" + b"1\n" * 500_000, b"a=[" + b"1," * 500_000 + b"]")
        for name, content in zip(names, contents, strict=True):
            (folder / name).write_bytes(content)
        header = json.dumps({f"t{i}": {} for i in range(80_000)}).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    command = [sys.executable, "-c", BOMBS, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-500:]
    *codes, mebibytes = done.stdout.split()
    wanted = {"sparse": "5 5 5 5 5", "dense": "read 5 read 2 5"}[kind]
    assert codes == wanted.split()
    assert int(mebibytes) < 1000
