"""Model references: what a name, an address or a path means, and where its files are.

| reference                        | means                                                   |
|----------------------------------|---------------------------------------------------------|
| `resnet50`                       | an architecture; random weights                         |
| `resnet50.a1_in1k`               | published weights of a catalogue                        |
| `tv_resnet50`                    | timm's old name of `resnet50.tv_in1k`                   |
| `hf://owner/name[@revision]`     | a repository of the Hub; `hf-hub:` is the same          |
| `timm/resnet50.a1_in1k`          | likewise, unless there is such a folder                 |
| `runs/name`, `./name`            | a folder with `config.json` and `model.safetensors`;    |
|                                  | a name without a separator is never a folder            |
| a `Path`, the result of `train`  | a folder, never a name                                  |

Loads without Keras. Of a repository, only `config.json` is fetched here; the weights follow
when they are needed.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias

from rezoo import registry
from rezoo.artifacts.config import CONFIG, WEIGHTS, read_config
from rezoo.errors import (
    AccessError,
    HubNote,
    HubWarning,
    IntegrityError,
    NotFoundError,
    SpecError,
    UnknownNameError,
)
from rezoo.models.factory import default_config
from rezoo.sources import catalogue, hub_fetch
from rezoo.sources.hub_address import MAIN, Address, is_address
from rezoo.sources.refusals import (
    check_against,
    check_pinned,
    is_unsafe_file,
    refuse_path,
    with_near_names,
)
from rezoo.specs import ModelConfig, Origin, WeightsSpec
from rezoo.utils.documents import MAX_JSON_BYTES
from rezoo.utils.files import FileRecord
from rezoo.utils.paths import expanded
from rezoo.utils.timm_names import NOT_BUILT, OLD_NAMES

MAX_WEIGHTS_BYTES = 64 * 1024**3
MAX_OTHER_BYTES = 1024**3  # of each other file
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

    @property
    def lasting(self) -> str:
        """A reference that means the same from every folder: an absolute path, or a commit."""
        if self.address is not None:
            return str(self.address)
        return self.config.architecture if self.folder is None else str(self.folder.resolve())

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
        entry = self.published if name == WEIGHTS else None
        if entry and entry.sha256:
            return FileRecord(entry.sha256, entry.size, f"the catalogue ({entry.catalogue})")
        if name in self.config.files and not entry:
            return self.config.files[name]
        if self.address is None:
            return None
        if entry:  # there must be a hash
            return hub_fetch.hub_record(path) or hub_fetch.stated_record(self.address, name)
        return hub_fetch.hub_record(path)

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


def resolve(
    reference: Reference, *, pretrained: bool = False, require_pinned: bool = False
) -> Source:
    """Return what a model reference means, without building the network.

    Args:
        reference: See the table above; a `Source` is returned as it is.
        pretrained: Take the default weights of a bare architecture.
        require_pinned: Refuse files of the Hub that neither a commit nor a SHA-256 of a catalogue
            determines.

    Raises:
        UnknownNameError: No such name; the hint has similar names.
        NotFoundError: A path or repository that does not exist; no default weights.
        NetworkError: The Hub is needed and not reached.
        IntegrityError: The repository's `config.json` differs from the catalogue, or the files are
            not pinned and must be.
        IncompatibleError: A `config.json` has a value that rezoo does not support.
    """
    if isinstance(reference, Source):
        return reference
    if not isinstance(reference, str):
        return _of_folder(local_folder(reference))
    if is_address(reference):
        return _of_hub(reference, Address.parse(reference), require_pinned)
    path = local_folder(reference)
    if is_path(reference):
        if path.is_dir():
            return _of_folder(path, reference)
        if reference.startswith(_TIMM) and reference.count("/") == 1:
            return _of_hub(reference, Address.parse(reference), require_pinned)
        refuse_path(reference, path)
    if is_unsafe_file(path):
        refuse_path(reference, path)
    try:
        return _of_name(reference, pretrained, require_pinned)
    except UnknownNameError as error:
        if path.is_dir():
            error.hint = f"for the folder, write ./{reference}"
        elif path.is_file():
            error.hint = f"{reference} is a file; a model is a name, or a folder with weights."
        raise


def local_folder(reference: str | Path | WithFolder) -> Path:
    """Return the path that a reference to a local folder means; it need not exist."""
    path = reference if isinstance(reference, (str, Path)) else getattr(reference, "folder", None)
    if not isinstance(path, (str, Path)):
        raise SpecError(
            f"not a model reference: an object of the type {type(reference).__name__}",
            hint="pass a name, a Path, an address of the Hub or the result of train.",
        )
    return expanded(path)


def is_path(reference: str) -> bool:
    """Return whether a text is written as a path; `timm/NAME` may mean a repository, too."""
    return "/" in reference or "\\" in reference or reference.startswith((".", "~"))


def as_reference(folder: Path) -> str:
    """Return the text that means a folder, and neither an architecture nor an option."""
    text = str(folder)
    alone = len(folder.parts) == 1 and not folder.is_absolute()
    return f"./{text}" if alone or text.startswith("-") else text


def resolve_weights(
    reference: Reference, *, pretrained: bool = False, require_pinned: bool = False
) -> Source:
    """Resolve a reference that must have weights, and an architecture that is known."""
    source = resolve(reference, pretrained=pretrained, require_pinned=require_pinned)
    if not source.has_weights:
        known = catalogue.list_weights(source.config.architecture)
        published = f", or published weights, such as {known[0]}" if known else ""
        raise SpecError(
            f"{source.reference} has no weights: a bare architecture predicts at random",
            hint=f"name a folder with weights, such as a run of rezoo train{published}.",
        )
    registry.architectures.find(source.config.architecture)
    return source


def _of_name(reference: str, pretrained: bool, require_pinned: bool) -> Source:
    """Resolve a name of an architecture or of weights, also one that timm has given up."""
    name = OLD_NAMES.get(reference, reference)
    if name != reference:
        warnings.warn(HubNote(f"{reference} is timm's old name of {name}."), stacklevel=3)
    if "." in name and name not in registry.architectures.names():
        if name.partition(".")[0] in NOT_BUILT:
            registry.architectures.find(name)  # its error says so
        return _of_catalogue(reference, catalogue.get(name), require_pinned)
    if pretrained:
        registry.architectures.find(name)  # its error for an unknown name is more precise
        return _of_catalogue(name, catalogue.default(name), require_pinned)
    return _of_architecture(name)


def _of_architecture(name: str) -> Source:
    spec = registry.architectures.get(name)
    config = default_config(spec, (None, None, 3), spec.num_classes)
    assert config is not None  # it has three channels
    return Source(name, replace(config, architecture=name))


def _of_folder(path: Path, reference: str = "") -> Source:
    if not path.is_dir():
        refuse_path(str(path), path)
    return Source(reference or as_reference(path), read_config(path), path)


def _of_catalogue(reference: str, spec: WeightsSpec, require_pinned: bool) -> Source:
    address = Address(spec.repo, spec.commit or MAIN)
    if require_pinned:
        check_pinned(reference, address, spec)
    if spec.non_commercial:
        text = f"the licence of {spec.name}, {spec.licence}, forbids commercial use."
        warnings.warn(HubWarning(text), stacklevel=4)
    return _opened(reference, address, spec)


def _of_hub(reference: str, address: Address, require_pinned: bool) -> Source:
    spec = catalogue.of_repository(address.repo)
    if spec and ("@" not in reference or address.revision == spec.commit):
        return _opened(reference, address.at(spec.commit or address.revision), spec)
    if require_pinned:
        check_pinned(reference, address, None)
    return _opened(reference, address, None)


def _opened(reference: str, address: Address, spec: WeightsSpec | None) -> Source:
    try:
        pinned = hub_fetch.resolve_commit(
            address, probe=CONFIG, limit=MAX_JSON_BYTES, announce=spec is None
        )
        path = hub_fetch.fetch(pinned, CONFIG, limit=MAX_JSON_BYTES)
    except (NotFoundError, AccessError) as error:
        raise with_near_names(error, address) from error
    if spec and not spec.sha256:
        warnings.warn(
            HubNote(
                f"no catalogue has the SHA-256 of {spec.name}; {pinned} is checked against the one "
                "that the Hub states."
            ),
            stacklevel=5,
        )
    try:
        config = read_config(path.parent)
        if spec:
            check_against(spec, config, pinned)
    except IntegrityError as error:
        raise hub_fetch.refused(path, error) from error
    return Source(reference, config, path.parent, pinned, spec)
