"""`verify`: compute everything that is recorded about a network again, and compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rezoo.artifacts.config import CONFIG, FORMAT_VERSION, WEIGHTS, read_json
from rezoo.artifacts.manifest import checksum_holds, refuse_special_files, write_manifest
from rezoo.artifacts.run_files import REFERENCE
from rezoo.data.finding import find_images
from rezoo.data.image_files import UnreadableImageError, read_file
from rezoo.data.images import decode
from rezoo.errors import IntegrityError, NetworkError, NotFoundError, RezooError, SpecError
from rezoo.evaluation.reference_batch import compare, drawn_pictures, write_reference
from rezoo.models.fingerprint import comparable, fingerprint
from rezoo.sources.load import load
from rezoo.sources.references import Reference, Source, WithFolder, local_folder, resolve_weights
from rezoo.specs import Origin
from rezoo.utils.files import record, write_json
from rezoo.utils.lock import locked


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
        what: The file or value that was compared.
        holds: Whether it is as recorded; None if nothing is recorded, or after an earlier
            failure.
        found: The result, in words.
    """

    what: str
    holds: bool | None
    found: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of `verify`.

    Attributes:
        reference: The model reference.
        origin: Origin of the weights; None if they could not be loaded.
        backend: Keras backend and version that computed the logits.
        checks: The comparisons, in the order in which they were made.
    """

    reference: str
    origin: Origin | None
    backend: str
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing differs from the record."""
        return all(check.holds is not False for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "model": self.reference,
            "holds": self.holds,
            "origin": dataclasses.asdict(self.origin) if self.origin else None,
            "backend": self.backend,
            "checks": [dataclasses.asdict(check) for check in self.checks],
        }


def verify(model: Reference, *, pretrained: bool = False) -> Verification:
    """Compute again what is recorded about a network, on this machine and backend.

    Compared are the bytes of every file (SHA-256), the structure of the network (fingerprint),
    the tensors (complete and finite), and the reference batch: network inputs from its images,
    logits from its inputs. The tolerance is 1e-4 of the largest value.

    Args:
        model: A reference with weights, or a run of `train`; see `load`.
        pretrained: Take the default published weights of a bare architecture.

    Raises:
        NotFoundError: Nothing is recorded.
        NetworkError: A file is on the Hub, which is not reached.
        SpecError: The reference has no weights.
    """
    source = resolve_weights(model, pretrained=pretrained)
    checks = [*_config(source), *_files(source)]
    if all(check.holds is None for check in checks):
        raise NotFoundError(
            f"{source.reference} has no record to compare with: no manifest, no catalogue, no Hub",
            hint=f"rezoo verify {source.reference} --record makes a record of its present state.",
        )
    network, tensors = _tensors(source, checks)
    checks.append(tensors)
    if network is not None:
        checks += [_structure(source, network), *_reference(source, network)]
    else:
        skipped = ("fingerprint", "preprocessing", "logits")
        checks += [Check(what, None, "not computed: see above") for what in skipped]
    return Verification(
        reference=source.reference,
        origin=network.rezoo_origin if network is not None else None,
        backend=f"{keras.config.backend()}, keras {keras.__version__}",
        checks=tuple(checks),
    )


def record_proof(
    folder: str | Path | WithFolder, *, images: Sequence[str | Path] = (), overwrite: bool = False
) -> None:
    """Record the present state of a folder with weights, so that `verify` can compare with it.

    Writes the network's fingerprint and a manifest to `config.json`, and a reference batch to
    `reference.safetensors`.

    Args:
        folder: A folder with `config.json` and `model.safetensors`.
        images: Image files for the reference batch; drawn pictures if empty.
        overwrite: Replace an existing record.

    Raises:
        SpecError: It is not a folder, or has a record already.
        NotFoundError: A file is missing.
        RunLockedError: Another process changes the folder.
        UnsafeFileError: A file of the folder is a link, a FIFO or a device.
    """
    folder = local_folder(folder)
    if not folder.is_dir():
        raise SpecError(f"{folder} is not a folder: only a local folder can be recorded")
    refuse_special_files(folder)
    source = resolve_weights(folder)
    content = read_json(folder)
    if "checksum" in content and not overwrite:
        raise SpecError(
            f"{folder} has a record already", hint="verify it, or replace the record: --overwrite."
        )
    source = dataclasses.replace(
        source, config=dataclasses.replace(source.config, files={}, fingerprint="")
    )
    network = load(source)
    chosen, what = _pictures(source, images)
    with locked(folder, what="recording"):
        write_reference(folder, source, chosen, what)
        content["format_version"] = FORMAT_VERSION
        content["fingerprint"] = fingerprint(network)
        write_json(folder / CONFIG, content)
        write_manifest(folder)


