"""Which class of the head is which class of the data."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from rezoo.artifacts.config import imagenet1k_classes
from rezoo.errors import IncompatibleError
from rezoo.evaluation.class_names import match_classes, same_classes
from rezoo.evaluation.scoring.metrics import measure
from rezoo.specs import ModelConfig
from rezoo.tasks import MULTI_LABEL

IMAGENET_IDS, IMAGENET_NAMES = imagenet1k_classes()


def config(names=(), descriptions=(), count=None) -> ModelConfig:
    names = tuple(names)
    return ModelConfig(
        architecture="resnet18",
        num_classes=len(names) if count is None else count,
        class_names=names,
        class_descriptions=tuple(descriptions),
    )


def refusal(names, known, **options) -> tuple[str, str]:
    with pytest.raises(IncompatibleError) as caught:
        match_classes(names, known, **options)
    return str(caught.value), caught.value.hint


@pytest.mark.parametrize("names", [["A_11", "A_1_1"], ["Cat", "cat"], ["a b", "ab", "a_b", "AB"]])
def test_names_that_look_alike_are_matched_exactly(names):
    found, note = match_classes(names, config(names))
    assert found.tolist() == list(range(len(names)))
    assert note == f"{len(names)} classes matched by names to {len(names)}"
    assert match_classes(names[::-1], config(names))[0].tolist() == found.tolist()[::-1]


def test_one_to_one_names_are_matched_without_case_blanks_and_underscores():
    found, note = match_classes(["dog", "Cat"], config(["cat", "bird", "DOG"]))
    assert found.tolist() == [2, 0]
    assert note == (
        "2 classes matched by names to 3; 2 of them without regard to case, blanks and "
        "underscores ('Cat' = 'cat', 'dog' = 'DOG')"
    )
    found, _ = match_classes(["great_dane", "Boxer"], config(["boxer", "Great Dane"]))
    assert found.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (["Cat", "cat"], ["cat", "dog"]),  # two of the data
        (["A 11", "b"], ["A_11", "A_1_1", "b"]),  # two of the network
        (["A 11", "A_1_1"], ["A_11", "A_1_1"]),  # one of these is exact
    ],
)
def test_names_that_could_be_two_classes_are_refused(names, known):
    text, hint = refusal(names, config(known))
    assert f"1 of the dataset's 2 classes is not among the network's {len(known)}" in text
    assert f"is {names[0]!r} {known[0]!r}" in hint


@pytest.mark.parametrize(("ours", "theirs"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_both_unicode_forms_are_one_name(ours, theirs):
    names = ["chat", unicodedata.normalize(ours, "\xe9l\xe9phant")]
    known = config(unicodedata.normalize(theirs, name) for name in names)
    found, note = match_classes(names, known)
    assert found.tolist() == [0, 1]
    assert "without regard" not in note
    folded, note = match_classes([name.upper() for name in names], known)
    assert folded.tolist() == [0, 1]
    assert "without regard" in note


def test_classes_are_matched_by_readable_name():
    found, note = match_classes(["shark", "tench"], config(["n1", "n2"], ["Tench", "Shark"]))
    assert found.tolist() == [1, 0]
    assert "readable names" in note
    known = config(IMAGENET_IDS, IMAGENET_NAMES)
    assert match_classes(["n01440764", "n15075141"], known)[0].tolist() == [0, 999]
    assert match_classes(["tench"], known)[0].tolist() == [0]


def test_one_name_of_two_classes_is_refused():
    _, hint = refusal(["crane"], config(["n1", "n2"], ["crane", "crane"]))
    assert "2 classes of the network are called 'crane'" in hint


@pytest.mark.parametrize(
    ("names", "same"),
    [
        (["cat", "dog"], True),
        (["Cat", "dog"], True),
        (["dog", "cat"], False),  # another order is another head
        (["cat"], False),
        (["cat", "dog", "eel"], False),
        (["tabby", "pug"], True),
        ([], False),
    ],
)
def test_a_head_is_kept_for_the_same_classes_in_the_same_order(names, same):
    assert same_classes(names, config(["cat", "dog"], ["Tabby", "Pug"])) is same
    assert not same_classes(names, config(count=len(names)))


# what is missing


def test_the_classes_that_differ_are_named_and_not_those_that_match():
    names = [f"class{i}" for i in range(898)]
    data = [
        name.replace("class7", "klass7") if i in (7, 70, 71) else name
        for i, name in enumerate(names)
    ] + ["zebra"]
    text, hint = refusal(data, config(names))
    assert text == (
        "4 of the dataset's 899 classes are not among the network's 898: 'klass7', 'klass70', "
        "'klass71', 'zebra'; the dataset lacks 3 of these: 'class7', 'class70', 'class71'"
    )
    assert hint.startswith("is 'klass7' 'class7'? is 'klass70' 'class70'?")
    assert "train a new head" in hint


@pytest.mark.parametrize(
    ("names", "known", "missing"),
    [
        (["cat", "horse"], config(["cat", "dog"]), "'horse'; the dataset lacks 1 of these: 'dog'"),
        (["cat", "dog", "horse"], config(["cat", "dog"]), "'horse'"),
        (["a", "b"], config(count=3), "2 classes ('a', 'b'), the network has 3 without names"),
        ([], config(["cat"]), "0 of the dataset's 0 classes are"),
        (["1", "2"], config(["0", "1"]), "'2'; the dataset lacks 1 of these: '0'"),
    ],
)
def test_classes_that_do_not_fit(names, known, missing):
    text, hint = refusal(names, known)
    assert missing in text
    assert "new head" in hint


def test_long_lists_of_classes_are_shortened_and_in_natural_order():
    text, _ = refusal([f"n{i}" for i in reversed(range(100))], config(["a"]))
    assert "'n0', 'n1', 'n2', 'n3', 'n4', 'n5' and 94 more" in text


def test_a_class_without_images_may_be_absent_from_the_network():
    names, known = ["ant", "bee", "wasp"], config(["bee", "ant"])
    found, note = match_classes(names, known, labels=np.array([0, 1, 1]))
    assert found.tolist() == [1, 0, -1]
    assert note == "2 classes matched by names to 2; without images and ignored: 'wasp'"
    text, _ = refusal(names, known, labels=np.array([0, 2]))
    assert "'wasp'" in text
    refusal(names, known)  # which classes have images is not known


def test_scores_of_several_labels_leave_out_a_class_without_images():
    truth = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 1]], np.uint8)
    classes, _ = match_classes(["a", "b", "c"], config(["c", "a"]), labels=truth)
    assert classes.tolist() == [1, -1, 0]
    logits = np.array([[-4, 3], [2, -1], [5, 6]], np.float32)
    scores = measure(MULTI_LABEL, lambda x: x, [(logits, truth)], classes=classes)
    assert scores.per_class == ((1, 2, 1.0), (0, 2, 1.0))
    assert scores.exact_match == 1


# positions


def test_classes_without_names_are_matched_by_position():
    found, note = match_classes(["a", "b"], config(count=2))
    assert found.tolist() == [0, 1]
    assert note == "classes matched by position: the weights have no names"


def test_integer_labels_are_positions_of_a_network_without_names():
    names = sorted(map(str, range(12)))  # "0", "1", "10", "11", "2", ...
    found, note = match_classes(names, config(count=12))
    assert found.tolist() == [0, 1, 10, 11, *range(2, 10)]
    assert "the labels are integers" in note


def test_integer_labels_are_positions_in_the_order_of_imagenet():
    known = config(IMAGENET_IDS, IMAGENET_NAMES)
    found, note = match_classes(["0", "1", "10", "2", "999"], known)
    assert found.tolist() == [0, 1, 10, 2, 999]
    assert note == (
        "5 integer labels taken as positions in ImageNet's order: 0 is 'tench', "
        "999 is 'toilet tissue'"
    )


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (["1", "2", "1000"], config(IMAGENET_IDS, IMAGENET_NAMES)),  # the development kit's
        (["0", "1"], config(["ant", "bee"])),
        (["0", "1"], config(reversed(IMAGENET_IDS))),
        (["1", "01"], config(IMAGENET_IDS)),
    ],
)
def test_other_integer_labels_are_refused_with_the_reason(names, known):
    _, hint = refusal(names, known)
    if len(set(map(int, names))) == len(names):
        assert "positions only from 0 to 999 and for ImageNet's classes" in hint


def test_a_network_without_names_is_told_where_to_put_them():
    """timm writes no names for 1000 classes if the network has no published tag."""
    _, hint = refusal(["n01440764", "n01530575"], config(count=1000))
    assert "name the network's classes in its config.json, as label_names" in hint
