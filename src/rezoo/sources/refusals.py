"""What a model reference is refused for: paths without a network, files that nothing pins."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from rezoo.artifacts.config import CONFIG, WEIGHTS
from rezoo.errors import AccessError, IntegrityError, NotFoundError, UnsafeFileError
from rezoo.sources import catalogue
from rezoo.sources.hub_address import SCHEMES, Address, is_repository
from rezoo.specs import ModelConfig, WeightsSpec
from rezoo.utils.names import near

# Formats that can run code or allocate without limit when they are read; never opened.
_UNSAFE = (
    *(".bin", ".ckpt", ".h5", ".hdf5", ".joblib", ".keras", ".msgpack", ".npz", ".pb"),
    *(".pickle", ".pkl", ".pt", ".pth"),
)


def refuse_path(reference: str, path: Path) -> NoReturn:
    """Raise the error for a path that is not a folder with a network."""
    if is_unsafe_file(path):
        raise UnsafeFileError(
            f"{reference}: rezoo opens no {path.suffix} files; they can run code or exhaust memory",
            hint=f"name a folder with {CONFIG} and {WEIGHTS}.",
        )
    if path.exists():
        raise NotFoundError(
            f"{reference} is a file", hint=f"name the folder that contains {CONFIG}."
        )
    hint = "check the path."
    if is_repository(reference):
        hint += f" A repository of the Hub is written {SCHEMES[0]}{reference}"
    raise NotFoundError(f"no such folder: {reference}", hint=hint)


def is_unsafe_file(path: Path) -> bool:
    """Return whether a path is a file of a format that rezoo never opens."""
    return path.suffix.lower() in _UNSAFE and path.is_file()


def check_pinned(reference: str, address: Address, spec: WeightsSpec | None) -> None:
    """Raise `IntegrityError` if neither a commit nor a SHA-256 of a catalogue pins the weights."""
    if not address.pinned and not (spec and spec.sha256):
        raise IntegrityError(
            f"{reference} is not pinned: its files are what {address} has now",
            hint="name a commit of 40 hexadecimal digits, list the weights with their SHA-256 in a "
            "catalogue of your own, or leave --require-pinned out.",
        )


def check_against(spec: WeightsSpec, config: ModelConfig, address: Address) -> None:
    """Compare a `config.json`, which has no pinned hash, with the catalogue."""
    found_pre, wanted_pre = asdict(config.preprocessing), asdict(spec.preprocessing)
    for what, found, wanted in (
        ("architecture", config.architecture, spec.architecture),
        ("num_classes", config.num_classes, spec.num_classes),
        *((key, found_pre[key], value) for key, value in wanted_pre.items()),
    ):
        if found != wanted:
            raise IntegrityError(
                f"{address} {CONFIG}: {what} is {found}; the catalogue says {wanted}",
                hint="the repository was changed, or a mirror has sent another file.",
            )


def with_near_names(
    error: NotFoundError | AccessError, address: Address
) -> NotFoundError | AccessError:
    """Add the repositories of the catalogues that have similar names."""
    known = [spec.repo for spec in catalogue.describe()]
    close = [] if address.repo in known else near(address.repo, known)
    if not close:
        return error
    names = " or ".join(f"hf://{repo}" for repo in close)
    return type(error)(error.message, hint=f"Did you mean {names}? {error.hint}".strip())
