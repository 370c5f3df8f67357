"""Model references: what a name, an address or a path means, and where its files are.

| reference                        | means                                                   |
|----------------------------------|---------------------------------------------------------|
| `resnet50`                       | an architecture; random weights                         |
| `resnet50.a1_in1k`               | published weights, pinned by a catalogue                |
| `hf://owner/name[@revision]`     | a repository of the Hub; `hf-hub:` is the same          |
| `timm/resnet50.a1_in1k`          | likewise, unless there is such a folder                 |
| a path                           | a folder with `config.json` and `model.safetensors`;    |
|                                  | `./name` if a catalogue lists that name                 |
| a `Path`, the result of `train`  | a folder, never a name                                  |

Loads without Keras. Of a repository, only `config.json` is fetched here; the weights follow
when they are needed.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, Protocol, TypeAlias

from rezoo import registry
from rezoo.artifacts.config import CONFIG, MAX_CONFIG_BYTES, WEIGHTS, read_config
from rezoo.errors import (
    AccessError,
    HubWarning,
    IntegrityError,
    NotFoundError,
    SpecError,
    UnknownNameError,
    UnsafeFileError,
)
from rezoo.sources import catalogue, hub_fetch
from rezoo.sources.hub_address import MAIN, SCHEMES, Address, is_address
from rezoo.specs import ModelConfig, Origin, Preprocessing, WeightsSpec
from rezoo.utils.files import FileRecord
from rezoo.utils.names import near
from rezoo.utils.paths import expanded

MAX_WEIGHTS_BYTES = 64 * 1024**3
MAX_OTHER_BYTES = 1024**3  # of each other file
# Formats that can run code or allocate without limit when they are read; never opened.
_UNSAFE = (
    *(".bin", ".ckpt", ".h5", ".hdf5", ".joblib", ".keras", ".msgpack", ".npz", ".pb"),
    *(".pickle", ".pkl", ".pt", ".pth"),
)
_TIMM = "timm/"


class WithFolder(Protocol):
    """An object that has a folder with a network, such as the result of `train`."""

    @property
    def folder(self) -> Path:
        """The folder."""


@dataclass(frozen=True)
class Source:
    """What a model reference means.

    Attributes:
        reference: The reference as text.
        config: The network; with default values for a bare architecture.
        folder: The folder of the files; None for random weights.
        address: The repository at a commit; None if the files are not from the Hub.
        published: The entry of a catalogue; None if there is none.
    """

    reference: str
    config: ModelConfig
    folder: Path | None = None
    address: Address | None = None
    published: WeightsSpec | None = None

    @property
    def has_weights(self) -> bool:
        """Whether there are weights; without, the network has random ones."""
        return self.folder is not None

    def file(self, name: str) -> Path:
        """Return the path of a file, which is fetched first if it is on the Hub."""
        if self.address is not None:
            limit = MAX_WEIGHTS_BYTES if name == WEIGHTS else MAX_OTHER_BYTES
            if name == WEIGHTS and self.published and self.published.size:
                limit = self.published.size
            return hub_fetch.fetch(self.address, name, limit=limit)
        if self.folder is None:
            raise SpecError(f"{self.reference} has no files: it is an architecture")
        path = self.folder / name
        if not path.is_file():
            hint = "weights are read from safetensors only." if name == WEIGHTS else ""
            raise NotFoundError(f"{self.folder} has no {name}", hint=hint)
        return path

    def expected(self, name: str, path: Path) -> FileRecord | None:
        """Return the size and SHA-256 that a file should have; None if they are not known.

        They come from the catalogue, else from the manifest in `config.json`, else from the Hub.
        """
        pin = self.published
        if name == WEIGHTS and pin and pin.sha256:
            return FileRecord(pin.sha256, pin.size, f"the catalogue ({pin.catalogue})")
        if name in self.config.files:
            return self.config.files[name]
        return hub_fetch.hub_record(path) if self.address else None

    def origin(self, sha256: str) -> Origin | None:
        """Return the origin that is recorded in everything made from these weights."""
        if not self.has_weights:
            return None
        return Origin(
            repo=self.address.repo if self.address else "",
            commit=self.address.revision if self.address else "",
            sha256=sha256,
            licence=self.licence,
            architecture=self.config.architecture,
        )

    @property
    def licence(self) -> str:
        """The licence of the weights as the catalogue states it, else the config."""
        return self.published.licence if self.published else self.config.licence


Reference: TypeAlias = str | Path | WithFolder | Source


def resolve(reference: Reference, *, pretrained: bool = False) -> Source:
    """Return what a model reference means, without building the network.

    Args:
        reference: See the table above; a `Source` is returned as it is.
        pretrained: Take the default weights of a bare architecture.

    Raises:
        UnknownNameError: No such name; the hint has similar names.
        NotFoundError: A path or repository that does not exist; no default weights.
        NetworkError: The Hub is needed and not reached.
        IntegrityError: The repository's `config.json` differs from the catalogue.
        IncompatibleError: A `config.json` has a value that rezoo does not support.
    """
    if isinstance(reference, Source):
        return reference
    if not isinstance(reference, str):
        return _of_folder(local_folder(reference))
    if is_address(reference):
        return _of_hub(reference, Address.parse(reference))
    if "." in reference and reference in catalogue.list_weights():
        return _of_catalogue(reference, catalogue.get(reference))  # no folder may shadow a pin
    path = local_folder(reference)
    if path.is_dir():
        return _of_folder(path, reference)
    if reference.startswith(_TIMM) and reference.count("/") == 1:
        return _of_hub(reference, Address.parse(reference))
    looks_like_path = "/" in reference or "\\" in reference or reference.startswith((".", "~"))
    if looks_like_path or _is_unsafe_file(path):
        _refuse_path(reference, path)
    if "." in reference and reference not in registry.architectures.names():
        return _of_catalogue(reference, catalogue.get(reference))
    if pretrained:
        registry.architectures.find(reference)  # its error for an unknown name is more precise
        return _of_catalogue(reference, catalogue.default(reference))
    return _of_architecture(reference)


def local_folder(reference: str | Path | WithFolder) -> Path:
    """Return the path that a reference to a local folder means; it need not exist."""
    path = reference if isinstance(reference, (str, Path)) else getattr(reference, "folder", None)
    if not isinstance(path, (str, Path)):
        raise SpecError(
            f"not a model reference: an object of the type {type(reference).__name__}",
            hint="pass a name, a Path, an address of the Hub or the result of train.",
        )
    return expanded(path)


def resolve_weights(reference: Reference, *, pretrained: bool = False) -> Source:
    """Resolve a reference that must have weights: not a bare architecture (`SpecError`)."""
    source = resolve(reference, pretrained=pretrained)
    if not source.has_weights:
        known = catalogue.list_weights(source.config.architecture)
        published = f", or published weights, such as {known[0]}" if known else ""
        raise SpecError(
            f"{source.reference} has no weights: a bare architecture predicts at random",
            hint=f"name a folder with weights, such as a run of rezoo train{published}.",
        )
    return source


def _of_architecture(name: str) -> Source:
    try:
        spec = registry.architectures.get(name)
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{error}, and there is no folder of that name", hint=error.hint
        ) from None
    config = ModelConfig(
        architecture=name,
        num_classes=spec.num_classes,
        preprocessing=Preprocessing(input_size=(3, spec.image_size, spec.image_size)),
    )
    return Source(name, config)


def _of_folder(path: Path, reference: str = "") -> Source:
    if not path.is_dir():
        _refuse_path(str(path), path)
    return Source(reference or str(path), read_config(path), path)


def _of_catalogue(reference: str, spec: WeightsSpec) -> Source:
    if not spec.sha256:
        raise NotFoundError(
            f"{spec.name} has no pinned SHA-256 yet, so its bytes cannot be checked",
            hint=f"to use its present files: hf://{spec.repo}@main",
        )
    if spec.non_commercial:
        text = f"the licence of {spec.name}, {spec.licence}, forbids commercial use."
        warnings.warn(HubWarning(text), stacklevel=3)
    return _opened(reference, Address(spec.repo, spec.commit or MAIN), spec)


def _of_hub(reference: str, address: Address) -> Source:
    spec = catalogue.of_repository(address.repo)
    if spec and ("@" not in reference or address.revision == spec.commit):
        return _opened(reference, address.at(spec.commit or address.revision), spec)
    return _opened(reference, address, None)


def _opened(reference: str, address: Address, spec: WeightsSpec | None) -> Source:
    try:
        pinned = hub_fetch.resolve_commit(
            address, probe=CONFIG, limit=MAX_CONFIG_BYTES, announce=spec is None
        )
        path = hub_fetch.fetch(pinned, CONFIG, limit=MAX_CONFIG_BYTES)
    except (NotFoundError, AccessError) as error:
        raise _with_near_names(error, address) from error
    try:
        config = read_config(path.parent)
        if spec:
            _check_against(spec, config, pinned)
    except IntegrityError as error:
        raise hub_fetch.refused(path, error) from error
    return Source(reference, config, path.parent, pinned, spec)


def _with_near_names(
    error: NotFoundError | AccessError, address: Address
) -> NotFoundError | AccessError:
    """Add the repositories of the catalogues that have similar names."""
    known = [spec.repo for spec in catalogue.describe()]
    close = [] if address.repo in known else near(address.repo, known)
    if not close:
        return error
    names = " or ".join(f"hf://{repo}" for repo in close)
    return type(error)(error.message, hint=f"Did you mean {names}? {error.hint}".strip())


def _check_against(spec: WeightsSpec, config: ModelConfig, address: Address) -> None:
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


def _is_unsafe_file(path: Path) -> bool:
    return path.suffix.lower() in _UNSAFE and path.is_file()


def _refuse_path(reference: str, path: Path) -> NoReturn:
    if _is_unsafe_file(path):
        raise UnsafeFileError(
            f"{reference}: rezoo opens no {path.suffix} files; they can run code or exhaust memory",
            hint=f"name a folder with {CONFIG} and {WEIGHTS}.",
        )
    if path.exists():
        raise NotFoundError(
            f"{reference} is a file", hint=f"name the folder that contains {CONFIG}."
        )
    hint = "check the path."
    if reference.count("/") == 1 and not reference.startswith((".", "~", "/")):
        hint += f" A repository of the Hub is written {SCHEMES[0]}{reference}"
    raise NotFoundError(f"no such folder: {reference}", hint=hint)
