"""A network of three layers, for tests of runs in which the architecture does not matter.

It is registered as a plugin is: by a distribution on `sys.path`, for the tests of one module.

    from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

`WITH_BIAS` is the same network with a bias in its convolution, `NARROW` is wide_resnet8 with few
channels.
"""

from __future__ import annotations

import dataclasses
import sys

import pytest

from rezoo import registry
from rezoo.models.wide_resnet8 import wide_resnet8
from rezoo.specs import ModelSpec

NETWORK, WITH_BIAS, NARROW = "tiny3", "tiny3_bias", "narrow_resnet8"


def build(*, name, input_shape, num_classes, classifier_activation, bias=False):
    """Build convolution, batch normalization, ReLU, pooling and head: about 300 parameters."""
    import keras

    from rezoo.models import layers

    pixels = keras.Input(input_shape)
    x = layers.conv(pixels, 8, 3, stride=2, bias=bias, name="conv1")
    x = layers.relu(layers.norm(x, name="bn1"), name="act1")
    outputs = layers.classifier(x, num_classes, activation=classifier_activation)
    return keras.Model(pixels, outputs, name=name)


tiny3 = ModelSpec(name=NETWORK, build=build, summary="three layers, for tests")
tiny3_bias = dataclasses.replace(tiny3, name=WITH_BIAS, config={"bias": True})
narrow_resnet8 = dataclasses.replace(
    wide_resnet8, name=NARROW, config={"widths": (8, 16, 16)}, params=None, macs=None
)


@pytest.fixture(scope="module", autouse=True)
def tiny_network(tmp_path_factory):
    """Register the network for the tests of a module."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "tiny-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: tiny\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        f"[rezoo.architectures]\n{NETWORK} = tiny:tiny3\n{WITH_BIAS} = tiny:tiny3_bias\n"
        f"{NARROW} = tiny:narrow_resnet8\n"
    )
    sys.path.insert(0, str(folder))
    registry._scan.cache_clear()
    yield NETWORK
    sys.path.remove(str(folder))
    registry._scan.cache_clear()
    registry.load.cache_clear()
