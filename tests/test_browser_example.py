"""The page of examples/browser classifies photographs in a real browser."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from safetensors.numpy import load_file

from browser import running
from conftest import encoded, picture
from rezoo.exporters.export import export
from test_exports import weights

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "browser"
PACKAGE = "onnxruntime-web@1.30.0"
# The files of it that a server needs, as the guide says.
WASM = "ort-wasm-simd-threaded"
FILES = {"ort.wasm.min.mjs", f"{WASM}.mjs", f"{WASM}.wasm"}


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """The folder node_modules of the example, or a new one."""
    beside = EXAMPLE / "node_modules"
    if (beside / "onnxruntime-web").is_dir():
        return beside
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr[-300:]}")
    return folder / "node_modules"


@pytest.fixture
def serve(tmp_path, modules):
    """Serve the page with a model from this machine, as its README says."""
    for name in ("index.html", "classify.mjs"):
        shutil.copy(EXAMPLE / name, tmp_path / name)
    (tmp_path / "node_modules").symlink_to(modules)
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def wait_for(browser, script, wanted=True):
    deadline = time.monotonic() + 60
    while (value := browser.ask(script)) != wanted:
        status = browser.ask("document.getElementById('status').textContent")
        assert time.monotonic() < deadline, (value, status, browser.messages)
        time.sleep(0.1)


def classified(browser, path):
    """Choose a file on the page; return the outputs and the rows of the table."""
    browser.ask("window.found = null")
    root = browser("DOM.getDocument")["root"]["nodeId"]
    node = browser("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    browser("DOM.setFileInputFiles", files=[str(path)], nodeId=node)
    wait_for(browser, "window.found !== null && document.querySelectorAll('tr').length > 0")
    rows = "[...document.querySelectorAll('tr')].map(r => [...r.cells].map(c => c.textContent))"
    return np.array(browser.ask("window.found.outputs")), browser.ask(rows)


def compare(browser, model, path, array):
    """Compare the page with ONNX Runtime in Python; return the page's outputs and rows."""
    session = onnxruntime.InferenceSession(model)
    [[wanted]] = session.run(None, {"image": array[None]})
    found, rows = classified(browser, path)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    return found, rows


def test_photographs_have_the_outputs_of_onnxruntime_in_python(serve, tmp_path):
    network = weights(tmp_path / "network", size=96)
    made = export(str(network), "onnx", output=tmp_path / "made", takes="raw", measure=False)
    shutil.copy(tmp_path / "made" / "model.onnx", tmp_path / "model.onnx")
    with running(tmp_path / "profile") as browser:
        browser.open(serve, width=390)
        wait_for(browser, "document.getElementById('file').disabled", wanted=False)
        for seed, size in enumerate([(150, 130), (96, 300)]):
            path = tmp_path / f"{seed}.png"
            path.write_bytes(encoded(picture(seed, size), "PNG"))
            array = np.asarray(Image.open(path))
            found, rows = compare(browser, tmp_path / "model.onnx", path, array)
            labels = made.metadata["labels"]
            assert [row[0] for row in rows] == [labels[i] for i in found.argsort()[::-1][:5]]
        asked = browser.ask("performance.getEntriesByType('resource').map(r => r.name)")
        assert all(url.startswith((serve.rpartition("/")[0], "blob:")) for url in asked)
        files = {url.rpartition("/")[2] for url in asked if "/node_modules/" in url}
        assert files == FILES
        assert browser.messages == []


@pytest.mark.parametrize(("quantize", "differs"), [("none", 5e-3), ("int8", 0.1)])
def test_the_reference_batch_has_its_logits_in_the_browser(
    serve, tmp_path, trained, quantize, differs
):
    options = {"takes": "raw", "measure": False, "quantize": quantize, "dataset": "digits"}
    export(str(trained), "onnx", output=tmp_path / "made", **options)
    shutil.copy(tmp_path / "made" / "model.onnx", tmp_path / "model.onnx")
    recorded = load_file(trained / "reference.safetensors")
    with running(tmp_path / "profile") as browser:
        browser.open(serve, width=1400, dark=True)
        wait_for(browser, "document.getElementById('file').disabled", wanted=False)
        for place, logits in enumerate(recorded["logits"]):
            array = recorded[f"image.{place}"]
            path = tmp_path / f"{place}.png"
            Image.fromarray(array[..., 0]).save(path)
            found, _ = compare(browser, tmp_path / "model.onnx", path, array)
            np.testing.assert_allclose(found, logits, atol=differs * np.abs(logits).max())


def test_a_page_without_a_network_says_so(serve, tmp_path):
    with running(tmp_path / "profile") as browser:
        browser.open(serve, width=390)
        text = "document.getElementById('status').textContent"
        missing = "The network cannot be used: there is no model.onnx beside this page."
        wait_for(browser, text, wanted=missing)
        (tmp_path / "model.onnx").write_bytes(b"\x08\x07")
        browser.open(serve, width=390)
        foreign = "The network cannot be used: model.onnx was not written by rezoo export."
        wait_for(browser, text, wanted=foreign)
