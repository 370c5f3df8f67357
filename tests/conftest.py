"""What the tests share: folders of their own, the command line, photographs, one trained run."""

from __future__ import annotations

import gc
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hub_fixtures import hub, small_repository  # noqa: F401 - fixtures
from rezoo import registry
from rezoo.errors import RezooWarning

TRAIN_TINY = {"epochs": 1, "batch_size": 128, "image_size": 8}


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    rc: int
    out: str
    err: str


def pytest_addoption(parser):
    parser.addoption("--reversed", action="store_true", help="run the tests in reverse order")


def pytest_collection_modifyitems(config, items):
    """Reverse the order: a test that passes only behind another one fails then."""
    if config.getoption("--reversed"):
        items.reverse()


def pytest_collection_finish(session):
    """Leave the imported libraries, half a million objects, out of every garbage collection."""
    gc.collect()
    gc.freeze()


def pytest_configure(config):
    """Keep the tests out of the user's folders: before Keras and TFDS read the environment."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts `pytest &`
        signal.signal(signal.SIGINT, signal.default_int_handler)
    home = Path(tempfile.mkdtemp(prefix="rezoo-tests-"))
    config.rezoo_home = home
    for variable in (
        "XDG_CACHE_HOME",
        "REZOO_DISABLE_PLUGINS",
        "REZOO_DEBUG",
        "PYTHONIOENCODING",
        "PYTHONWARNINGS",
        "FORCE_COLOR",
        "HF_HOME",
    ):
        os.environ.pop(variable, None)
    os.environ.update(
        HOME=str(home),
        KERAS_HOME=str(home / "keras"),
        REZOO_CACHE=str(home / "cache"),
        TFDS_DATA_DIR=str(home / "datasets"),
        CUDA_VISIBLE_DEVICES="-1",  # the tests of GPUs play one
        HF_HUB_OFFLINE="1",
        TF_CPP_MIN_LOG_LEVEL="3",
    )


def pytest_unconfigure(config):
    shutil.rmtree(config.rezoo_home, ignore_errors=True)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of weights and data that lies beside the project; it need not be there."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("REZOO_SHARED") or beside)
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; set REZOO_SHARED to the one with weights and data")
    return folder


def start(*args: str, env: dict[str, str] | None = None, **options) -> subprocess.Popen[str]:
    """Start `python -m rezoo` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "rezoo", *map(str, args)],
        env={**os.environ, "PYTHONPATH": "", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
        encoding=options.pop("encoding", "utf-8"),
        start_new_session=True,
        **options,
    )


@pytest.fixture
def cli(tmp_path):
    """Run `rezoo` in a process of its own: for start-up, streams and environments."""

    def run(*args, env=None, timeout=120, **options) -> Answer:
        options.setdefault("cwd", tmp_path)
        with start(*args, env=env, **options) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except BaseException:
                process.kill()
                raise
        return Answer(process.returncode, out, err)

    return run


@pytest.fixture
def call(monkeypatch, capsys):
    """Run `rezoo` in this process, where TensorFlow is loaded already."""
    from rezoo.cli.main import main

    def run(*args) -> Answer:
        monkeypatch.setattr(sys, "argv", ["rezoo", *map(str, args)])
        capsys.readouterr()
        with warnings.catch_warnings():  # main shows warnings by a function of its own
            warnings.simplefilter("always", RezooWarning)
            with pytest.raises(SystemExit) as end:
                main()
        captured = capsys.readouterr()
        return Answer(end.value.code, captured.out, captured.err)

    return run


def fails(answer: Answer, rc: int, *fragments: str) -> None:
    """Check how a command failed: its code, its message, no traceback, and an empty stdout."""
    assert answer.rc == rc, answer
    assert "Traceback" not in answer.err
    assert "unexpected" not in answer.err
    assert answer.out == ""
    for fragment in fragments:
        assert fragment in answer.err, f"{fragment!r} is not in: {answer.err}"


def picture(seed: int, size: tuple[int, int] = (48, 40), *, grey: bool = False) -> Image.Image:
    """Draw smooth colours with some noise, as in a photograph; `size` is (width, height)."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize(size, Image.Resampling.BICUBIC), np.float32)
    noisy = smooth + random.normal(0, 3, smooth.shape)
    image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    return image.convert("L") if grey else image


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    """Return the bytes of an image file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def photographs(tmp_path):
    """Make folders of photographs: `photographs({"cat": 3, "train/dog": 2})`."""

    def make(classes: dict[str, int], *, root: Path | None = None, ending: str = ".jpg") -> Path:
        root = root or tmp_path / "photographs"
        kind = {".jpg": "JPEG", ".png": "PNG"}[ending.lower()]
        for place, (name, count) in enumerate(classes.items()):
            folder = root / name
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                data = encoded(picture(1000 * place + i), kind)
                (folder / f"{i:03d}{ending}").write_bytes(data)
        return root

    return make


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    """A run folder as training leaves it: test_resnet on digits at 8 pixels, one epoch. Copy it."""
    import rezoo

    folder = tmp_path_factory.mktemp("runs") / "digits"
    return rezoo.train("test_resnet", "digits", changes=TRAIN_TINY, output=folder).folder


@pytest.fixture(scope="session")
def trained(finished_run, tmp_path_factory) -> Path:
    """A copy that all tests may use, but not change; `rezoo eval` may keep its figures there."""
    return shutil.copytree(finished_run, tmp_path_factory.mktemp("trained") / "digits")


@pytest.fixture
def full_disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def not_root(tmp_path):
    locked = tmp_path / "probe"
    locked.mkdir(mode=0)
    if os.access(locked, os.R_OK):
        pytest.skip("root may read and write everything")
    locked.rmdir()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder on `sys.path`, for distributions; what they import is forgotten after."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv(registry.DISABLE_VARIABLE, raising=False)
    before = set(sys.modules)
    registry._scan.cache_clear()
    yield folder
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    registry._scan.cache_clear()
    registry.load.cache_clear()
