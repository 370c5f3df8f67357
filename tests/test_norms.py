"""Group normalization against Keras's layer and against float64."""

import keras
import numpy as np
import pytest

from rezoo.models.norms import GroupNormalization

pytestmark = pytest.mark.backend


def both(shape, **options):
    """Return the layer and Keras's, with the same variables."""
    random = np.random.default_rng(0)
    layers = [kind(**options) for kind in (GroupNormalization, keras.layers.GroupNormalization)]
    for layer in layers:
        layer.build(shape)
    values = [random.normal(size=value.shape) for value in layers[0].get_weights()]
    for layer in layers:
        layer.set_weights(values)
    return layers


def output(layer, x):
    return keras.ops.convert_to_numpy(keras.ops.cast(layer(x), "float32"))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 7, 5, 12), {"groups": 4}),
        ((2, 1, 1, 12), {"groups": 12}),
        ((2, 7, 5, 12), {"groups": 1, "epsilon": 0.1}),
        ((2, 7, 5, 12), {"groups": 3, "center": False}),
        ((2, 7, 5, 12), {"groups": 5, "axis": 2}),
        ((2, 12), {"groups": 4}),
    ],
)
def test_group_normalization_equals_keras(shape, options):
    own, theirs = both(shape, **options)
    assert own.get_config() | {"name": ""} == theirs.get_config() | {"name": ""}
    x = np.random.default_rng(1).normal(2, 3, shape).astype(np.float32)
    np.testing.assert_allclose(output(own, x), output(theirs, x), rtol=1e-4, atol=1e-4)


def test_group_normalization_has_the_precision_of_its_policy():
    own, theirs = both((2, 7, 5, 12), groups=4, dtype="mixed_bfloat16")
    x = np.random.default_rng(1).normal(2, 3, (2, 7, 5, 12)).astype(np.float32)
    assert keras.backend.standardize_dtype(own(x).dtype) == "bfloat16"
    np.testing.assert_allclose(output(own, x), output(theirs, x), rtol=0.02, atol=0.02)


def test_group_normalization_of_many_positions_is_exact():
    x = np.random.default_rng(1).normal(30, 1, (1, 112, 112, 4)).astype(np.float32)
    layer, _ = both(x.shape, groups=2)
    gamma, beta = map(np.float64, layer.get_weights())
    groups = x.astype(np.float64).reshape(1, 112 * 112, 2, 2)
    groups -= groups.mean((1, 3), keepdims=True)
    groups /= np.sqrt(groups.var((1, 3), keepdims=True) + layer.epsilon)
    exact = groups.reshape(x.shape) * gamma + beta
    assert np.abs(output(layer, x) - exact).max() < 4e-5  # Keras's: 1e-4 and more
