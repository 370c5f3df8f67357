"""The head that logistic regression finds, against scikit-learn's own pipeline."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from rezoo.errors import SpecError
from rezoo.training import linear_probe


def clouds(count: int, width: int, classes: int, *, seed: int = 0, apart: float = 1.0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, width)) * apart
    labels = np.arange(count) % classes
    inputs = 3 + 2 * (centres[labels] + rng.normal(size=(count, width)))
    return inputs.astype(np.float32), labels.astype(np.int32)


@pytest.mark.parametrize("count", [60, 400])  # fewer images than features, and more
def test_the_head_is_that_of_scikit_learn(count):
    """The fit is in a turned, centred, scaled space; the head takes features as they are."""
    inputs, labels = clouds(count, 100, 5, apart=0.3)
    found = linear_probe.fit(inputs, labels, 5)
    scaler = StandardScaler().fit(inputs)
    scale = float(np.sqrt(scaler.var_).mean())
    peer = LogisticRegression(C=found.strength, max_iter=5000, tol=1e-8)
    peer.fit((inputs - scaler.mean_) / scale, labels)
    wanted = peer.predict_log_proba((inputs - scaler.mean_) / scale)
    logits = inputs @ found.kernel + found.bias
    ours = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(ours, wanted, atol=0.02)


def test_the_strength_is_chosen_by_what_was_not_learned():
    inputs, labels = clouds(90, 400, 3, apart=0.12)
    found = linear_probe.fit(inputs, labels, 3)
    assert set(found.scores) == set(linear_probe.STRENGTHS)
    assert found.scores[found.strength] == pytest.approx(max(found.scores.values()), abs=1e-6)
    fresh, answers = clouds(900, 400, 3, apart=0.12, seed=1)
    assert ((fresh @ found.kernel + found.bias).argmax(1) == answers).mean() > 0.6


def test_a_class_without_an_image_is_never_the_answer():
    inputs, labels = clouds(100, 20, 4)
    found = linear_probe.fit(inputs, labels * 2, 8)
    assert set((inputs @ found.kernel + found.bias).argmax(1)) == {0, 2, 4, 6}


def test_two_classes_and_features_that_are_always_the_same():
    inputs, labels = clouds(80, 6, 2)
    inputs[:, 3] = 7.0
    found = linear_probe.fit(inputs, labels, 2)
    assert np.isfinite(found.kernel).all()
    assert ((inputs @ found.kernel + found.bias).argmax(1) == labels).mean() > 0.95


def test_several_labels_are_as_many_regressions():
    inputs, labels = clouds(200, 30, 4)
    several = np.stack([labels < 2, labels % 2 == 0, labels < 9], axis=1).astype(np.float32)
    found = linear_probe.fit(inputs, several, 3)
    answers = inputs @ found.kernel + found.bias > 0
    assert (answers == several).mean() > 0.99
    assert answers[:, 2].all()  # all images have it


def test_single_images_of_classes_are_enough():
    inputs, labels = clouds(5, 12, 5)
    found = linear_probe.fit(inputs, labels, 5)
    assert found.scores == {}
    assert ((inputs @ found.kernel + found.bias).argmax(1) == labels).all()


def test_one_class_alone_cannot_be_fitted():
    inputs, _ = clouds(10, 4, 2)
    with pytest.raises(SpecError, match="same class"):
        linear_probe.fit(inputs, np.zeros(10, np.int32), 2)
