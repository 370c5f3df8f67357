"""Lesions: networks without one of their blocks, against networks whose branch adds nothing."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET

import keras
import numpy as np
import pytest

import rezoo
from conftest import fails
from rezoo.errors import DivergedError, IncompatibleError
from rezoo.evaluation.damage.lesions import Lesion, Lesions, _all_logits, measure_lesions
from rezoo.evaluation.damage.residual_blocks import cut_at_blocks
from rezoo.models import residual
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

SVG = "{http://www.w3.org/2000/svg}"


def small(shortcut="projection", block="basic", sides=(16, 16)):
    """Build a network of four blocks, two of which halve the image, with random statistics."""
    model = residual.build(
        name="small",
        input_shape=(*sides, 3),
        num_classes=5,
        classifier_activation=None,
        depths=(2, 1, 1),
        blocks=tuple((block, width) for width in (4, 8, 8)),
        stem=("small", (16 if block == "bottleneck" else 4,)),
        pool="none",
        shortcut=shortcut,
    )
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


IMAGES = np.random.default_rng(1).normal(size=(6, 16, 16, 3)).astype(np.float32)


def logits(model):
    return keras.ops.convert_to_numpy(model(IMAGES, training=False))


def without_branch(model, block, last):
    """Return the logits with a residual branch that adds zeros."""
    layer = model.get_layer(f"{block}.{last}")
    before = layer.get_weights()
    layer.set_weights([np.zeros_like(w) if i < 2 else w for i, w in enumerate(before)])
    found = logits(model)
    layer.set_weights(before)
    return found


@pytest.mark.ci
@pytest.mark.backend
@pytest.mark.parametrize(
    ("shortcut", "block", "last", "kind"),
    [
        ("projection", "basic", "bn2", "projection"),
        ("pooled", "basic", "bn2", "projection"),
        ("padded", "basic", "bn2", "padding"),
        ("projection", "bottleneck", "bn3", "projection"),
    ],
)
def test_a_lesion_is_a_branch_that_adds_nothing(shortcut, block, last, kind):
    model = small(shortcut, block)
    before, config = logits(model), model.get_config()
    parts = cut_at_blocks(model)
    assert [part.name for part in parts.blocks] == ["layer1.0", "layer1.1", "layer2.0", "layer3.0"]
    assert [part.shortcut for part in parts.blocks] == ["identity", "identity", kind, kind]
    intact, *lesioned = _all_logits(parts)(IMAGES)
    assert np.allclose(intact, before, atol=1e-5)
    for part, found in zip(parts.blocks, lesioned, strict=True):
        expected = without_branch(model, part.name, last)
        assert np.allclose(found, expected, atol=1e-5)
        assert np.abs(found - before).max() > 1e-3
    assert np.array_equal(logits(model), before)
    assert model.get_config() == config


@pytest.mark.ci
@pytest.mark.backend
def test_sides_need_not_be_known_and_strides_may_keep_the_channels():
    model = small("none", sides=(None, None))
    parts = cut_at_blocks(model)
    assert [part.shortcut for part in parts.blocks] == ["none"] * 4
    # the last block has as many channels as its input; it halves the sides
    assert [part.removable for part in parts.blocks] == [True, True, False, False]
    intact, first, second = _all_logits(parts)(IMAGES)
    assert np.allclose(intact, logits(model), atol=1e-5)
    expected = parts.stem(IMAGES)
    for part in parts.blocks[1:]:
        expected = part.whole(expected)
    expected = keras.ops.convert_to_numpy(parts.head(expected))
    assert np.allclose(first, expected, atol=1e-5)
    assert not np.allclose(second, expected, atol=1e-3)


@pytest.mark.ci
def test_parts_share_the_weights_of_the_network():
    model = small()
    parts = cut_at_blocks(model)
    model.get_layer("layer1.0.conv1").kernel.assign_add(
        np.ones(model.get_layer("layer1.0.conv1").kernel.shape)
    )
    assert np.allclose(_all_logits(parts)(IMAGES)[0], logits(model), atol=1e-5)


@pytest.mark.ci
@pytest.mark.backend
def test_lesions_of_a_run_in_python_and_as_a_command(call, trained, tmp_path):
    found = measure_lesions(trained, batch_size=50)
    scores = rezoo.evaluate(trained).scores
    assert (found.intact, found.intact_interval) == (scores.top1, scores.top1_interval)
    assert found.count == scores.count
    assert [block.block for block in found.blocks] == [f"layer{i}.0" for i in range(1, 5)]
    drawing = tmp_path / "lesions.svg"
    answer = call("examine", trained, "--lesion", "--json", "--output", drawing)
    assert answer.rc == 0, answer.err
    document = json.loads(answer.out)
    assert document == found.to_dict()
    first = document["blocks"][0]
    assert first["drop"] == pytest.approx(found.intact - first["top1"])
    assert ET.fromstring(drawing.read_text()).tag == f"{SVG}svg"
    answer = call("examine", trained, "--lesion")
    assert "layer4.0" in answer.out
    assert f"whole network: top-1 {found.intact:.2%}" in answer.out


@pytest.mark.ci
def test_networks_without_such_blocks_are_refused():
    with pytest.raises(IncompatibleError, match=r"no layer is named as in layer1\.0\.conv1"):
        cut_at_blocks(rezoo.create_model(NETWORK, input_shape=(8, 8, 3)))
    inner = small()
    images = keras.Input((16, 16, 3))
    nested = keras.Model(images, inner(images))
    with pytest.raises(IncompatibleError, match="has no blocks that can be taken out"):
        cut_at_blocks(nested)
    x = keras.layers.Conv2D(2, 3, name="layer1.0.conv1")(images)
    other = keras.Model(images, keras.layers.Conv2D(2, 3, name="layer1.0.conv2")(x))
    with pytest.raises(IncompatibleError, match="built otherwise than rezoo's"):
        cut_at_blocks(other)


@pytest.mark.ci
def test_logits_that_are_not_finite(trained):
    model = rezoo.load(trained)
    model.get_layer("fc").bias.assign(np.full(10, np.nan))
    with pytest.raises(DivergedError, match="logits are not finite"):
        measure_lesions(model, "digits")


def test_wrong_use_of_the_command(call, trained, tmp_path):
    fails(call("examine", trained), 2, "nothing to examine is given", "give --lesion")
    fails(call("examine", trained, "--lesion", "--output", "a.png"), 2, "a.png", ".svg")
    fails(call("examine", tmp_path / "nosuch", "--lesion"), 3, "nosuch")


# the result


LESIONS = Lesions(
    model="runs/plain",
    dataset="digits",
    split="test",
    count=100,
    intact=0.9,
    intact_interval=(0.83, 0.94),
    blocks=(
        Lesion(block="layer1.0", shortcut="none", accuracy=0.25, interval=(0.18, 0.34)),
        Lesion(block="layer2.0", shortcut="none"),
    ),
)


def test_a_block_that_cannot_be_removed_has_no_accuracy():
    removed, kept = LESIONS.rows()
    assert removed["drop"] == "65.0 pt"
    assert kept["top-1 without"] == "cannot be removed"
    document = json.loads(json.dumps(LESIONS.to_dict(), allow_nan=False))
    assert Lesions.from_dict(document) == LESIONS
    assert document["blocks"][1] == {
        "name": "layer2.0",
        "shortcut": "none",
        "top1": None,
        "top1_interval": None,
        "drop": None,
    }


@pytest.mark.ci
def test_bars_are_drawn_with_names_groups_and_intervals():
    text = " ".join(ET.fromstring(LESIONS.svg()).itertext())
    for word in ("1.0", "2.0", "no shortcut", "whole network", "runs/plain on digits", "×"):
        assert word in text
    many = dataclasses.replace(
        LESIONS,
        model="<b>&\x1b",
        blocks=tuple(
            Lesion(block=f"layer3.{i}", shortcut="identity", accuracy=0.5, interval=(0.4, 0.6))
            for i in range(50)
        ),
    )
    root = ET.fromstring(many.svg())
    assert int(root.get("width")) > 900
    assert "<b>&\\x1b on digits" in " ".join(root.itertext())
    assert many.svg() == many.svg()
