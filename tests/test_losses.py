"""What a step minimizes: kinds of loss, weights of classes, and what is refused."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

import rezoo
from rezoo.data.examples import Examples
from rezoo.data.image_sources import ArraySource
from rezoo.errors import SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.tasks import MULTI_LABEL, SINGLE_LABEL
from rezoo.training import losses
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

PLAIN = Recipe(name="t")
BALANCED = dataclasses.replace(PLAIN, class_weights="balanced")
BINARY = dataclasses.replace(PLAIN, loss="binary_cross_entropy")


def of_labels(labels):
    labels = np.asarray(labels, np.int32)
    images = np.zeros((len(labels), 2, 2, 1), np.uint8)
    return Examples(ArraySource(images, labels, [str(i) for i in range(len(labels))]))


class Unknown(ArraySource):
    """Images whose classes are known only by reading them."""

    def labels(self):
        return None


def weights_of(recipe, labels, classes, *, task=SINGLE_LABEL):
    return losses.class_weights(recipe, task, of_labels(labels), classes)


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.random.default_rng(0).choice(5, 400, p=[0.5, 0.3, 0.1, 0.07, 0.03])
    wanted = compute_class_weight("balanced", classes=np.arange(5), y=labels)
    found = weights_of(BALANCED, labels, 5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_allclose(found[labels].mean(), 1.0, rtol=1e-6)


def test_a_class_without_images_has_no_weight():
    found = weights_of(BALANCED, [0, 0, 0, 2], 4)
    np.testing.assert_allclose(found, [4 / 6, 0.0, 2.0, 0.0], rtol=1e-6)


def test_no_weights():
    assert weights_of(PLAIN, [0, 1], 2) is None


@pytest.mark.parametrize(
    "recipe", [BALANCED, dataclasses.replace(BINARY, class_weights="balanced")]
)
def test_weights_count_images_as_often(recipe):
    """A class of a third as many images counts as if each of them stood there three times."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4, 2)).astype(np.float32)
    labels = np.array([0, 0, 0, 1], np.int32)
    weighted = losses.objective(recipe, SINGLE_LABEL, weights_of(recipe, labels, 2))
    plain = losses.objective(dataclasses.replace(recipe, class_weights="none"), SINGLE_LABEL)
    repeated = [0, 1, 2, 3, 3, 3]
    loss, hits = weighted(logits, labels)
    wanted, _ = plain(logits[repeated], labels[repeated])
    assert float(loss) == pytest.approx(float(wanted), rel=1e-6)
    assert int(hits) == (logits.argmax(1) == labels).sum()


@pytest.mark.parametrize("recipe", [PLAIN, BINARY])
def test_gradients_are_those_of_finite_differences(recipe):
    """Weighted targets do not add up to 1: no formula may assume so."""
    import tensorflow as tf

    rng = np.random.default_rng(2)
    logits = rng.normal(size=(3, 4))
    targets = rng.dirichlet(np.ones(4), 3)
    weights = np.array([0.2, 1.0, 3.0, 0.0])
    smoothed = dataclasses.replace(recipe, label_smoothing=0.1)
    loss_of = losses.objective(smoothed, SINGLE_LABEL, weights)
    x = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss, _ = loss_of(x, tf.constant(targets))
    found = tape.gradient(loss, x).numpy()

    def value(shifted):
        return float(loss_of(tf.constant(shifted), tf.constant(targets))[0])

    for place in np.ndindex(3, 4):
        step = np.zeros((3, 4))
        step[place] = 1e-5
        slope = (value(logits + step) - value(logits - step)) / 2e-5
        assert found[place] == pytest.approx(slope, abs=1e-6)


def test_one_against_all_by_hand():
    logits = np.array([[2.0, -1.0, 0.5], [-3.0, 0.0, 1.0]], np.float32)
    shares = np.array([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0]], np.float32)

    def mean(targets):
        chance = 1 / (1 + np.exp(-logits.astype(np.float64)))
        return -(targets * np.log(chance) + (1 - targets) * np.log(1 - chance)).mean()

    for threshold, targets in ((0.0, shares), (0.2, shares > 0.2), (0.4, shares > 0.4)):
        recipe = dataclasses.replace(BINARY, bce_threshold=threshold)
        loss, hits = losses.objective(recipe, SINGLE_LABEL)(logits, shares)
        assert float(loss) == pytest.approx(mean(targets), rel=1e-5)
        assert int(hits) == 2


def test_several_labels_ignore_the_kind_of_loss():
    logits = np.array([[2.0, -1.0], [0.3, 0.1]], np.float32)
    labels = np.array([[1.0, 1.0], [0.0, 1.0]], np.float32)
    found = {float(losses.objective(r, MULTI_LABEL)(logits, labels)[0]) for r in (PLAIN, BINARY)}
    assert len(found) == 1


@pytest.mark.parametrize(
    ("changes", "task", "text"),
    [
        ({"class_weights": "balanced"}, MULTI_LABEL, "the data are multi-label"),
        ({"bce_threshold": 0.2}, SINGLE_LABEL, "but loss = 'cross_entropy'"),
        (
            {"loss": "binary_cross_entropy", "bce_threshold": 0.005, "label_smoothing": 0.1},
            SINGLE_LABEL,
            "targets are 0.01 to 0.91, all on one side",
        ),
        ({"bce_threshold": 0.95, "label_smoothing": 0.2}, MULTI_LABEL, "targets are 0.1 to 0.9"),
    ],
)
def test_what_does_not_go_together(changes, task, text):
    recipe = dataclasses.replace(PLAIN, **changes)
    with pytest.raises(SpecError, match=text):
        losses.class_weights(recipe, task, of_labels([0, 1]), 10)


def test_balanced_needs_known_classes():
    plain = of_labels([0, 1])
    unknown = Examples(Unknown(plain.source.images, plain.labels(), plain.source.keys))
    with pytest.raises(SpecError, match="only when every image is read"):
        losses.class_weights(BALANCED, SINGLE_LABEL, unknown, 2)


def test_a_loss_that_does_not_suit_leaves_the_folder_alone(tmp_path):
    changes = {"epochs": 1, "image_size": 8, "bce_threshold": 0.2}
    with pytest.raises(SpecError, match="but loss = 'cross_entropy'"):
        rezoo.train("test_resnet", "digits", changes=changes, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.ci
def test_a_run_with_weights_and_binary_cross_entropy(tmp_path):
    changes = {
        "image_size": 16,
        "batch_size": 128,
        "epochs": 1,
        "loss": "binary_cross_entropy",
        "class_weights": "balanced",
        "mixup_alpha": 0.2,
        "bce_threshold": 0.2,
    }
    run = rezoo.train(NETWORK, "digits", changes=changes, output=tmp_path / "run")
    assert np.isfinite(run.metrics["val"]["loss"])
    assert keras.config.dtype_policy().name == "float32"
