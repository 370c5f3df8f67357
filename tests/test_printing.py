"""What a run prints: the plan with its classes, its progress, in a notebook too."""

from __future__ import annotations

import sys

from rezoo.recipes.recipe import Recipe
from rezoo.training.printing import Lines, class_lines, describe, epoch_line
from rezoo.training.reporters import Plan
from rezoo.utils.names import count_of


def plan(classes, counts, **keys) -> Plan:
    return Plan(
        model="m",
        dataset="d",
        recipe=Recipe(name="r", image_size=8, **keys),
        recipe_reason="",
        folder="runs/m-d",
        steps_per_epoch=3,
        sizes={split: sum(found) for split, found in counts.items()},
        classes=classes,
        class_counts=counts,
        notes=(),
    )


def test_all_classes_are_named_up_to_20_with_their_images():
    few = plan(("ant", "bee", "fly"), {"train": (1200, 5, 7), "val": (2, 0, 0), "test": (1, 1, 1)})
    assert list(class_lines(few)) == [
        "3, images in train: ant 1,200, bee 5, fly 7",
        "val has no image of bee, fly",
    ]
    names = tuple(f"n{i}" for i in range(1000))
    counts = {"train": tuple(range(1, 1001)), "val": (1,) * 970 + (0,) * 30}
    whole, lacks = class_lines(plan(names, counts))
    assert whole == "1,000, images in train: n0 1 … n999 1,000"
    assert lacks.startswith("val has no image of n970, n971,")
    assert lacks.endswith("n989 and 10 more")


def test_classes_whose_images_are_not_counted():
    (text,) = class_lines(plan(("ant", "bee"), {}))
    assert text == "2, images are counted only by reading the data: ant, bee"


def test_two_classes_of_one_name_are_both_counted():
    """ImageNet has two cranes."""
    told = plan(("crane", "crane"), {"train": (3, 4)}).to_dict()
    assert told["classes"] == {"0 crane": 3, "1 crane": 4}


def test_a_probe_has_no_epochs_and_no_rate():
    probe = plan(("ant", "bee"), {"train": (1, 1)}, epochs=0, head_start="probe")
    texts = [text for _, text in describe(probe)]
    assert "linear probe on the features of the weights, no epochs, 8 px, float32, seed 0" in texts
    assert not any("sgd" in text or "0 epochs" in text for text in texts)
    figures = {"train_loss": 1.0, "train_top1": 0.5, "val_loss": 1.0, "val_top1": 0.5}
    record = {"epoch": 0, "learning_rate": 0.0, "images_per_s": 9.0, **figures}
    assert epoch_line(record, 0, best=True) == (
        "linear probe  loss 1.0000  top-1 50.00%  val loss 1.0000  val top-1 50.00%  9 img/s"
    )


def test_a_notebook_gets_the_lines_on_stdout_and_one_that_moves(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    lines = Lines()
    lines.epochs, lines._steps = 2, 10
    figures = {"loss": 1.5, "top1": 0.25, "images_per_s": 100.0}
    lines.step(0, 5, figures)
    lines.note("done")
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("\repoch 1/2  step 5/10  loss 1.500  top-1 25.0%  100 img/s  0 s left")
    assert out.endswith("\rdone\n")


def test_a_number_agrees_with_its_noun():
    assert [count_of(n, "image") for n in (0, 1, 2, 1234)] == [
        *("0 images", "1 image", "2 images", "1,234 images"),
    ]
    assert [count_of(n, "class") for n in (1, 2)] == ["1 class", "2 classes"]
