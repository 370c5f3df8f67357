"""Folders with a network in them: `config.json` beside `model.safetensors`, in timm's layout.

Files are written whole or not at all and read with limits and checks before anything is
allocated. No pickle, HDF5 or code is ever opened.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras

from rezoo.artifacts.config import CONFIG, WEIGHTS, config_to_json
from rezoo.artifacts.safetensors import TensorFile, write_tensors
from rezoo.errors import IncompatibleError, IntegrityError
from rezoo.models import tensors
from rezoo.models.fingerprint import comparable, fingerprint
from rezoo.specs import ModelConfig
from rezoo.utils.files import write_json

HEAD = "fc"


def save_model(model: keras.Model, config: ModelConfig, folder: Path) -> None:
    """Write `config.json` and `model.safetensors` of a model into a folder.

    The folder is not sealed: `rezoo.artifacts.manifest` does that when all its files are there.
    """
    write_tensors(folder / WEIGHTS, tensors.to_tensors(model))
    config = dataclasses.replace(config, fingerprint=fingerprint(model, head=HEAD), files={})
    write_json(folder / CONFIG, config_to_json(config, first_conv=_first_conv(model)))


def _first_conv(model: keras.Model) -> str:
    """Return the layer that timm adapts to another number of channels."""
    convolutions = (x.name for x in model.layers if isinstance(x, keras.layers.Conv2D))
    return next(convolutions, "conv1")


def load_weights(
    model: keras.Model,
    file: TensorFile,
    *,
    structure: str = "",
    new_head: str = "",
    allow_nonfinite: bool = False,
) -> None:
    """Fill a model from an open weights file: all of it, or an error.

    Args:
        model: The network, as the file's `config.json` describes it.
        file: Its weights.
        structure: The fingerprint of the network that the weights were written from.
        new_head: Layer that keeps its random weights, because the classes are others.
        allow_nonfinite: Take NaN and infinite values as well.

    Raises:
        IncompatibleError: Names, shapes, dtypes or the fingerprint do not fit; all
            differences are listed.
        IntegrityError: Values are not finite.
    """
    skip = f"{new_head}." if new_head else ""
    shapes = {name: entry.shape for name, entry in file.entries.items()}
    tensors.check(model, shapes, origin=str(file.path), skip=skip)
    _check_structure(model, structure, file.path)
    _check_values(file, allow_nonfinite)
    tensors.assign(model, file.read, skip=skip)


def _check_structure(model: keras.Model, wanted: str, path: Path) -> None:
    if not wanted:
        return
    found = fingerprint(model, head=HEAD)
    if found != wanted and comparable(found, wanted):
        raise IncompatibleError(
            f"{path} was written from a network with the fingerprint {wanted}; {model.name} "
            f"has {found}: the tensors may fit, the computation differs",
            hint="config.json names another architecture than the weights were made for, or a "
            "plugin has changed its network.",
        )


def _check_values(file: TensorFile, allow_nonfinite: bool) -> None:
    broken = []
    for name, entry in file.entries.items():
        if name.endswith(tensors.COUNTER):
            continue
        if not tensors.is_float(entry.dtype):
            raise IncompatibleError(f"{file.path}: tensor {name} has {entry.dtype}, not float")
        if not allow_nonfinite and not file.is_finite(name):
            broken.append(name)
    if broken:
        raise IntegrityError(
            f"{file.path}: {len(broken)} tensors have NaN or infinite values, the first are "
            f"{', '.join(ascii(name)[1:-1] for name in broken[:3])}",
            hint="the weights come from a run that diverged, or the file is damaged; "
            "rezoo.load(…, allow_nonfinite=True) loads them all the same.",
        )
