"""`load`: build the network of a model reference, with its weights."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from functools import partial

import keras
import numpy as np

from rezoo import registry
from rezoo.artifacts.calibrated import read_means
from rezoo.artifacts.config import CONFIG, WEIGHTS
from rezoo.artifacts.run_files import CALIBRATION
from rezoo.artifacts.safetensors import TensorFile
from rezoo.artifacts.weights import load_weights
from rezoo.confidence import SIMILARITY
from rezoo.errors import (
    IncompatibleError,
    IntegrityError,
    NetworkError,
    NotFoundError,
    SpecError,
    UnsafeFileError,
)
from rezoo.models import feature_maps
from rezoo.models.factory import create_model, start_from_zeros
from rezoo.models.naming import HEAD_PREFIXES
from rezoo.sources import hub_fetch
from rezoo.sources.hub_client import repository
from rezoo.sources.references import Reference, Source, resolve
from rezoo.specs import ModelConfig
from rezoo.utils.files import record

_PICKLES = ("pytorch_model.bin", "pytorch_model.pt", "pytorch_model.pth", "tf_model.h5")
_SHARDS = f"{WEIGHTS}.index.json"


def load(
    reference: Reference,
    *,
    pretrained: bool = False,
    require_pinned: bool = False,
    num_classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classifier_activation: str | None = None,
    precision: str = "float32",
    allow_nonfinite: bool = False,
    features_only: bool = False,
) -> keras.Model:
    """Load a network with its weights.

    The SHA-256 of the weights is compared before the file is parsed: with the catalogue, else
    with the manifest in `config.json`, else with the hash that the Hub states.

    Args:
        reference: `"resnet50.a1_in1k"` (published weights of a catalogue),
            `"hf://owner/name[@revision]"`, a folder with `config.json` and
            `model.safetensors` (a run folder, or one that timm wrote), the result of `train`,
            or an architecture's name for random weights. A `Path` is always a folder. A
            `Source` is what `resolve` has returned.
        pretrained: Take the default weights of a bare architecture: `"resnet50"` then means
            `"resnet50.a1_in1k"`.
        require_pinned: Refuse files of the Hub that neither a commit nor a SHA-256 of a catalogue
            determines.
        num_classes: Width of the head; None for that of the weights. Any other width gives a
            new head with random weights; 0 gives pooled features.
        input_shape: `(height, width, channels)`; None for `(None, None, channels)`, any size.
        classifier_activation: None for logits, `"softmax"` for probabilities.
        precision: Dtype policy of the layers; see `create_model`.
        allow_nonfinite: Load weights that have NaN or infinite values, too.
        features_only: Give the feature maps at the end of the stages; see `create_model`.

    Returns:
        A functional `keras.Model` from `(N, H, W, C)` float32 to `(N, num_classes)` float32.
        Its attribute `rezoo_config` is the `ModelConfig`: preprocessing and class names. Its
        attribute `rezoo_origin` is the `Origin` of the weights, None for random ones. Its
        attribute `rezoo_class_means` is float32 `(K, D)` if a calibration needs them, else None.

    Raises:
        UnknownNameError: No such architecture, weights or folder.
        NotFoundError: A file, repository or revision does not exist.
        NetworkError: The Hub is needed and is not reached, or refuses access.
        IntegrityError: A file is damaged or was replaced, values are not finite, or the files are
            not pinned and must be.
        IncompatibleError: The tensors do not fit the architecture; all differences are named.
    """
    source = resolve(reference, pretrained=pretrained, require_pinned=require_pinned)
    config, channels = source.config, source.config.preprocessing.channels
    classes = config.num_classes if num_classes is None else num_classes
    shape = input_shape or (None, None, channels)
    if source.has_weights and shape[2] != channels:
        raise SpecError(
            f"input_shape: {shape[2]} channels; the weights of {source.reference} take {channels}"
        )
    registry.architectures.find(config.architecture)  # before anything large is fetched
    create = partial(
        create_model,
        config.architecture,
        num_classes=classes,
        input_shape=shape,
        classifier_activation=classifier_activation,
        precision=precision,
    )
    sha256, new_head = "", classes != config.num_classes
    if source.has_weights:
        with opened_weights(source) as file:
            _check_head(file, config.num_classes)
            model = start_from_zeros(create, new_head=new_head)
            load_weights(
                model,
                file,
                structure=config.fingerprint,
                new_head=new_head,
                allow_nonfinite=allow_nonfinite,
            )
            sha256 = file.sha256
        if new_head:
            config = _with_new_head(config, classes)
        model.rezoo_config = config
        model.rezoo_class_means = _class_means(source, config)
    else:
        model = create()
    model.rezoo_origin = source.origin(sha256)
    return feature_maps.features_only(model) if features_only else model


def _with_new_head(config: ModelConfig, classes: int) -> ModelConfig:
    """Return the config for a head of other classes, whose names are not known."""
    return dataclasses.replace(
        config, num_classes=classes, class_names=(), class_descriptions=(), calibration=None
    )


def _class_means(source: Source, config: ModelConfig) -> np.ndarray | None:
    """Return the class means that the threshold of a calibration needs, or None."""
    if config.calibration is None or config.calibration.score != SIMILARITY:
        return None
    path = source.file(CALIBRATION)
    return read_means(path, source.expected(CALIBRATION, path))


def fill(model: keras.Model, source: Source, *, new_head: bool = False) -> str:
    """Assign the weights of a source to a model; return their SHA-256."""
    with opened_weights(source) as file:
        load_weights(model, file, structure=source.config.fingerprint, new_head=new_head)
        return file.sha256


@contextlib.contextmanager
def opened_weights(source: Source) -> Iterator[TensorFile]:
    """Open the weights of a source after comparing their bytes with what is known of them.

    Raises:
        NotFoundError, NetworkError: The file cannot be fetched or read.
        UnsafeFileError: The source has only weights of a kind that rezoo never opens.
        IntegrityError: The bytes differ; a file of the Hub's cache is moved aside.
    """
    try:
        path = source.file(WEIGHTS)
    except NotFoundError as error:
        raise _explain_absence(source, error) from error
    expected = source.expected(WEIGHTS, path)
    try:
        with TensorFile(path, expected) as file:
            yield file
    except IntegrityError as error:
        if source.address is None or (expected and record(path).sha256 == expected.sha256):
            raise  # to fetch the file again would bring the same bytes
        raise hub_fetch.refused(path, error) from error


def _check_head(file: TensorFile, num_classes: int) -> None:
    """Refuse a `config.json` with another head than the file, before a network is built.

    A head of a million classes would take gigabytes of memory.
    """
    for name in (f"{prefix}weight" for prefix in HEAD_PREFIXES):
        found = file.entries.get(name)
        if found and found.shape[:1] != (num_classes,) and num_classes:
            raise IncompatibleError(
                f"{file.path}: {name} is {found.shape}; {CONFIG} says {num_classes} classes",
                hint="nothing was loaded. For another head, pass num_classes when loading.",
            )


def _explain_absence(source: Source, error: NotFoundError) -> Exception:
    """Return an error that names the weights in another format, if there are any."""
    names: set[str] = set()
    if source.address is not None:
        with contextlib.suppress(NetworkError, NotFoundError):
            names = {file.rfilename for file in repository(source.address).siblings or ()}
    elif source.folder is not None:
        names = {path.name for path in source.folder.iterdir()}
    for name in sorted(names.intersection(_PICKLES)):
        return UnsafeFileError(
            f"{source.reference} has no {WEIGHTS}, only {name}, which rezoo never opens",
            hint="ask its owners for safetensors, or convert it yourself if you trust it.",
        )
    if _SHARDS in names:
        return IncompatibleError(
            f"{source.reference} has its weights in several files ({_SHARDS}); rezoo reads one",
            hint=f"join them into one {WEIGHTS}.",
        )
    return error
