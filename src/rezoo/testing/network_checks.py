"""The contract of an architecture: its spec, its names, and what it gives for images."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from rezoo.specs import MAX_IMAGE_SIZE
from rezoo.testing.built_network import (
    CLASSES,
    SAME,
    BuiltNetwork,
    check_logits,
    difference,
    forward,
    noise,
)
from rezoo.testing.contract import BrokenContractError

_ARGUMENTS = ("name", "input_shape", "num_classes", "classifier_activation")
_OPTIONAL = ("stochastic_depth", "seed")


def build(network: BuiltNetwork) -> str:
    """`build` takes its arguments, and returns a functional model from one image to logits."""
    import keras

    taken = inspect.signature(network.spec.build).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        for name in (*_ARGUMENTS, *network.spec.config):
            if name not in taken:
                raise BrokenContractError(f"build has no argument {name!r}")
        given = {*_ARGUMENTS, *_OPTIONAL, *network.spec.config}
        required = {n for n, p in taken.items() if p.default is p.empty and n not in given}
        if required:
            raise BrokenContractError(f"build requires {', '.join(sorted(required))}: add config")
    model = network.model
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        raise BrokenContractError(
            f"build returns a {type(model).__name__}, not a functional keras.Model"
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise BrokenContractError(
            f"the network has {len(model.inputs)} inputs and {len(model.outputs)} outputs, not one"
        )
    if tuple(model.output.shape) != (None, CLASSES):
        raise BrokenContractError(
            f"the output has the shape {tuple(model.output.shape)} for num_classes={CLASSES}, "
            f"not (None, {CLASSES})"
        )
    return f"{type(model).__name__} with {len(model.layers)} layers"


def metadata(network: BuiltNetwork) -> str:
    """The spec describes itself: name, family, summary, source, sizes and counts."""
    spec = network.spec
    if spec.name != network.name:
        raise BrokenContractError(
            f"the spec is called {spec.name!r} and registered as {network.name!r}"
        )
    missing = [key for key in ("family", "summary", "source") if not getattr(spec, key).strip()]
    if missing:
        raise BrokenContractError(f"the spec has no {' and no '.join(missing)}")
    if "\n" in spec.summary:
        raise BrokenContractError("summary has more than one line")
    for key, low, high in (("image_size", 1, MAX_IMAGE_SIZE), ("num_classes", 1, None)):
        value = getattr(spec, key)
        if not isinstance(value, int) or value < low or (high and value > high):
            raise BrokenContractError(f"{key} is {value!r}")
    try:
        json.dumps(dict(spec.config))
    except TypeError as error:
        raise BrokenContractError(f"config is not plain data: {error}") from error
    return f"{spec.summary}; {spec.image_size} px; {spec.source}"


def counts(network: BuiltNetwork) -> str:
    """`params` and `macs` of the spec are those of the network."""
    from rezoo.models.factory import start_from_zeros
    from rezoo.models.profile import profile

    spec = network.spec
    shape = (spec.image_size, spec.image_size, 3)
    options = {"num_classes": spec.num_classes, "input_shape": shape}
    found = profile(start_from_zeros(lambda: network.create(**options)), input_shape=shape)
    for key, value in (("params", found.params), ("macs", found.macs)):
        stated = getattr(spec, key)
        if stated not in (None, value):
            raise BrokenContractError(f"{key} is {stated:,}; the network has {value:,}")
    text = f"{found.params:,} parameters, {found.macs:,} MACs at {spec.image_size} px"
    unstated = [key for key in ("params", "macs") if getattr(spec, key) is None]
    return f"{text}; the spec does not state {' and '.join(unstated)}" if unstated else text


def tensor_names(network: BuiltNetwork) -> str:
    """Each tensor has a name of its own, the same in each build; the head has a known name."""
    import keras

    from rezoo.models.feature_maps import feature_info
    from rezoo.models.fingerprint import fingerprint
    from rezoo.models.naming import HEADS, head_of
    from rezoo.models.tensors import named_variables

    first = [name for name, _ in named_variables(network.model)]
    again = network.create()
    second = [name for name, _ in named_variables(again)]
    twice = sorted({name for name in first if first.count(name) > 1})
    if twice:
        raise BrokenContractError(f"two tensors are called {twice[0]}")
    for one, other in zip(first, second, strict=False):
        if one != other:
            raise BrokenContractError(
                f"a tensor is called {one} in one build and {other} in the next: give each layer "
                "with weights a name"
            )
    depthwise = (keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    if layers := [x.name for x in network.model.layers if isinstance(x, depthwise)]:
        raise BrokenContractError(
            f"the filters of {layers[0]} have another layout than PyTorch's: use "
            "rezoo.models.layers.conv with groups"
        )
    odd = [name for name in first if not re.fullmatch(r"[\w.]+", name)]
    if odd:
        raise BrokenContractError(f"the name {odd[0]!r} has characters besides a-z, 0-9, _ and .")
    head = head_of(network.model)
    if head is None:
        raise BrokenContractError(
            f"no layer is called {' or '.join(map(repr, HEADS))}: the head cannot be replaced for "
            "other classes"
        )
    if fingerprint(network.model) != fingerprint(again):
        raise BrokenContractError("two builds have different layers")
    stages = feature_info(network.model)
    strides = ", ".join(str(stage.stride) for stage in stages)
    where = f"stages with strides {strides}" if stages else "no stages, so no feature maps"
    return f"{len(first)} tensors; head {head.name}; {where}"


def shapes(network: BuiltNetwork) -> str:
    """Images of any size and number give finite float32 logits, each image by itself."""
    side = network.side
    alone = forward(network.model, network.images[:1])
    if difference(network.logits[:1], alone) > SAME:
        raise BrokenContractError("the logits of an image depend on the other images of its batch")
    odd = (side + 7, side + 21)
    found = {f"{side}×{side}": network.logits}
    found["{}×{}".format(*odd)] = forward(network.model, noise(1, *odd, 3))
    grey = network.create(input_shape=(side, side, 1))
    found[f"{side}×{side} grey"] = forward(grey, noise(1, side, side, 1))
    for what, logits in found.items():
        check_logits(what, logits)
    return ", ".join(found)


def classes(network: BuiltNetwork) -> str:
    """0 classes give the features that the head reads; softmax gives probabilities."""
    import keras
    import numpy as np

    from rezoo.models.naming import head_of

    features = forward(network.like_model(num_classes=0), network.images)
    if features.ndim != 2:
        raise BrokenContractError(
            f"num_classes=0 gives the shape {features.shape}, not (N, features)"
        )
    head: Any = head_of(network.model)
    read = keras.ops.convert_to_numpy(head(features)).reshape(len(features), -1)
    if read.shape != network.logits.shape or difference(network.logits, read) > SAME:
        raise BrokenContractError("num_classes=0 does not give the features that the head reads")
    found = forward(network.like_model(classifier_activation="softmax"), network.images)
    wanted = np.exp(network.logits - network.logits.max(-1, keepdims=True))
    wanted /= wanted.sum(-1, keepdims=True)
    if difference(wanted, found) > SAME:
        raise BrokenContractError("classifier_activation='softmax' does not give the softmax")
    return f"{CLASSES} classes, softmax, and {features.shape[1]} features"
