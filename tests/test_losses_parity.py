"""Losses and stochastic depth against PyTorch's and timm's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from peers import import_timm
from rezoo.recipes.recipe import Recipe
from rezoo.tasks import MULTI_LABEL, SINGLE_LABEL
from rezoo.training import losses

timm = import_timm()
torch = pytest.importorskip("torch")
timm_loss = pytest.importorskip("timm.loss")
mixup = pytest.importorskip("timm.data.mixup")

pytestmark = pytest.mark.ci

IMAGES, CLASSES = 12, 7
PLAIN = Recipe(name="t")
BINARY = dataclasses.replace(PLAIN, loss="binary_cross_entropy")
SMOOTHINGS = pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
THRESHOLDS = pytest.mark.parametrize("threshold", [None, 0.2, 0.5])


@pytest.fixture(scope="module")
def logits():
    return np.random.default_rng(0).normal(0, 3, (IMAGES, CLASSES)).astype(np.float32)


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(1).integers(0, CLASSES, IMAGES).astype(np.int32)


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(2).uniform(0.1, 3, CLASSES).astype(np.float32)


def mixed(labels, share, smoothing):
    """Return targets of images mixed with those from the other end, as timm's `Mixup` has them."""
    return mixup.mixup_target(torch.from_numpy(labels), CLASSES, share, smoothing)


def loss_and_slope(peer, logits, targets):
    x = torch.from_numpy(logits).requires_grad_()
    loss = peer(x, targets)
    loss.backward()
    return loss.item(), x.grad.numpy()


def assert_equal(recipe, logits, labels, peer, targets, *, task=SINGLE_LABEL, weights=None):
    """Compare the loss and its slope: ours of `labels`, the peer's of `targets`."""
    import tensorflow as tf

    x = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss, _ = losses.objective(recipe, task, weights)(x, tf.constant(labels))
    wanted, slope = loss_and_slope(peer, logits, targets)
    assert float(loss) == pytest.approx(wanted, rel=2e-6)
    np.testing.assert_allclose(tape.gradient(loss, x).numpy(), slope, atol=2e-7)


@SMOOTHINGS
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_of_classes(logits, labels, weights, smoothing, weighted):
    recipe = dataclasses.replace(PLAIN, label_smoothing=smoothing)
    peer = torch.nn.CrossEntropyLoss(
        weight=torch.from_numpy(weights) if weighted else None, label_smoothing=smoothing
    )
    chosen = weights if weighted else None
    assert_equal(recipe, logits, labels, peer, torch.from_numpy(labels).long(), weights=chosen)


@SMOOTHINGS
def test_cross_entropy_of_mixed_images(logits, labels, smoothing):
    recipe = dataclasses.replace(PLAIN, label_smoothing=smoothing)
    shares = mixed(labels, 0.3, 0.0).numpy()
    softened = mixed(labels, 0.3, smoothing)
    assert_equal(recipe, logits, shares, timm_loss.SoftTargetCrossEntropy(), softened)


@SMOOTHINGS
def test_weighted_cross_entropy_of_mixed_images(logits, labels, weights, smoothing):
    recipe = dataclasses.replace(PLAIN, label_smoothing=smoothing)
    shares = mixed(labels, 0.3, 0.0)
    peer = torch.nn.CrossEntropyLoss(weight=torch.from_numpy(weights), label_smoothing=smoothing)
    assert_equal(recipe, logits, shares.numpy(), peer, shares, weights=weights)


@SMOOTHINGS
@THRESHOLDS
def test_binary_cross_entropy_of_classes(logits, labels, smoothing, threshold):
    recipe = dataclasses.replace(BINARY, label_smoothing=smoothing, bce_threshold=threshold or 0.0)
    peer = timm_loss.BinaryCrossEntropy(smoothing=smoothing, target_threshold=threshold)
    assert_equal(recipe, logits, labels, peer, torch.from_numpy(labels))


@SMOOTHINGS
@THRESHOLDS
@pytest.mark.parametrize("share", [0.1, 0.4, 1.0])
def test_binary_cross_entropy_of_mixed_images(logits, labels, smoothing, threshold, share):
    recipe = dataclasses.replace(BINARY, label_smoothing=smoothing, bce_threshold=threshold or 0.0)
    peer = timm_loss.BinaryCrossEntropy(smoothing=smoothing, target_threshold=threshold)
    shares = mixed(labels, share, 0.0).numpy()
    assert_equal(recipe, logits, shares, peer, mixed(labels, share, smoothing))


@SMOOTHINGS
@THRESHOLDS
def test_binary_cross_entropy_of_several_labels(logits, smoothing, threshold):
    recipe = dataclasses.replace(PLAIN, label_smoothing=smoothing, bce_threshold=threshold or 0.0)
    several = (np.random.default_rng(3).random((IMAGES, CLASSES)) < 0.3).astype(np.float32)
    peer = timm_loss.BinaryCrossEntropy(
        smoothing=smoothing, target_threshold=threshold, smooth_dense=True
    )
    assert_equal(recipe, logits, several, peer, torch.from_numpy(several), task=MULTI_LABEL)


def test_weights_of_images_in_binary_cross_entropy(logits, labels, weights):
    of_image = torch.from_numpy(weights)[torch.from_numpy(labels).long()][:, None]

    def peer(x, targets):
        one_hot = torch.nn.functional.one_hot(targets, CLASSES).float()
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            x, one_hot, of_image, reduction="sum"
        )
        return each / of_image.sum() / CLASSES

    assert_equal(BINARY, logits, labels, peer, torch.from_numpy(labels).long(), weights=weights)


def test_depths_drop_as_in_timm():
    import rezoo

    peer = timm.create_model("resnet26d", drop_path_rate=0.2, num_classes=2)
    blocks = [b for stage in (1, 2, 3, 4) for b in getattr(peer, f"layer{stage}")]
    wanted = [b.drop_path.drop_prob if b.drop_path else 0.0 for b in blocks]
    model = rezoo.create_model("resnet26d", num_classes=2, stochastic_depth=0.2)
    found = [layer.rate for layer in model.layers if layer.name.endswith(".add")]
    assert found == pytest.approx(wanted)
