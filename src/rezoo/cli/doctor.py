"""`rezoo doctor`: what is installed, what it runs on, and what can be reached."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from rezoo.cli.options import import_quietly, json_option, print_json
from rezoo.utils import device

HUB_TIMEOUT_S = 3.0
_PACKAGES = (
    "tensorflow",
    "keras",
    "tensorflow-datasets",
    "huggingface-hub",
    "safetensors",
    "scikit-learn",
    "numpy",
    "click",
    "rich",
)
_EXTRAS = {
    "cuda": ("nvidia-cudnn-cu12",),
    "jax": ("jax",),
    "onnx": ("onnx", "onnxruntime", "tf2onnx"),
    "openvino": ("openvino",),
    "litert": ("ai-edge-litert",),
}


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Show versions, devices, backends, extras, folders and whether the Hub is reached."""
    from rezoo.cli import render

    with render.status("looking around"):
        document = {
            "rezoo": version("rezoo"),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": {name: _version(name) for name in _PACKAGES},
            "extras": {name: _extra(packages) for name, packages in _EXTRAS.items()},
            **_backend(),
            "folders": _folders(),
            "plugins": _plugins(),
            "hub": _hub(),
        }
    if as_json:
        print_json(document)
    else:
        render.fields(document)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _extra(packages: tuple[str, ...]) -> str:
    found = {p: _version(p) for p in packages}
    if all(v != "not installed" for v in found.values()):
        return ", ".join(f"{p} {v}" for p, v in found.items())
    name = next(k for k, v in _EXTRAS.items() if v == packages)
    return f"not installed: pip install 'rezoo[{name}]'"


def _backend() -> dict[str, Any]:
    try:
        import_quietly("keras")
        import keras
    except Exception as error:  # the point of this command is to say what is broken
        return {"backend": f"does not start: {type(error).__name__}: {error}", "devices": []}
    return {
        "backend": f"{keras.config.backend()} (KERAS_BACKEND chooses)",
        "backends": [name for name in ("tensorflow", "jax", "torch") if find_spec(name)],
        "devices": device.names(),
        "cpus": os.cpu_count(),
    }


def _folders() -> dict[str, str]:
    from rezoo.utils.paths import cache_dir, data_dir

    huggingface = import_quietly("huggingface_hub.constants").HF_HUB_CACHE
    folders = {"cache": cache_dir(), "datasets": data_dir(), "hub": Path(huggingface)}
    return {name: f"{path} ({_space(path)})" for name, path in folders.items()}


def _space(path: Path) -> str:
    existing = next((p for p in (path, *path.parents) if p.exists()), Path("/"))
    writable = "writable" if os.access(existing, os.W_OK) else "not writable"
    return f"{writable}, {device.free_disk_bytes(existing) / 1e9:.0f} GB free"


def _plugins() -> dict[str, str]:
    from rezoo import registry

    if registry.plugins_disabled():
        return {"switched off": f"{registry.DISABLE_VARIABLE} is set"}
    found = {}
    for group in (registry.architectures, registry.datasets):
        for entry, spec in group.describe():
            if not entry.builtin:
                state = "loads" if spec else "does not load"
                found[entry.name] = f"{group.kind} of {entry.distribution} {entry.version}: {state}"
    for entry in registry.scan("rezoo.catalogues"):
        found[entry.name] = f"catalogue of {entry.distribution} {entry.version}"
    return found


def _hub() -> str:
    """Ask the Hub for its front page; the proxy settings of the environment are honoured."""
    import urllib.error
    import urllib.request

    endpoint = sys.modules["huggingface_hub.constants"].ENDPOINT
    if sys.modules["huggingface_hub.constants"].HF_HUB_OFFLINE:
        return f"{endpoint}: not asked, HF_HUB_OFFLINE is set"
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S):
            return f"{endpoint}: reached"
    except urllib.error.HTTPError:
        return f"{endpoint}: reached"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return f"{endpoint}: not reached ({reason})"
