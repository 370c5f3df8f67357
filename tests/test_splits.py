"""Split and order rules: the same on every machine, for ever."""

# Golden values: `python -c "from rezoo.data.splits import *; print(hold_out(stable_hash(
# [f'digits/{i}' for i in range(1000)]), 0.1)[1], epoch_order(10, seed=0, epoch=0))"` and alike.

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rezoo.data.datasets import load_dataset, open_splits
from rezoo.data.examples import Examples, Splits
from rezoo.data.image_sources import ArraySource
from rezoo.data.splits import epoch_key, epoch_order, hold_out, splitmix64, stable_hash
from rezoo.errors import NotFoundError
from rezoo.specs import DatasetSpec

KEYS = [f"digits/{i}" for i in range(1000)]


def test_splitmix64_is_the_published_one():
    # the generator's first output from seed 0 is 0xe220a8397b1dcdaf (Steele et al. 2014)
    values = splitmix64(np.array([0, 1, 2**64 - 1], np.uint64)).tolist()
    assert values == [0xE220A8397B1DCDAF, 10451216379200822465, 16490336266968443936]


def test_hashes():
    assert stable_hash(KEYS[:2]).tolist() == [0x412C258C0C69E979, 0xAC7688216B9C3CA7]
    assert stable_hash(["", "Ä"]).tolist() == [16476032584258269876, 15878289296149366474]
    assert stable_hash([b"\xff.jpg".decode("utf-8", "surrogateescape")]).shape == (1,)
    assert stable_hash([]).shape == (0,)


def test_hold_out_golden():
    kept, held = hold_out(stable_hash(KEYS), 0.1)
    assert held[:8].tolist() == [6, 35, 44, 48, 66, 82, 90, 99]
    assert (len(held), held.sum()) == (100, 51399)
    assert sorted([*kept, *held]) == list(range(1000))
    kept, held = hold_out(stable_hash(KEYS), 0.1, labels=np.arange(1000) % 7)
    assert held[:8].tolist() == [6, 28, 35, 44, 48, 66, 82, 90]
    assert (len(held), held.sum()) == (98, 48454)


def test_hold_out_takes_of_every_class():
    labels = np.repeat([0, 1, 2, 3, 4], [1, 2, 10, 100, 887])
    _, held = hold_out(stable_hash(KEYS), 0.1, labels=labels)
    assert np.bincount(labels[held], minlength=5).tolist() == [0, 1, 1, 10, 89]


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_hold_out_keeps_one_of_every_class(fraction):
    kept, held = hold_out(stable_hash(KEYS[:10]), fraction, labels=np.arange(10) // 2)
    assert len(kept) == len(held) == 5


def test_hold_out_of_nothing():
    for labels in (None, np.zeros(0, int)):
        kept, held = hold_out(stable_hash([]), 0.1, labels=labels)
        assert (kept.tolist(), held.tolist()) == ([], [])
    assert hold_out(stable_hash(["a"]), 0.5)[0].tolist() == [0]


def test_one_more_example_moves_few():
    def held(keys):
        return {keys[i] for i in hold_out(stable_hash(keys), 0.1)[1]}

    for place in (0, 500, 1000):
        more = [*KEYS[:place], "new", *KEYS[place:]]
        assert len((held(KEYS) ^ held(more)) - {"new"}) <= 1


def test_hold_out_looks_at_names_not_at_order():
    order = np.random.default_rng(0).permutation(1000)
    shuffled = [KEYS[i] for i in order]
    _, first = hold_out(stable_hash(KEYS), 0.1)
    _, second = hold_out(stable_hash(shuffled), 0.1)
    assert {KEYS[i] for i in first} == {shuffled[i] for i in second}


def test_epoch_order_golden():
    assert epoch_order(10, seed=0, epoch=0).tolist() == [0, 7, 1, 9, 6, 8, 3, 2, 5, 4]
    assert epoch_order(10, seed=0, epoch=1).tolist() == [2, 9, 6, 7, 5, 1, 4, 8, 3, 0]
    assert epoch_order(10, seed=1, epoch=0).tolist() == [3, 2, 8, 0, 6, 7, 9, 5, 4, 1]
    assert epoch_order(1000, seed=0, epoch=0)[:5].tolist() == [232, 297, 183, 86, 493]
    assert epoch_key(2**31 - 1, 99_999) == 2574489485995887095


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_epoch_order_is_a_permutation(count):
    order = epoch_order(count, seed=3, epoch=4)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(count))


