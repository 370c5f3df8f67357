"""The kernels for training on a CPU: values and gradients equal TensorFlow's."""

import keras
import numpy as np
import pytest

import rezoo

pytestmark = pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="of TensorFlow")


def _values_and_gradients(f, inputs, *, graph):
    import tensorflow as tf

    def run(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = tf.cast(f(*inputs), tf.float32)
            weights = tf.sin(tf.reshape(tf.range(tf.size(y), dtype=tf.float32), tf.shape(y)))
            total = tf.reduce_sum(y * weights)
        return [y, *tape.gradient(total, inputs)]

    found = tf.function(run)(*inputs) if graph else run(*inputs)
    return [tf.cast(x, tf.float32).numpy() for x in found]


def _drawn(shape, dtype, seed):
    import tensorflow as tf

    return tf.cast(np.random.default_rng(seed).normal(size=shape), dtype)


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("bfloat16", 8e-3)])
@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding"),
    [
        (8, 1, 1, "SAME"),
        (8, 1, 2, "VALID"),
        (7, 1, 2, "VALID"),  # odd sides: TensorFlow's gradient
        (8, 3, 1, "SAME"),
        (8, 3, 1, "VALID"),
        (10, 3, 2, "VALID"),
        (9, 3, 2, "VALID"),
        (18, 3, 1, "SAME"),  # many positions: TensorFlow's gradient
        (10, 7, 2, "VALID"),
    ],
)
def test_convolution(side, kernel, stride, padding, dtype, tolerance, graph):
    import tensorflow as tf

    from rezoo.models import cpu_kernels

    inputs = (
        _drawn((3, side, side, 5), dtype, 0),
        _drawn((kernel, kernel, 5, 4), dtype, 1),
    )
    ours = _values_and_gradients(
        lambda x, w: cpu_kernels.convolve(x, w, stride, padding), inputs, graph=graph
    )
    theirs = _values_and_gradients(
        lambda x, w: tf.nn.conv2d(x, w, stride, padding), inputs, graph=False
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_relu_of_a_sum_that_is_used_twice(dtype, graph):
    import tensorflow as tf

    from rezoo.models import cpu_kernels

    def network(relu):
        def f(x, y):
            z = relu(x + y)
            return relu(tf.sin(z) + z) - relu(tf.cos(z))

        return f

    inputs = (_drawn((2, 3, 3, 4), dtype, 0), _drawn((2, 3, 3, 4), dtype, 1))
    ours = _values_and_gradients(network(cpu_kernels.relu), inputs, graph=graph)
    theirs = _values_and_gradients(network(tf.nn.relu), inputs, graph=False)
    for one, other in zip(ours, theirs, strict=True):
        assert np.abs(one - other).max() <= (1e-6 if dtype == "float32" else 0.05)


def test_relu_of_a_sum_with_broadcasting():
    import tensorflow as tf

    from rezoo.models import cpu_kernels

    inputs = (_drawn((2, 3, 3, 4), "float32", 0), _drawn((4,), "float32", 1))
    ours = _values_and_gradients(lambda x, y: cpu_kernels.relu(x + y), inputs, graph=True)
    theirs = _values_and_gradients(lambda x, y: tf.nn.relu(x + y), inputs, graph=False)
    for one, other in zip(ours, theirs, strict=True):
        assert np.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "side", "policy"),
    [
        ("test_resnet", 33, "float32"),
        pytest.param("test_resnet", 33, "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("resnet50", 32, "float32", marks=pytest.mark.slow),
        pytest.param("resnet50", 32, "mixed_bfloat16", marks=pytest.mark.slow),
    ],
)
@pytest.mark.ci
def test_gradients_of_a_network_equal_those_of_keras(name, side, policy):
    import tensorflow as tf

    def keras_layer(layer):
        kinds = {"Conv2D": keras.layers.Conv2D, "ReLU": keras.layers.ReLU}
        kind = kinds.get(type(layer).__name__, type(layer))
        return kind.from_config(layer.get_config())

    def gradients(*, plain):
        keras.utils.set_random_seed(1)
        shape = (side, side, 3)
        model = rezoo.create_model(name, num_classes=7, input_shape=shape, precision=policy)
        for layer in model.layers:
            if layer.name.endswith((".bn2", ".bn3")):
                layer.gamma.assign(np.full(layer.gamma.shape, 0.5))
        if plain:
            weights = model.get_weights()
            model = keras.models.clone_model(model, clone_function=keras_layer)
            model.set_weights(weights)
        images = np.random.default_rng(0).normal(size=(4, side, side, 3)).astype(np.float32)
        variables = [v.value for v in model.trainable_variables]

        @tf.function
        def run():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(model(images, training=True) - 1.0))
            return tape.gradient(loss, variables)

        return [g.numpy() for g in run()]

    ours, theirs = gradients(plain=False), gradients(plain=True)
    for one, other in zip(ours, theirs, strict=True):
        length = np.linalg.norm(other)
        assert np.linalg.norm(one - other) <= (1e-4 if policy == "float32" else 1e-2) * length


def test_inference_has_the_operations_of_keras():
    import tensorflow as tf

    model = rezoo.create_model("test_resnet", num_classes=7, input_shape=(32, 32, 3))
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec((1, 32, 32, 3))
    )
    kinds = {operation.type for operation in graph.graph.get_operations()}
    assert {"Conv2D", "FusedBatchNormV3", "Relu", "AddV2"} <= kinds
    assert not {"PartitionedCall", "StatefulPartitionedCall", "IdentityN"} & kinds
