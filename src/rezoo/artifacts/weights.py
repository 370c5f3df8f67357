"""Write a network to `config.json` and `model.safetensors` in timm's layout, and read weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np

from rezoo.artifacts.config import CONFIG, WEIGHTS, config_to_json
from rezoo.artifacts.run_files import CALIBRATION
from rezoo.artifacts.safetensors import TensorFile, write_tensors
from rezoo.errors import IncompatibleError, IntegrityError
from rezoo.models import tensors
from rezoo.models.fingerprint import comparable, fingerprint
from rezoo.models.naming import HEAD_PREFIXES, head_of
from rezoo.specs import ModelConfig
from rezoo.utils.files import write_json


def save_model(model: keras.Model, config: ModelConfig, folder: Path) -> None:
    """Write `config.json` and `model.safetensors` of a model into a folder.

    Writes no manifest: `rezoo.artifacts.manifest` does, after all files of the folder. Class
    means of other weights are removed.
    """
    (folder / CALIBRATION).unlink(missing_ok=True)
    write_tensors(folder / WEIGHTS, tensors.to_tensors(model))
    config = dataclasses.replace(config, fingerprint=fingerprint(model))
    convolutions = (x.name for x in model.layers if isinstance(x, keras.layers.Conv2D))
    first_conv, head = next(convolutions, "conv1"), head_of(model)
    classifier = head.name if head else "fc"
    content = config_to_json(config, first_conv=first_conv, classifier=classifier)
    write_json(folder / CONFIG, content)


def load_weights(
    model: keras.Model,
    file: TensorFile,
    *,
    structure: str = "",
    new_head: bool = False,
    allow_nonfinite: bool = False,
) -> None:
    """Assign the tensors of an open weights file to a model, after checking all of them.

    Args:
        model: The network, as the file's `config.json` describes it.
        file: Its weights.
        structure: Fingerprint of the network of the weights; empty if it is not recorded.
        new_head: Whether the head keeps its random weights.
        allow_nonfinite: Accept NaN and infinite values.

    Raises:
        IncompatibleError: Names, shapes, dtypes or the fingerprint do not fit; all
            differences are listed.
        IntegrityError: Values are not finite.
    """
    skip = HEAD_PREFIXES if new_head else ()
    shapes = {name: entry.shape for name, entry in file.entries.items()}
    tensors.check(model, shapes, origin=str(file.path), skip=skip)
    _check_structure(model, structure, file.path)
    _check_values(file, allow_nonfinite)
    tensors.assign(model, file.read, skip=skip)


def _check_structure(model: keras.Model, wanted: str, path: Path) -> None:
    if not wanted:
        return
    found = fingerprint(model)
    if found != wanted and comparable(found, wanted):
        raise IncompatibleError(
            f"{path} was written from a network with the fingerprint {wanted}; {model.name} "
            f"has {found}: the tensors may fit, but the computation differs",
            hint="config.json names another architecture than that of the weights, or a plugin "
            "has changed its network.",
        )


def _check_values(file: TensorFile, allow_nonfinite: bool) -> None:
    broken = []
    for name, entry in file.entries.items():
        if name.endswith(tensors.COUNTER):
            continue
        if not tensors.is_float(entry.dtype):
            raise IncompatibleError(f"{file.path}: tensor {name} has {entry.dtype}, not float")
        if not allow_nonfinite and not np.isfinite(file.read(name)).all():
            broken.append(name)
    if broken:
        raise IntegrityError(
            f"{file.path}: {len(broken)} tensors have NaN or infinite values, the first are "
            f"{', '.join(ascii(name)[1:-1] for name in broken[:3])}",
            hint="the run diverged, or the file is damaged; "
            "rezoo.load(…, allow_nonfinite=True) loads them all the same.",
        )
