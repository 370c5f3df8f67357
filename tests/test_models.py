"""Architectures: what they accept, how they start, and the fused normalization."""

import builtins
import json
import socket

import keras
import numpy as np
import pytest

import rezoo
from rezoo import registry
from rezoo.errors import SpecError, UnknownNameError
from rezoo.models.norms import BatchNormalization
from zoo import graph


def test_create_model_touches_neither_disk_nor_network(monkeypatch):
    rezoo.create_model("resnet18", num_classes=2)  # imports and entry points, once

    def forbidden(*args, **kwargs):
        raise AssertionError(f"touched {args}")

    monkeypatch.setattr(builtins, "open", forbidden)
    monkeypatch.setattr(socket.socket, "connect", forbidden)
    rezoo.create_model("resnet50", num_classes=37)


@pytest.mark.parametrize("name", ["resnet18", "test_resnet"])
@pytest.mark.parametrize(
    ("size", "channels", "classes"), [(32, 1, 2), (33, 3, 10), (64, 4, 1), (1, 3, 5)]
)
def test_any_size_channels_and_classes(name, size, channels, classes):
    model = rezoo.create_model(name, num_classes=classes, input_shape=(None, None, channels))
    outputs = model(np.zeros((2, size, size + 7, channels), np.float32), training=False)
    assert outputs.shape == (2, classes)


@pytest.mark.parametrize(("name", "features"), [("resnet18", 512), ("test_resnet", 96)])
def test_no_head_gives_features(name, features):
    model = rezoo.create_model(name, num_classes=0)
    assert model.output_shape == (None, features)


def test_a_spec_that_went_through_json_builds_the_same():
    spec = registry.architectures.get("test_resnet")
    model, again = (
        spec.build(
            name=spec.name,
            input_shape=(None, None, 3),
            num_classes=2,
            classifier_activation=None,
            **config,
        )
        for config in (spec.config, json.loads(json.dumps(dict(spec.config))))
    )
    assert again.to_json() == model.to_json()


def test_deep_stem_has_the_names_of_timm():
    layers = [layer.name for layer in graph("resnet50c").layers]
    assert layers[1 : layers.index("maxpool.pad")] == [
        *("conv1.0.pad", "conv1.0", "conv1.1", "conv1.2"),
        *("conv1.3", "conv1.4", "conv1.5"),
        *("conv1.6", "bn1", "act1"),
    ]
    assert "layer1.0.downsample.0" in layers  # the projections of resnet50


def test_pooled_shortcuts_pool_only_where_the_map_shrinks():
    model = graph("resnet26d")
    layers = [layer.name for layer in model.layers]
    assert [n for n in layers if "layer1.0.downsample" in n] == [
        "layer1.0.downsample.1",
        "layer1.0.downsample.2",
    ]
    pool = model.get_layer("layer2.0.downsample.0")
    assert isinstance(pool, keras.layers.AveragePooling2D)
    assert (pool.pool_size, pool.strides, pool.padding) == ((2, 2), (2, 2), "same")
    assert model.get_layer("layer2.0.downsample.1").strides == (1, 1)
    assert not [n for n in layers if "downsample" in n and ".1.downsample" in n]


@pytest.mark.ci
def test_wide_nets_widen_only_the_inside():
    model = rezoo.create_model("wide_resnet50_2", num_classes=2)
    filters = [model.get_layer(f"layer1.0.conv{i}").filters for i in (1, 2, 3)]
    assert filters == [128, 128, 256]


def test_softmax_head():
    model = rezoo.create_model("resnet18", num_classes=4, classifier_activation="softmax")
    outputs = keras.ops.convert_to_numpy(model(np.ones((3, 32, 32, 3), np.float32)))
    assert np.allclose(outputs.sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_classes": -1},
        {"num_classes": "ten"},
        {"num_classes": 2.5},
        {"input_shape": (32, 32)},
        {"input_shape": (3, 32, 32)},  # channels first
        {"input_shape": (0, 32, 3)},
        {"classifier_activation": "softmix"},
    ],
)
def test_arguments_out_of_bounds(arguments):
    with pytest.raises(SpecError):
        rezoo.create_model("resnet18", **arguments)


def test_unknown_name_has_near_ones():
    with pytest.raises(UnknownNameError, match="resent50") as unknown:
        rezoo.create_model("resent50")
    assert "resnet50" in unknown.value.hint


def test_start_is_he_with_silent_residuals():
    model = rezoo.create_model("resnet50", num_classes=10)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = keras.ops.convert_to_numpy(layer.kernel)
            fan_out = kernel.shape[0] * kernel.shape[1] * kernel.shape[3]
            assert kernel.std() == pytest.approx(np.sqrt(2 / fan_out), rel=0.05)
            assert not layer.use_bias
        if isinstance(layer, BatchNormalization):
            last = layer.name.endswith(".bn3")
            assert np.all(keras.ops.convert_to_numpy(layer.gamma) == (0.0 if last else 1.0))
            assert (layer.epsilon, layer.momentum) == (1e-5, 0.9)


@pytest.mark.parametrize("training", [True, False])
def test_fused_normalization_equals_keras(training):
    options = {"epsilon": 1e-5, "momentum": 0.9}
    ours, theirs = BatchNormalization(**options), keras.layers.BatchNormalization(**options)
    x = np.random.default_rng(0).normal(1.0, 3.0, (4, 5, 6, 7)).astype(np.float32)
    for layer in (ours, theirs):
        layer.build(x.shape)
        layer.gamma.assign(np.linspace(0.5, 2.0, 7))
        layer.beta.assign(np.linspace(-1.0, 1.0, 7))
    y, z = (keras.ops.convert_to_numpy(f(x, training=training)) for f in (ours, theirs))
    assert np.abs(y - z).max() < 2e-6 * np.abs(z).max() + 2e-6
    mean, wanted = (keras.ops.convert_to_numpy(f.moving_mean) for f in (ours, theirs))
    assert np.allclose(mean, wanted, atol=1e-6)
    if training and keras.config.backend() == "tensorflow":
        variance = keras.ops.convert_to_numpy(ours.moving_variance)
        unbiased = 0.9 + 0.1 * x.reshape(-1, 7).var(axis=0, ddof=1)
        assert np.allclose(variance, unbiased, rtol=1e-5)


def test_fused_normalization_when_frozen():
    layer = BatchNormalization(epsilon=1e-5)
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(np.float32)
    layer.build(x.shape)
    layer.trainable = False
    y = keras.ops.convert_to_numpy(layer(x, training=True))
    assert np.allclose(y, x, atol=1e-4)  # moving statistics are still 0 and 1
    assert np.all(keras.ops.convert_to_numpy(layer.moving_mean) == 0)


def test_registry_lists_naturally():
    names = rezoo.list_models()
    assert names.index("resnet18") < names.index("resnet50") < names.index("resnet101")