def test_epochs_and_seeds_differ():
    orders = [tuple(epoch_order(50, seed=s, epoch=e)) for s in range(6) for e in range(6)]
    assert len(set(orders)) == 36
    keys = {epoch_key(s, e) for s in range(60) for e in range(60)}
    assert len(keys) == 3600
    assert all(0 <= key < 2**63 for key in keys)


def test_epoch_order_is_not_correlated_with_position():
    firsts = [epoch_order(100, seed=0, epoch=e)[:10].mean() for e in range(200)]
    assert abs(np.mean(firsts) - 49.5) < 3


def test_digits_are_split_as_ever():
    data = load_dataset("digits")
    assert repr(data) == "<Dataset digits: 10 classes; train 1295, val 143, test 359>"
    parts = {split: data.examples(split) for split in ("train", "val", "test", "all")}
    assert [parts["val"].key(i) for i in range(3)] == ["digits/2", "digits/7", "digits/8"]
    assert [parts["test"].key(i) for i in range(3)] == ["digits/6", "digits/14", "digits/15"]
    keys = [parts["all"].key(i) for i in range(len(parts["all"]))]
    assert len(set(keys)) == 1797
    assert np.bincount(parts["test"].labels()).min() >= 34
    with pytest.raises(NotFoundError, match="no split 'tset'") as caught:
        data.examples("tset")
    assert caught.value.hint == (
        'it has train, val, test; split "all" (--split all) has every image.'
    )


def examples(count: int, tag: str = "") -> Examples:
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] + np.zeros(
        (1, 2, 2, 1), np.uint8
    )
    return Examples(ArraySource(images, np.arange(count) % 2, [f"{tag}{i}" for i in range(count)]))


def test_validation_is_held_out_once():
    opened = Splits(parts={"train": examples(40)}, class_names=("a", "b"))
    held = opened.with_validation(0.25)
    assert {s: len(p) for s, p in held.parts.items()} == {"train": 30, "val": 10}
    assert "val: 10 of train's 40 examples" in held.notes[0]
    assert held.with_validation() is held
    only_test = Splits(parts={"test": examples(4)}, class_names=("a", "b"))
    assert only_test.with_validation() is only_test


def test_without_a_test_split_validation_is_the_test():
    train, val = examples(40), examples(6, "v")
    opened = Splits(parts={"train": train, "val": val}, class_names=("a", "b"))
    made = opened.with_test()
    assert (made.parts["train"], made.parts["test"]) == (train, val)
    assert made.notes == ("test: the 6 images of val, as there is no other test split",)
    assert made.with_test() is made
    sizes = {s: len(p) for s, p in made.with_validation(0.25).parts.items()}
    assert sizes == {"train": 30, "val": 10, "test": 6}
    only_train = Splits(parts={"train": train}, class_names=("a", "b")).with_test()
    assert {s: len(p) for s, p in only_train.parts.items()} == {"train": 36, "test": 4}


def test_every_opened_dataset_has_a_test_split():
    parts = {"train": examples(40), "val": examples(6, "v")}
    spec = DatasetSpec(name="p", open=lambda: Splits(parts=parts, class_names=("a", "b")))
    data = load_dataset(spec)
    assert repr(data) == "<Dataset p: 2 classes; train 36, val 4, test 6>"
    assert open_splits(spec).notes == data.splits.notes[:1]
    assert repr(load_dataset(spec, val_fraction=0.25)).endswith("train 30, val 10, test 6>")


def test_a_validation_split_of_the_data_is_kept():
    parts = {"train": examples(40), "val": examples(6, "v"), "test": examples(4, "t")}
    spec = DatasetSpec(name="p", open=lambda: Splits(parts=parts, class_names=("a", "b")))
    data = load_dataset(spec, val_fraction=0.25)
    assert len(data.examples("val")) == 6
    assert data.splits.notes == ("val_fraction is not used: the data has a validation split",)


def test_joined_and_selected_examples():
    joined = Splits(parts={"test": examples(3, "t"), "train": examples(4, "a")}, class_names=())[
        "all"
    ]
    assert len(joined) == 7
    assert [joined.key(i) for i in range(7)] == ["a0", "a1", "a2", "a3", "t0", "t1", "t2"]
    picked = joined.select(np.array([6, 0, 4])).select(np.array([2, 0]))
    assert [picked.key(i) for i in range(2)] == ["t0", "t2"]
    assert picked.labels().tolist() == [0, 0]
    image, label = picked.fetch(tf.constant(1, tf.int64))
    assert (int(image[0, 0, 0]), int(label)) == (2, 0)
