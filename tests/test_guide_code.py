"""The Python of the guides is run, with small networks and drawn photographs in place of large."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from conftest import encoded, picture
from test_exports import weights
from test_guides import PAGES, blocks, name_of

pytestmark = pytest.mark.slow

# Names in the pages → what stands for them here.
SMALL = {
    r'"resnet50", "folder:photos", pretrained=True': '"./net", "folder:photos", recipe="probe"',
    r'"resnet50", pretrained=True': '"./net"',
    r'"resnet50\.\w+"': '"./net"',
    r'"resnet18", "digits"': '"test_resnet", "digits", image_size=8',
    r"epochs=5\b": "epochs=1",
    r'"resnet20", batch_sizes': '"test_resnet", image_size=32, batch_sizes',
}
# The pages whose blocks other tests run, and single blocks that need what is not here.
ELSEWHERE = {
    "residual-networks.md": "test_chapter",
    "from-vgg-to-resnet50.md": "test_chapter",
    "relatives.md": "test_chapter",
    "server.md": "test_export_scripts",
    "phone.md": "test_export_scripts",
    "plugins.md": "test_plugin_kit",
}
NOT_HERE = {
    "onnxruntime.InferenceSession": "test_calibration opens calibrated exports",
    "import timm": "test_hub_parity loads a pushed run in timm",
    "hf://owner/name": "test_hub loads from a stand-in of the Hub",
    "our_lab/weights.py": "test_catalogue has such a package",
    "folder:imagenet": "test_compare compares evaluations of several networks",
    "IPython": "IPython is no dependency",
}


def pages():
    for page in PAGES:
        code = blocks(page, "python")
        if code and page.name not in ELSEWHERE:
            yield pytest.param(page, code, id=name_of(page))


@pytest.fixture
def world(tmp_path, monkeypatch, trained):
    """A folder with what the pages name: photographs, runs, a network with weights."""
    monkeypatch.chdir(tmp_path)
    for place, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            data = encoded(picture(100 * place + number, (80, 70)))
            (tmp_path / "photos" / name / f"{number}.jpg").write_bytes(data)
    for name in ("photo.jpg", "cat.jpg", "dog.jpg", "a.jpg", "holiday/1.jpg", "train/cat.1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded(picture(len(name), (90, 80))))
    for name in ("a", "b", "pets", "resnet18-digits", "resnet20"):
        shutil.copytree(trained, tmp_path / "runs" / name)
    weights(tmp_path / "net")
    return {"images": np.zeros((1, 64, 64, 3), np.float32)}


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")  # of Keras
@pytest.mark.parametrize(("page", "code"), list(pages()))
def test_the_code_of_a_page_runs(page, code, world):
    for block in code:
        if any(text in block for text in NOT_HERE):
            continue
        for name, small in SMALL.items():
            block = re.sub(name, small, block)
        exec(compile(block, name_of(page), "exec"), world)


def test_each_block_of_python_is_run_or_has_a_reason():
    run = {param.values[0] for param in pages()}
    with_code = {page for page in PAGES if blocks(page, "python")}
    assert {page.name for page in with_code - run} <= set(ELSEWHERE)