def _pictures(source: Source, paths: Sequence[str | Path]) -> tuple[list[np.ndarray], str]:
    pre = source.config.preprocessing
    if not paths:
        return drawn_pictures(pre), "drawn pictures"
    found = []
    for path in find_images(paths):
        try:
            found.append(decode(read_file(path), pre.channels).numpy())
        except UnreadableImageError as error:
            raise IntegrityError(f"{path}: {error}") from error
        except tf.errors.InvalidArgumentError as error:
            raise IntegrityError(f"{path} cannot be decoded: {error.message}") from error
    return found, "images that the owner chose"


def _config(source: Source) -> Iterator[Check]:
    assert source.folder is not None
    holds = checksum_holds(read_json(source.folder))
    found = {True: "as its checksum says", False: "differs from its checksum", None: "no checksum"}
    yield Check(CONFIG, holds, found[holds])
    if source.published:
        name = source.published.name
        yield Check(f"{CONFIG} and catalogue", True, f"network and preprocessing of {name}")


def _files(source: Source) -> Iterator[Check]:
    for name in dict.fromkeys((WEIGHTS, *source.config.files)):
        try:
            path = source.file(name)
            found, expected = record(path), source.expected(name, path)
            text = f"SHA-256 {found.sha256[:16]}…, {found.size:,} bytes"
            if expected is None:
                yield Check(name, None, f"{text}; nothing recorded")
                continue
            expected.check(name, size=found.size or 0, sha256=found.sha256)
            yield Check(name, True, f"{text}, as {expected.source} says")
        except NotFoundError:
            yield Check(name, False, "missing")
        except NetworkError:
            raise
        except (RezooError, OSError) as error:
            yield Check(name, False, str(error))


def _tensors(source: Source, before: Sequence[Check]) -> tuple[keras.Model | None, Check]:
    if any(check.what == WEIGHTS and check.holds is False for check in before):
        return None, Check("tensors", None, "not read: the bytes differ")
    try:
        # `_structure` checks the fingerprint, `_files` the class means
        bare = dataclasses.replace(source.config, fingerprint="", calibration=None)
        network = load(dataclasses.replace(source, config=bare))
    except RezooError as error:
        return None, Check("tensors", False, str(error))
    found = f"{len(network.weights)} fit {source.config.architecture}, all finite"
    return network, Check("tensors", True, found)


def _structure(source: Source, network: keras.Model) -> Check:
    wanted, found = source.config.fingerprint, fingerprint(network)
    text = f"{found[:18]}…"
    if not wanted:
        return Check("fingerprint", None, f"{text}; nothing recorded")
    if not comparable(wanted, found):
        return Check("fingerprint", None, "computed by another version's rule")
    if wanted != found:
        text += f"; recorded is {wanted[:18]}…"
    return Check("fingerprint", wanted == found, text)


def _reference(source: Source, network: keras.Model) -> Iterator[Check]:
    try:
        path = source.file(REFERENCE)
    except NotFoundError:
        yield Check("reference batch", None, "none stored")
        return
    try:
        result = compare(source, network, path, source.config.files.get(REFERENCE))
    except RezooError as error:
        yield Check("reference batch", False, str(error))
        return
    yield Check(
        "preprocessing",
        result.inputs_hold,
        f"{result.images}: inputs differ by {result.inputs:.1e} of the largest",
    )
    top1 = "the same top-1" if result.same_top1 else "another top-1"
    yield Check(
        "logits", result.logits_hold, f"differ by {result.logits:.1e} of the largest; {top1}"
    )
