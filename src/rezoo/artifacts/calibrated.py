"""Write a calibration into the folder of a network, and read its class means."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rezoo.artifacts.card import model_card, written_by_hand
from rezoo.artifacts.config import CONFIG, config_from_json, read_json
from rezoo.artifacts.manifest import checksum_holds, update_manifest, with_manifest
from rezoo.artifacts.run_files import CALIBRATION, CARD
from rezoo.artifacts.safetensors import read_tensors, write_tensors
from rezoo.confidence import Calibration
from rezoo.errors import IntegrityError
from rezoo.utils.files import FileRecord, record, write_bytes, write_json

MEANS = "class_means"  # the tensor in `CALIBRATION`


def write_calibration(
    folder: Path, calibration: Calibration, means: np.ndarray | None = None
) -> None:
    """Write a calibration to `config.json`, its class means to a file, and the card anew.

    Manifest and checksum are updated, if the folder has them. A card that was edited by hand is
    kept. The caller holds the folder's lock.

    Args:
        folder: The folder.
        calibration: What was measured.
        means: Class means, float32 `(K, D)`; None if the threshold does not need them.

    Raises:
        IntegrityError: `config.json` was changed after its manifest was written.
    """
    check_unchanged(folder)
    content = read_json(folder)
    listed = dict(config_from_json(content).files)
    listed.pop(CALIBRATION, None)
    if means is not None:
        write_tensors(folder / CALIBRATION, {MEANS: means})
        listed[CALIBRATION] = record(folder / CALIBRATION)
    content["calibration"] = calibration.to_json()
    has_manifest = "checksum" in content
    write_json(folder / CONFIG, with_manifest(content, listed) if has_manifest else content)
    if means is None:
        (folder / CALIBRATION).unlink(missing_ok=True)
    if has_manifest and CARD in listed and not written_by_hand(folder):
        write_bytes(folder / CARD, model_card(folder).encode())
        update_manifest(folder, (CARD,))


def check_unchanged(folder: Path) -> None:
    """Raise `IntegrityError` if `config.json` differs from its checksum."""
    if checksum_holds(read_json(folder)) is False:
        raise IntegrityError(
            f"{folder / CONFIG} was changed after its manifest was written",
            hint=f"rezoo verify {folder} shows the differences; --record --overwrite writes a "
            "new manifest.",
        )


def read_means(path: Path, expected: FileRecord | None) -> np.ndarray:
    """Return the class means of a file, float32 `(K, D)`.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: It is damaged, is not the expected one, or has other content.
    """
    means = read_tensors(path, expected)[0].get(MEANS)
    if (
        means is None
        or means.ndim != 2
        or means.dtype != np.float32
        or not np.isfinite(means).all()
    ):
        raise IntegrityError(f"{path} has no class means", hint="rezoo calibrate writes it anew.")
    return means
