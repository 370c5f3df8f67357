"""`load`: a model reference becomes a Keras model with its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import keras

from rezoo import registry
from rezoo.artifacts.config import CONFIG, WEIGHTS
from rezoo.artifacts.safetensors import TensorFile
from rezoo.artifacts.weights import HEAD, load_weights
from rezoo.errors import (
    IncompatibleError,
    IntegrityError,
    NotFoundError,
    SpecError,
    UnsafeFileError,
)
from rezoo.models.factory import create_model, start_from_zeros
from rezoo.sources import hub_fetch
from rezoo.sources.references import Source, resolve
from rezoo.utils.files import record

_PICKLES = ("pytorch_model.bin", "pytorch_model.pt", "pytorch_model.pth", "tf_model.h5")
_SHARDS = f"{WEIGHTS}.index.json"


@contextmanager
def opened_weights(source: Source) -> Iterator[TensorFile]:
    """Open the weights of a source, once their bytes are what is known of them.

    Raises:
        NotFoundError, NetworkError: The file cannot be had.
        UnsafeFileError: There are only weights of a kind that rezoo never opens.
        IntegrityError: Other bytes than expected; a file of the Hub's cache is set aside.
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
            raise  # fetching it again would bring the same
        raise hub_fetch.refused(path, error) from error


def fill(model: keras.Model, source: Source, *, new_head: str = "") -> str:
    """Fill a model with the weights of a source; return their SHA-256.

    Raises:
        IncompatibleError: The tensors do not fit the model. Else as `opened_weights` does.
    """
    with opened_weights(source) as file:
        load_weights(model, file, structure=source.config.fingerprint, new_head=new_head)
        return file.sha256


def build(
    source: Source,
    *,
    num_classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classifier_activation: str | None = None,
    allow_nonfinite: bool = False,
) -> keras.Model:
    """Build the network of a source and fill it with the source's weights, if it has any.

    Its attribute `rezoo_config` is the `ModelConfig`, `rezoo_origin` where its weights come
    from (`Origin`, or None for random ones).
    """
    config = source.config
    channels = config.preprocessing.channels
    classes = config.num_classes if num_classes is None else num_classes
    shape = (None, None, channels) if input_shape is None else input_shape
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
    )
    if not source.has_weights:
        model, sha256 = create(), ""
    else:
        with opened_weights(source) as file:
            _check_head(file, config.num_classes)
            new_head = HEAD if classes != config.num_classes else ""
            model = start_from_zeros(create, drawn=new_head)
            load_weights(
                model,
                file,
                structure=config.fingerprint,
                new_head=new_head,
                allow_nonfinite=allow_nonfinite,
            )
            sha256 = file.sha256
    if classes != config.num_classes:
        config = dataclasses.replace(
            config, num_classes=classes, class_names=(), class_descriptions=()
        )
    model.rezoo_config = config
    model.rezoo_origin = source.origin(sha256)
    return model


def _check_head(file: TensorFile, num_classes: int) -> None:
    """Refuse a `config.json` with another head than the file has, before a network is built.

    A million classes would take gigabytes before anything could be compared.
    """
    entry = file.entries.get(f"{HEAD}.weight")
    if entry and entry.shape[:1] != (num_classes,) and num_classes:
        raise IncompatibleError(
            f"{file.path}: {HEAD}.weight is {entry.shape}; {CONFIG} says {num_classes} classes",
            hint="nothing was loaded. For another head, say num_classes when loading.",
        )


def load(
    reference: str,
    *,
    pretrained: bool = False,
    num_classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classifier_activation: str | None = None,
    allow_nonfinite: bool = False,
) -> keras.Model:
    """Load a network with its weights.

    Nothing of a file is parsed before its SHA-256 has been compared with the catalogue's, or
    with what its `config.json` or the Hub says where no catalogue lists it.

    Args:
        reference: `"resnet50.a1_in1k"` (published weights of the catalogue),
            `"hf://owner/name[@revision]"`, a folder with `config.json` and
            `model.safetensors` (a run folder, or one that timm wrote), or an architecture's
            name for random weights.
        pretrained: Take the default weights of a bare architecture: `"resnet50"` then means
            `"resnet50.a1_in1k"`.
        num_classes: Width of the head. Another one than the weights have gives a new head
            with random weights; 0 gives pooled features.
        input_shape: `(height, width, channels)`; `(None, None, C)`, any size, where not given.
        classifier_activation: None for logits, `"softmax"` for probabilities.
        allow_nonfinite: Load weights that hold NaN or infinite values, too.

    Returns:
        A functional `keras.Model` from `(N, H, W, C)` float32 to `(N, num_classes)` float32.
        Its attribute `rezoo_config` is the `ModelConfig`: preprocessing and class names;
        `rezoo_origin` says where the weights come from, to the commit.

    Raises:
        UnknownNameError: No such architecture, weights or folder.
        NotFoundError: A file, repository or revision is missing.
        NetworkError: The Hub is needed and not reached, or refuses.
        IntegrityError: A file is damaged or exchanged, or values are not finite.
        IncompatibleError: The tensors do not fit the architecture; all differences are named.
    """
    return build(
        resolve(reference, pretrained=pretrained),
        num_classes=num_classes,
        input_shape=input_shape,
        classifier_activation=classifier_activation,
        allow_nonfinite=allow_nonfinite,
    )


def _explain_absence(source: Source, error: NotFoundError) -> Exception:
    """Say what there is instead of `model.safetensors`; it is never opened."""
    if source.address is None and source.folder is not None:
        names = {p.name for p in source.folder.iterdir()}
    elif source.address is not None:
        names = hub_fetch.names(source.address)
    else:
        names = set()
    for name in sorted(names.intersection(_PICKLES)):
        return UnsafeFileError(
            f"{source.reference} has no {WEIGHTS}, only {name}, which rezoo never opens",
            hint="ask its owners for safetensors, or convert it yourself where you trust it.",
        )
    if _SHARDS in names:
        return IncompatibleError(
            f"{source.reference} has its weights in several files ({_SHARDS}); rezoo reads one",
            hint=f"join them into one {WEIGHTS}.",
        )
    return error
