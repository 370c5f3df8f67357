"""What may stand where a model is wanted, and where its files are.

| reference                        | means                                                   |
|----------------------------------|---------------------------------------------------------|
| `resnet50`                       | an architecture; random weights                         |
| `resnet50.a1_in1k`               | published weights, pinned by a catalogue                |
| `hf://owner/name[@revision]`     | a repository of the Hub; `hf-hub:` is the same          |
| `timm/resnet50.a1_in1k`          | likewise, where there is no such folder                 |
| a path                           | a folder with `config.json` and `model.safetensors`;    |
|                                  | `./name` where a catalogue lists that name              |

Loads without Keras, so a wrong name is answered at once. Of a repository, only `config.json`
is fetched here; the weights follow when they are needed.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

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
from rezoo.sources.hub_address import SCHEMES, Address, is_address
from rezoo.specs import ModelConfig, Origin, Preprocessing, WeightsSpec
from rezoo.utils.files import FileRecord
from rezoo.utils.names import near

MAX_WEIGHTS_BYTES = 64 * 1024**3
MAX_RECORD_BYTES = 1024**3  # of the files beside the weights
# Formats that can run code or allocate at will when they are read; recognised, never opened.
_UNSAFE = (
    *(".bin", ".ckpt", ".h5", ".hdf5", ".joblib", ".keras", ".msgpack", ".npz", ".pb"),
    *(".pickle", ".pkl", ".pt", ".pth"),
)
_TIMM = "timm/"


@dataclass(frozen=True)
class Source:
    """What a model reference points to.

    Attributes:
        reference: As it was given.
        config: The network; a default one where an architecture is named.
        folder: Where the files are, or None for random weights.
        address: The repository at a commit, where the files come from the Hub.
        published: The catalogue's entry, where there is one.
    """

    reference: str
    config: ModelConfig
    folder: Path | None = None
    address: Address | None = None
    published: WeightsSpec | None = None

    @property
    def has_weights(self) -> bool:
        """Whether there are weights, or the network starts from random ones."""
        return self.folder is not None

    def file(self, name: str) -> Path:
        """Return the path of a file that must be there; one of the Hub is fetched first.

        Raises:
            NotFoundError: There is no such file.
            NetworkError: It is on the Hub, which is not reached.
        """
        if self.address is not None:
            limit = MAX_WEIGHTS_BYTES if name == WEIGHTS else MAX_RECORD_BYTES
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
        """Return what the bytes of a file should be, from the first of these that knows.

        The catalogue's pin, what the folder's `config.json` vouches for, and what the Hub said.
        """
        pin = self.published
        if name == WEIGHTS and pin and pin.sha256:
            return FileRecord(pin.sha256, pin.size, f"the catalogue ({pin.catalogue})")
        if name in self.config.files:
            return self.config.files[name]
        return hub_fetch.hub_record(path) if self.address else None

    def origin(self, sha256: str) -> Origin | None:
        """Return what is recorded in everything that is made from these weights."""
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
        """The licence of the weights: the catalogue's word, else the config's."""
        return self.published.licence if self.published else self.config.licence


def resolve(reference: str | Source, *, pretrained: bool = False) -> Source:
    """Find out what a model reference means, without building the network.

    Args:
        reference: See the table above; a `Source` is returned as it is.
        pretrained: Take the default weights of a bare architecture.

    Raises:
        UnknownNameError: No such name; the hint has near names.
        NotFoundError: A path or repository that is not there; no default weights.
        NetworkError: The Hub is needed and not reached.
        IntegrityError: The repository's `config.json` is not what the catalogue says.
        IncompatibleError: A `config.json` that cannot be honoured.
    """
    if isinstance(reference, Source):
        return reference
    path = Path(reference).expanduser()
    if is_address(reference):
        return _of_hub(reference, Address.parse(reference))
    if "." in reference and reference in catalogue.list_weights():
        return _of_catalogue(reference, catalogue.get(reference))  # no folder may shadow a pin
    if path.is_dir():
        return Source(reference, read_config(path), path)
    if reference.startswith(_TIMM) and reference.count("/") == 1:
        return _of_hub(reference, Address.parse(reference))
    if any(mark in reference for mark in ("/", "\\")) or reference.startswith((".", "~")):
        _no_such_path(reference, path)
    if path.is_file() and path.suffix.lower() in _UNSAFE:
        _no_such_path(reference, path)
    if "." in reference and reference not in registry.architectures.names():
        return _of_catalogue(reference, catalogue.get(reference))
    if pretrained:
        registry.architectures.find(reference)  # a wrong name is the better message
        return _of_catalogue(reference, catalogue.default(reference))
    return _of_architecture(reference)


def resolve_weights(reference: str | Source, *, pretrained: bool = False) -> Source:
    """Resolve a reference that must have weights; raises as `resolve` does.

    Raises:
        SpecError: It names an architecture, whose weights would be random.
    """
    source = resolve(reference, pretrained=pretrained)
    if not source.has_weights:
        known = catalogue.list_weights(source.config.architecture)
        published = f", or published weights, such as {known[0]}" if known else ""
        raise SpecError(
            f"{source.reference} has no weights: a bare architecture would guess at random",
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


def _of_catalogue(reference: str, spec: WeightsSpec) -> Source:
    if not spec.sha256:
        raise NotFoundError(
            f"{spec.name} has no pinned SHA-256 yet, so its bytes cannot be proven",
            hint=f"to take what is there now: hf://{spec.repo}@main",
        )
    if spec.non_commercial:
        text = f"the licence of {spec.name}, {spec.licence}, forbids commercial use."
        warnings.warn(HubWarning(text), stacklevel=3)
    address = Address(spec.repo, spec.commit) if spec.commit else Address(spec.repo)
    return _opened(reference, address, spec)


def _of_hub(reference: str, address: Address) -> Source:
    spec = catalogue.of_repository(address.repo)
    unsaid = "@" not in reference
    if spec and (unsaid or address.revision == spec.commit):
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
    """Add the catalogued repositories whose names resemble one that is not there."""
    known = [spec.repo for spec in catalogue.describe()]
    close = [] if address.repo in known else near(address.repo, known)
    if not close:
        return error
    names = " or ".join(f"hf://{repo}" for repo in close)
    return type(error)(error.message, hint=f"Did you mean {names}? {error.hint}".strip())


def _check_against(spec: WeightsSpec, config: ModelConfig, address: Address) -> None:
    """A `config.json` has no pinned hash; what it says of the network must be the catalogue's."""
    found_pre, wanted_pre = asdict(config.preprocessing), asdict(spec.preprocessing)
    for what, found, wanted in (
        ("architecture", config.architecture, spec.architecture),
        ("num_classes", config.num_classes, spec.num_classes),
        *((key, found_pre[key], value) for key, value in wanted_pre.items()),
    ):
        if found != wanted:
            raise IntegrityError(
                f"{address} {CONFIG}: {what} is {found}; the catalogue says {wanted}",
                hint="the repository was changed, or a mirror serves another file.",
            )


def _no_such_path(reference: str, path: Path) -> NoReturn:
    if path.is_file() and path.suffix.lower() in _UNSAFE:
        raise UnsafeFileError(
            f"{reference}: rezoo opens no {path.suffix} files; they can run code or exhaust memory",
            hint=f"name a folder with {CONFIG} and {WEIGHTS}.",
        )
    if path.exists():
        raise NotFoundError(f"{reference} is a file", hint=f"name the folder that holds {CONFIG}.")
    hint = "check the path."
    if reference.count("/") == 1 and not reference.startswith((".", "~", "/")):
        hint += f" A repository of the Hub is written {SCHEMES[0]}{reference}"
    raise NotFoundError(f"no such folder: {reference}", hint=hint)
