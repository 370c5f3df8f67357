"""The parts of residual networks, in networks of a few thousand parameters that have them all.

What they compute is compared with timm's own modules in test_parity.py.
"""

import json

import keras
import numpy as np
import pytest

import rezoo
from rezoo.errors import SpecError
from rezoo.evaluation.damage.residual_blocks import cut_at_blocks
from rezoo.evaluation.explaining.linear_head import linear_head
from rezoo.evaluation.forward import compiled_forward
from rezoo.models import antialiasing, attention, layers, residual, tensors
from rezoo.models.fingerprint import fingerprint
from rezoo.models.profile import profile

ON_TENSORFLOW = keras.config.backend() == "tensorflow"
GROUPED = {"groups": 4, "base_width": 16}
NETWORKS = {
    "resnext": GROUPED,
    "seresnext": {**GROUPED, "attention": "se"},
    "senet": {
        **GROUPED,
        "attention": "se",
        "shortcut": ("projection", {"kernel": 3}),
        "reduce_first": 2,
    },
    "ecaresnet": {"attention": "eca", "shortcut": "pooled"},
    "resnetaa": {"antialias": "average", "pool": "average"},
    "resnetblur": {"antialias": "blur", "pool": "blur"},
    "resnetrs": {"attention": ("se", {"ratio": 0.25}), "pool": "convolution"},
    "group norm": {"norm": ("group", {"groups": 8})},
}
# The parts of the others are among these; all are compared with timm in test_parity.py.
FEW = [
    n if n in ("senet", "resnetblur", "resnetrs") else pytest.param(n, marks=pytest.mark.slow)
    for n in NETWORKS
]
SIZE = (33, 38)


COMBINED = [  # all parts in two networks
    {**NETWORKS["senet"], **NETWORKS["resnetblur"], **NETWORKS["group norm"]},
    {**NETWORKS["resnetrs"], **NETWORKS["ecaresnet"], "antialias": "average"},
]


def small(parts, *, size=SIZE, stochastic_depth=0.0):
    """Build a network of two stages of parts, or of those of a family."""
    return residual.build(
        name="small",
        input_shape=(*size, 3),
        num_classes=5,
        classifier_activation=None,
        depths=(1, 2),
        blocks=(("bottleneck", 16), ("bottleneck", 32)),
        stem=("deep", (8, 8, 16)),
        stochastic_depth=stochastic_depth,
        **(NETWORKS[parts] if isinstance(parts, str) else parts),
    )


