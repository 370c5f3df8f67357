from __future__ import annotations

import contextlib
import functools
import http.server
import importlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

import tfds_archives as archives
from rezoo.data.tfds import open_tfds
from rezoo.data.tfds_prepare import unreachable
from rezoo.errors import NetworkError

PETS = archives.pets()


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    archives.isolate(monkeypatch, tmp_path)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def pets_from(base: str, monkeypatch) -> None:
    """Let the real builder fetch its archives from `base`."""
    module = importlib.import_module(tfds.builder_cls("oxford_iiit_pet").__module__)
    monkeypatch.setattr(module, "_BASE_URL", base)
    archives.make_known(monkeypatch, "oxford_iiit_pet", archives.records_of(PETS, base))


def test_download(tmp_path, monkeypatch, capfd):
    archives.write(PETS, tmp_path / "site")
    with served(tmp_path / "site") as base:
        pets_from(base, monkeypatch)
        opened = open_tfds("oxford_iiit_pet", folder=tmp_path / "data")
    assert capfd.readouterr().out == ""
    assert [len(part) for part in opened.parts.values()] == [6, 4]


def test_download_that_the_server_refuses(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    with served(tmp_path / "site") as base:
        pets_from(base, monkeypatch)
        with pytest.raises(NetworkError, match="404") as caught:
            open_tfds("oxford_iiit_pet", folder=tmp_path / "data", say=lambda text: None)
    assert "images.tar.gz" in caught.value.hint
    assert not list((tmp_path / "data").rglob("*.tmp.*"))


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_no_network(tmp_path, monkeypatch, closed_port):
    base = f"http://127.0.0.1:{closed_port}"
    pets_from(base, monkeypatch)
    manual = tmp_path / "downloads" / "manual"
    with pytest.raises(NetworkError) as caught:
        open_tfds("oxford_iiit_pet", folder=tmp_path, say=lambda text: None)
    assert f"127.0.0.1:{closed_port} cannot be reached: Connection refused" in str(caught.value)
    for name in PETS:
        assert f"{base}/{name} (as {name}, " in caught.value.hint
    assert str(manual) in caught.value.hint
    assert not list((tmp_path / "oxford_iiit_pet").glob("*"))
    assert not list((tmp_path / "downloads").rglob("*.tmp.*"))

    archives.write({"images.tar.gz": PETS["images.tar.gz"]}, manual)
    with pytest.raises(NetworkError) as caught:
        open_tfds("oxford_iiit_pet", folder=tmp_path, say=lambda text: None)
    assert "annotations.tar.gz" in caught.value.hint
    assert "images.tar.gz" not in caught.value.hint

    archives.write(PETS, manual)
    opened = open_tfds("oxford_iiit_pet", folder=tmp_path, say=lambda text: None)
    assert [len(part) for part in opened.parts.values()] == [6, 4]


def test_a_silent_host_is_given_up():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        assert unreachable(f"http://127.0.0.1:{silent.getsockname()[1]}/x", timeout_s=0.3)
    assert time.monotonic() - start < 5
