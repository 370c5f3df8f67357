"""The contract of an architecture: what training, saving and exporting need of it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from rezoo.errors import SpecError
from rezoo.models.settings import BACKENDS
from rezoo.testing import elsewhere
from rezoo.testing.built_network import (
    SAME,
    BuiltNetwork,
    check_logits,
    difference,
    forward,
)
from rezoo.testing.contract import BrokenContractError, NotCheckedError

if TYPE_CHECKING:
    import keras
    import numpy as np

BFLOAT16 = 0.25  # difference of logits in 8 bits of precision, root mean squares


def determinism(network: BuiltNetwork) -> str:
    """The same seed gives the same weights, and the same images the same logits."""
    import numpy as np

    from rezoo.models.tensors import to_tensors

    one, two = (to_tensors(network.create()) for _ in range(2))
    different = [n for n in one if one[n].tobytes() != two[n].tobytes()]
    if different:
        raise BrokenContractError(f"{different[0]} is random whatever the seed is")
    if not np.array_equal(network.logits, forward(network.model, network.images)):
        raise BrokenContractError("the same images give other logits at a second time")
    return "same seed, same weights; same images, same logits"


def weights_file(network: BuiltNetwork) -> str:
    """`model.safetensors` gives the same tensors and logits, bit by bit."""
    import numpy as np

    from rezoo.models.tensors import to_tensors
    from rezoo.sources.load import load

    model = load(network.folder)
    wanted, found = to_tensors(network.model), to_tensors(model)
    for name, value in wanted.items():
        if found[name].tobytes() != value.tobytes():
            raise BrokenContractError(f"{name} is not the same after saving and loading")
    if not np.array_equal(network.logits, forward(model, network.images)):
        raise BrokenContractError("the tensors are the same after loading, and the logits are not")
    size = (network.folder / "model.safetensors").stat().st_size
    return f"{len(wanted)} tensors, {size / 1e6:.2f} MB, the same bits"


def gradients(network: BuiltNetwork) -> str:
    """A training step reaches every trainable weight, with finite gradients."""
    import numpy as np

    missing, found = _gradients(network.like_model(), network.images)
    if missing:
        raise BrokenContractError(f"{missing[0]} has no gradient")
    bad = [name for name, value in found.items() if not np.isfinite(value).all()]
    if bad:
        raise BrokenContractError(f"the gradient of {bad[0]} is not finite")
    return f"finite, of {len(found)} tensors"


def stochastic_depth(network: BuiltNetwork) -> str:
    """With stochastic depth, tensors and logits stay; only training drops branches."""
    import numpy as np

    from rezoo.models.fingerprint import fingerprint

    if "stochastic_depth" not in inspect.signature(network.spec.build).parameters:
        return "not supported: recipes with it are refused"
    try:
        model = network.like_model(stochastic_depth=0.5, seed=1)
    except SpecError as error:  # such as a network without shortcuts
        return error.message
    if fingerprint(model) != fingerprint(network.model):
        raise BrokenContractError("the fingerprint changes: use rezoo.models.drop_path.Add")
    if difference(network.logits, forward(model, network.images)) > SAME:
        raise BrokenContractError("the logits change without training")
    noisy = [forward(model, network.images, training=True) for _ in range(3)]
    if all(np.array_equal(noisy[0], other) for other in noisy[1:]):
        raise BrokenContractError("training drops no branch")
    return "in training only"


def mixed_precision(network: BuiltNetwork) -> str:
    """In bfloat16, weights and logits stay float32 and the logits stay near."""
    import numpy as np

    model = network.like_model(precision="mixed_bfloat16")
    logits = forward(model, network.images)
    check_logits("bfloat16", logits)
    if wrong := [v.path for v in model.weights if v.dtype in ("bfloat16", "float16")]:
        raise BrokenContractError(f"{wrong[0]} is not float32")
    heavy = [x for x in model.layers if any(len(w.shape) > 1 for w in x.weights)]
    computed = [x.name for x in heavy if x.compute_dtype == "bfloat16"]
    if len(heavy) > 1 and not computed:
        raise BrokenContractError("no layer computes in bfloat16: leave dtype to rezoo")
    far = float(np.sqrt(((logits - network.logits) ** 2).mean() / (network.logits**2).mean()))
    if far > BFLOAT16:
        raise BrokenContractError(f"the logits differ from float32 by {far:.0%}")
    return f"{len(computed)} of {len(heavy)} layers compute in bfloat16; logits within {far:.1%}"


def other_backend(network: BuiltNetwork) -> str:
    """The other backend of Keras gives the same logits of the same weights."""
    from importlib.util import find_spec

    import keras
    import numpy as np

    (other,) = (name for name in BACKENDS if name != keras.config.backend())
    if find_spec(other) is None:
        raise NotCheckedError(f"{other} is not installed: pip install 'rezoo[{other}]'")
    images = network.scratch / "images.npy"
    np.save(images, network.images)
    here = (str(network.folder), str(images))
    found = elsewhere.ask("logits", network.scratch, *here, KERAS_BACKEND=other)
    far = difference(network.logits, np.asarray(found, np.float32))
    if far > SAME:
        raise BrokenContractError(f"{other} differs by {far:.1e} of the largest logit")
    return f"{other}: {far:.1e} of the largest logit"


def export(network: BuiltNetwork) -> str:
    """An exported file gives the same logits in its own runtime."""
    from rezoo.exporters.export import export as write
    from rezoo.exporters.formats import FORMATS
    from rezoo.exporters.graph import read_graph

    side, note = network.side, ""
    graph = read_graph(network.model, (side, side, 3))
    own = [node for node in graph.nodes if node.kind == "keras"]
    kind = "keras" if FORMATS["onnx"].missing or own else "onnx"
    if own:
        layer = f"{own[0].name} ({type(own[0].layer).__name__})"
        note = f"; not onnx, openvino and stablehlo: {layer} has no counterpart there"
    passport = write(
        network.folder, kind, output=network.scratch / kind, image_size=side, measure=False
    )
    found = passport.comparison
    if not found.holds:
        raise BrokenContractError(f"{kind} differs by {found.relative:.1e} of the largest logit")
    return f"{kind}: {found.relative:.1e} of the largest logit{note}"


def _gradients(model: keras.Model, images: np.ndarray) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the trainable tensors without a gradient, and the gradients of the others."""
    import keras
    import numpy as np

    labels = np.arange(len(images))
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    names = [variable.path for variable in model.trainable_variables]
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(images, training=True))
        found = tape.gradient(loss, [v.value for v in model.trainable_variables])
        missing = [n for n, g in zip(names, found, strict=True) if g is None]
    else:
        import jax

        fixed = [v.value for v in model.non_trainable_variables]

        def loss_at(values: list[Any]) -> Any:
            logits, _ = model.stateless_call(values, fixed, images, training=True)
            return loss_of(labels, logits)

        found = jax.grad(loss_at)([v.value for v in model.trainable_variables])
        missing = [n for n, g in zip(names, found, strict=True) if not np.any(g)]
    pairs = zip(names, found, strict=True)
    return missing, {n: keras.ops.convert_to_numpy(g) for n, g in pairs if g is not None}
