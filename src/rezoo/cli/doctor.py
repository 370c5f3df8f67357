"""`rezoo doctor`: installed versions, devices, folders, and access to the Hub."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from rezoo.cli.console import fields, status
from rezoo.cli.options import examples, json_option, print_json
from rezoo.cli.quiet import quietly
from rezoo.errors import RezooError
from rezoo.models.settings import BACKENDS
from rezoo.utils import device, nvidia
from rezoo.utils.gpu_faults import gpu_faults, missing_library
from rezoo.utils.names import count_of

HUB_TIMEOUT_S = 3.0
_PACKAGES = (
    "tensorflow",
    "keras",
    "tensorflow-datasets",
    "huggingface-hub",
    "safetensors",
    "scikit-learn",
    "numpy",
    "matplotlib",
    "pillow",
)
_EXTRAS = {
    "cuda": ("nvidia-cudnn-cu12", "nvidia-nccl-cu12"),
    "jax": ("jax",),
    "jax-cuda": ("jax", "jax-cuda12-plugin", "nvidia-cudnn-cu12"),
    "onnx": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "onnxruntime", "openvino"),
    "litert": ("ai-edge-litert",),
    "hf": ("datasets",),
}


@click.command(epilog=examples("rezoo doctor", "rezoo doctor --json"))
@json_option
def doctor(as_json: bool) -> None:
    """Show versions, devices, backends, extras, folders and access to the Hub."""
    with status("checking the installation"):
        document = {
            "rezoo": version("rezoo"),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": {name: _version(name) for name in _PACKAGES},
            "extras": {name: _extra(name) for name in _EXTRAS},
            **_backend(),
            "folders": _folders(),
            "plugins": _plugins(),
            "hub": _hub(),
        }
    print_json(document) if as_json else fields(document)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _extra(name: str) -> str:
    found = {package: _version(package) for package in _EXTRAS[name]}
    if "not installed" in found.values():
        return f"not installed: pip install 'rezoo[{name}]'"
    return ", ".join(f"{package} {number}" for package, number in found.items())


def _backend() -> dict[str, Any]:
    try:
        with quietly():
            import keras
    except RezooError as error:
        return {"backend": f"{error}. {error.hint}", "devices": []}
    except Exception as error:  # any of them: this command reports what does not work
        return {"backend": f"does not start: {type(error).__name__}: {error}", "devices": []}
    return {
        "backend": f"{keras.config.backend()} (KERAS_BACKEND or keras.json sets it)",
        "backends": [name for name in BACKENDS if find_spec(name)],
        "devices": device.names(),
        "devices_all": _all_devices(),
        "gpus": [_gpu(gpu) for gpu in nvidia.all_gpus()],
        "gpu_faults": gpu_faults(),
        "cpus": os.cpu_count(),
    }


def _all_devices() -> str:
    """Return what `--devices all` uses, which computes with JAX."""
    if find_spec("jax"):
        return f"train, eval and predict compute with JAX on {_devices_of_jax()}"
    extra = "jax-cuda" if nvidia.visible_gpus() else "jax"
    return f"not available without JAX: pip install 'rezoo[{extra}]'"


def _devices_of_jax() -> str:
    """Return them in words; JAX is asked only if it is the backend: it would take GPU memory."""
    if device.backend() == "jax":
        names = device.names()
        return f"{count_of(len(names), 'device')}: {', '.join(names)}"
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return "the CPU: JAX_PLATFORMS is cpu"
    if gpus := nvidia.visible_gpus():
        if missing := missing_library("jax"):
            return f"the CPU: {missing}"
        return f"{count_of(len(gpus), 'GPU')}: {', '.join(gpu.name for gpu in gpus)}"
    if find_spec("libtpu"):
        return "the TPU: KERAS_BACKEND=jax rezoo doctor counts its chips"
    return "the CPU: there is no GPU"


def _gpu(gpu: nvidia.Gpu) -> str:
    free = "free memory not reported"
    if gpu.free_bytes is not None:
        free = f"{gpu.free_bytes / 1e9:.1f} GB free"
    return f"{gpu.number}: {gpu.name}, {free}"


def _folders() -> dict[str, str]:
    from huggingface_hub import constants

    from rezoo.utils.paths import cache_dir, data_dir

    folders = {"cache": cache_dir(), "datasets": data_dir(), "hub": Path(constants.HF_HUB_CACHE)}
    return {name: f"{path} ({_space(path)})" for name, path in folders.items()}


def _space(path: Path) -> str:
    existing = next((p for p in (path, *path.parents) if p.exists()), Path("/"))
    writable = "writable" if os.access(existing, os.W_OK) else "not writable"
    return f"{writable}, {device.free_disk_bytes(existing) / 1e9:.0f} GB free"


def _plugins() -> dict[str, str]:
    from rezoo import registry

    if registry.plugins_disabled():
        return {"disabled": f"{registry.DISABLE_VARIABLE} is set"}
    from rezoo.testing.installed import installed

    return {x.name: f"{x.kind} of {x.distribution} {x.version}: {x.state}" for x in installed()}


def _hub() -> str:
    """Request the Hub's front page, through the proxy of the environment if one is set."""
    import urllib.error
    import urllib.request

    from huggingface_hub import constants

    endpoint = constants.ENDPOINT
    if constants.HF_HUB_OFFLINE:
        return f"{endpoint}: not requested, HF_HUB_OFFLINE is set"
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S):
            return f"{endpoint}: reached"
    except urllib.error.HTTPError:
        return f"{endpoint}: reached"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return f"{endpoint}: not reached ({reason})"