def with_values(model):
    """Give a network weights and statistics that are not trivial, as of training."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        deviation = 0.4 / np.sqrt(np.prod(variable.shape[:-1])) if len(variable.shape) > 1 else 0.2
        centre = 1.0 if variable.path.endswith(("gamma", "variance")) else 0.0
        value = centre + deviation * random.uniform(-2, 2, variable.shape)
        variable.assign(value.astype(np.float32))
    return model


def pictures(count=2, size=SIZE):
    return np.random.default_rng(1).normal(size=(count, *size, 3)).astype(np.float32)


@pytest.mark.ci
@pytest.mark.parametrize("name", FEW)
def test_tensors_fit_back_into_the_network(name):
    one, other = with_values(small(name)), small(name)
    values = tensors.to_tensors(one)
    tensors.check(other, {k: v.shape for k, v in values.items()}, origin=name)
    tensors.assign(other, values.__getitem__)
    found, wanted = (keras.ops.convert_to_numpy(m(pictures())) for m in (other, one))
    assert np.array_equal(found, wanted)


@pytest.mark.ci
def test_each_part_changes_the_fingerprint():
    models = [small(parts, size=(None, None)) for parts in ({}, *NETWORKS)]
    assert len({fingerprint(model) for model in models}) == len(models)


@pytest.mark.ci
@pytest.mark.parametrize("name", NETWORKS)
def test_configs_survive_json(name):
    config = json.loads(json.dumps(NETWORKS[name]))
    assert small(config).to_json() == small(name).to_json()


@pytest.mark.ci
@pytest.mark.parametrize("name", FEW)
def test_blocks_can_be_taken_out(name):
    model = with_values(small(name))
    parts = cut_at_blocks(model)
    assert [(b.name, b.shortcut) for b in parts.blocks] == [
        ("layer1.0", "projection"),
        ("layer2.0", "projection"),
        ("layer2.1", "identity"),
    ]
    x = parts.stem(pictures(), training=False)
    for block in parts.blocks:
        x = block.whole(x, training=False)
    found, wanted = parts.head(x, training=False), model(pictures(), training=False)
    assert np.allclose(*map(keras.ops.convert_to_numpy, (found, wanted)), atol=1e-5)


@pytest.mark.ci
@pytest.mark.parametrize("name", FEW)
def test_the_head_is_found(name):
    model = with_values(small(name))
    head = linear_head(model)
    kernel, bias = head.weights()
    features = compiled_forward(head.features)(pictures())
    wanted = keras.ops.convert_to_numpy(model(pictures(), training=False))
    assert np.allclose(features.mean((1, 2)) @ kernel + bias, wanted, atol=1e-5)


def test_groups_that_do_not_divide():
    x = keras.Input((8, 8, 24))
    with pytest.raises(SpecError, match="7 groups do not divide 24 channels into 32 filters"):
        layers.conv(x, 32, 3, groups=7, name="conv2")


@pytest.mark.parametrize(("channels", "width"), [(64, 8), (256, 16), (96, 8), (2048, 128)])
def test_width_of_squeeze_and_excitation(channels, width):
    x = keras.Input((4, 4, channels))
    model = keras.Model(x, attention.squeeze_excite(x, name="se"))
    assert model.get_layer("se.fc1").filters == width


@pytest.mark.parametrize(("channels", "width"), [(64, 3), (256, 5), (512, 5), (2048, 7)])
def test_width_of_efficient_channel_attention(channels, width):
    """The paper's equation 12 for its gamma 2 and b 1."""
    x = keras.Input((4, 4, channels))
    model = keras.Model(x, attention.efficient_channel_attention(x, name="se"))
    assert model.get_layer("se.conv").kernel.shape == (width, 1, 1)
    macs = {layer.name: layer.macs for layer in profile(model, input_shape=(4, 4, channels)).layers}
    assert macs["se.conv"] == width * channels


@pytest.mark.parametrize("side", [6, 7])
def test_blur_is_the_filter_of_the_paper(side):
    from scipy.ndimage import correlate1d

    x = np.random.default_rng(0).normal(size=(2, side, 9, 3)).astype(np.float32)
    wanted = x
    for axis in (1, 2):
        wanted = correlate1d(wanted, [0.25, 0.5, 0.25], axis=axis, mode="mirror")
    found = keras.ops.convert_to_numpy(antialiasing.blur(x, name="aa"))
    assert np.allclose(found, wanted[:, ::2, ::2], atol=1e-6)


def test_group_normalization_has_no_statistics_to_freeze():
    from rezoo.models.norms import freeze_statistics

    model = with_values(small("group norm"))
    before = keras.ops.convert_to_numpy(model(pictures(), training=True))
    freeze_statistics(model)
    after = keras.ops.convert_to_numpy(model(pictures(), training=True))
    assert np.array_equal(before, after)
    assert not model.non_trainable_variables


