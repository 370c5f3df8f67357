"""Labels that are not classes: refused before anything is trained, with the example's name."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from conftest import picture
from rezoo import DataOptions, load_dataset
from rezoo.data import batches
from rezoo.data.audit.check import check_splits
from rezoo.data.datasets import Dataset
from rezoo.data.examples import Examples, Splits
from rezoo.data.image_sources import ArraySource, pick
from rezoo.data.unreadable import Faults
from rezoo.errors import IncompatibleError
from rezoo.recipes.recipe import Recipe
from rezoo.specs import DatasetSpec, Preprocessing

NAMES = ("ant", "bee", "cat")
GOOD = np.arange(12) % 3
PIXELS = np.stack([np.asarray(picture(i, (12, 12))) for i in range(12)])
KEYS = [f"k{i}" for i in range(12)]
SMALL = Preprocessing(input_size=(3, 8, 8))
RECIPE = Recipe(name="test", epochs=1, batch_size=4)


@dataclasses.dataclass(frozen=True, eq=False)
class Unlisted(ArraySource):
    """A plugin's source: its labels are known only by reading."""

    def fetch(self, position: Any) -> tuple[Any, Any]:
        return pick(self.images, position), pick(self.targets, position)

    def labels(self) -> None:
        return None


def changed(index: int, value: float, kind: Any = np.int64) -> np.ndarray:
    labels = GOOD.astype(kind)
    labels[index] = value
    return labels


def opened(targets: np.ndarray, kind: type = ArraySource) -> Splits:
    every = Examples(kind(PIXELS, targets, KEYS))
    parts = {"train": every.select(np.arange(8)), "test": every.select(np.arange(8, 12))}
    return Splits(parts=parts, class_names=NAMES, multi_label=np.ndim(targets) == 2)


def spec(targets: np.ndarray) -> DatasetSpec:
    return DatasetSpec(name="mine", open=lambda: opened(targets), image_size=8)


WRONG = {
    "out of range": (changed(5, 3), "'k5', has the label 3"),
    "negative": (changed(9, -1), "'k9', has the label -1"),
    "float": (changed(4, 1.5, float), "'k4', has the label 1.5 (float64)"),
    "whole float": (GOOD.astype(float), "'k0', has the label 0.0 (float64)"),
    "NaN": (changed(4, np.nan, float), "'k4', has the label nan (float64)"),
    "beyond int32": (changed(3, 2**32 + 1), "'k3', has the label 4294967297"),
    "text": (np.array(NAMES * 4), "'k0', has the label ant"),
    "too few": (GOOD[:11], "has 12 images and 11 labels"),
}
SEVERAL = np.eye(3, dtype=np.uint8)[GOOD]


@pytest.mark.parametrize("case", WRONG)
def test_d4_labels_that_are_no_classes_are_refused(case):
    targets, text = WRONG[case]
    with pytest.raises(IncompatibleError) as refused:
        load_dataset(spec(targets))
    assert text in str(refused.value)
    assert re.search(r"mine \((train|val|test)\)", str(refused.value))
    assert refused.value.exit_code == 6


def test_d4_columns_of_several_labels():
    two = SEVERAL.astype(float)
    two[4, 1] = np.nan
    for targets, text in (
        (SEVERAL * 2, "'k0', has the label 2 for class 'ant'; a label is 3 values"),
        (two, "has the label nan for class"),
        (SEVERAL[:, :2], "has the label of shape (2,)"),
    ):
        with pytest.raises(IncompatibleError) as refused:
            load_dataset(spec(targets))
        assert text in str(refused.value)
    assert len(load_dataset(spec(SEVERAL)).class_names) == 3


def test_d4_a_dataset_made_by_hand_is_checked():
    with pytest.raises(IncompatibleError, match="'k5', has the label 7"):
        Dataset("mine", spec(GOOD), opened(changed(5, 7)))


@pytest.mark.parametrize(
    "case",
    [
        "out of range",
        *(pytest.param(c, marks=pytest.mark.ci) for c in ("negative", "float", "NaN")),
    ],
)
def test_d4_labels_known_only_by_reading_are_named_when_a_batch_has_them(case):
    targets, text = WRONG[case]
    split = "test" if case == "negative" else "train"
    examples = opened(targets, Unlisted)[split]
    faults = Faults(examples, DataOptions(), f"mine ({split})", NAMES)
    wanted = text if "float" not in text else "has the label"
    with pytest.raises(IncompatibleError) as refused:
        list(batches.InOrder(faults, SMALL, batch_size=4))
    assert wanted in str(refused.value)
    assert f"mine ({split})" in str(refused.value)
    with pytest.raises(IncompatibleError, match="has the label"):
        list(batches.training(faults, SMALL, RECIPE, classes=3))


def test_good_labels_known_only_by_reading_are_trained():
    faults = Faults(opened(GOOD, Unlisted)["train"], DataOptions(), "mine", NAMES)
    assert len(list(batches.training(faults, SMALL, RECIPE, classes=3))) == 2


@pytest.mark.parametrize("case", ["float", "NaN", "beyond int32", "negative"])
def test_data_check_lists_them(case):
    findings = check_splits(opened(WRONG[case][0]), "mine")
    assert any(e.key in WRONG[case][1] for e in findings.bad_labels)