@pytest.mark.slow
@pytest.mark.parametrize("parts", COMBINED, ids=["grouped", "pooled"])
def test_every_weight_learns_in_mixed_precision(parts):
    from rezoo.models.settings import keras_settings

    with keras_settings("mixed_bfloat16"):
        model = with_values(small(parts, size=(17, 17), stochastic_depth=0.1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=False)
    before = {v.path: keras.ops.convert_to_numpy(v) for v in model.trainable_variables}
    model.fit(pictures(8, (17, 17)), np.arange(8) % 5, epochs=1, batch_size=8, verbose=0)
    for variable in model.trainable_variables:
        after = keras.ops.convert_to_numpy(variable)
        assert np.isfinite(after).all()
        assert not np.array_equal(after, before[variable.path]), variable.path


@pytest.mark.slow
@pytest.mark.parametrize("parts", [*COMBINED, NETWORKS["resnetaa"]], ids=str)
def test_exported_graphs_compute_the_same(parts):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from rezoo.exporters.graph import read_graph
    from rezoo.exporters.keras_file import to_keras
    from rezoo.exporters.stablehlo import to_jax

    model = with_values(small(parts))
    graph, images = read_graph(model, (*SIZE, 3)), pictures()
    assert "keras" not in {node.kind for node in graph.nodes}
    session = runtime.InferenceSession(onnx_file(graph))
    found = {
        "onnx": session.run(None, {"image": images})[0],
        "keras": compiled_forward(to_keras(graph))(images),
        "jax": np.asarray(to_jax(graph)(images)),
    }
    wanted = compiled_forward(model)(images)
    for name, logits in found.items():
        assert np.abs(logits - wanted).max() <= 1e-5 * np.abs(wanted).max(), name


def onnx_file(graph):
    """Return the graph as the bytes of an ONNX file without preprocessing."""
    from onnx import TensorProto, helper

    from rezoo.exporters.onnx_graph import OPSET, add_network
    from rezoo.exporters.onnx_nodes import OnnxGraph

    made = OnnxGraph()
    prepared = made.add("Transpose", ["image"], "prepared", perm=[0, 3, 1, 2])
    shape = add_network(made, graph, prepared, output="logits")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *graph.shape])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)
    built = helper.make_graph(made.nodes, "small", [image], [logits], made.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(built, opset_imports=opsets, ir_version=10).SerializeToString()


MEMBERS = ["seresnext26d_32x4d", "ecaresnet26t", "resnetaa34d", "resnetblur18", "resnet50_gn"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("to", ["onnx", "litert", "openvino"])
def test_a_member_of_each_family_is_exported(name, to, tmp_path):
    from rezoo.artifacts.weights import save_model
    from rezoo.exporters.export import export
    from rezoo.exporters.formats import FORMATS
    from rezoo.specs import ModelConfig, Preprocessing

    if FORMATS[to].missing:
        pytest.skip(FORMATS[to].install)
    model = with_values(rezoo.create_model(name, num_classes=5))
    sizes = Preprocessing(input_size=(3, 97, 65))
    config = ModelConfig(architecture=name, num_classes=5, preprocessing=sizes)
    save_model(model, config, tmp_path / "weights")
    passport = export(str(tmp_path / "weights"), to, output=tmp_path / to, measure=False)
    assert passport.comparison.holds
    assert passport.comparison.relative <= 1e-5


@pytest.mark.skipif(not ON_TENSORFLOW, reason="of TensorFlow")
@pytest.mark.parametrize(("stride", "padding"), [(1, "SAME"), (2, "VALID")])
@pytest.mark.numerics
def test_grouped_convolution_is_that_of_each_group(stride, padding):
    """Values and gradients, with and without oneDNN."""
    import tensorflow as tf

    from rezoo.models.primitives import Conv2D

    random = np.random.default_rng(0)
    x = tf.constant(random.normal(size=(2, 9, 9, 12)), tf.float32)
    options = {"strides": stride, "padding": padding.lower(), "use_bias": False}
    layer = Conv2D(8, 3, groups=4, **options)
    layer(x)

    def in_parts(x):
        pairs = zip(tf.split(x, 4, -1), tf.split(layer.kernel.value, 4, -1), strict=True)
        return tf.concat([tf.nn.conv2d(one, k, stride, padding) for one, k in pairs], -1)

    found = []
    for run in (tf.function(lambda x: layer(x, training=True)), in_parts):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = run(x)
            loss = tf.reduce_sum(tf.sin(y))
        found.append([y, *tape.gradient(loss, [x, layer.kernel.value])])
    for one, other in zip(*found, strict=True):
        assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()
