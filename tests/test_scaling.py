"""What follows from another batch size, and what a run says about it."""

from __future__ import annotations

import pytest

from rezoo import recipes
from rezoo.errors import SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.recipes.scaling import describe_changes, describe_scaling, scaled, scaling
from rezoo.specs import DatasetSpec, Preprocessing

BASE = Recipe(
    name="r", batch_size=256, learning_rate=0.1, min_learning_rate=1e-3, steps=1000,
    warmup_steps=100, warmup_epochs=5.0, epochs=90, weight_decay=1e-4, ema_decay=0.99, ema_every=4,
)  # fmt: skip


@pytest.mark.parametrize(
    ("optimizer", "factor"), [("sgd", 4), ("lars", 4), ("adamw", 2), ("lamb", 2)]
)
def test_scaling_up(optimizer, factor):
    before = Recipe(**{**BASE.to_dict(), "optimizer": optimizer})
    after = scaled(before, 1024)
    assert after.batch_size == 1024
    assert after.learning_rate == pytest.approx(factor * 0.1)
    assert after.min_learning_rate == pytest.approx(factor * 1e-3)
    assert (after.steps, after.warmup_steps) == (250, 25)
    assert after.ema_decay == pytest.approx(0.99**4)
    kept = ("ema_every", "weight_decay", "epochs", "warmup_epochs", "momentum")
    assert all(getattr(after, key) == getattr(before, key) for key in kept)
    back = scaled(after, 256)
    assert back.learning_rate == pytest.approx(before.learning_rate)
    assert (back.steps, back.ema_decay) == (before.steps, pytest.approx(before.ema_decay))


def test_scaling_down():
    after = scaled(BASE, 64)
    assert after.learning_rate == 0.025
    assert (after.steps, after.warmup_steps) == (4000, 400)
    assert scaling(BASE, 256) == {}
    assert scaled(Recipe(name="r", batch_size=1000, steps=1), 1_000_000).steps == 1
    assert scaled(Recipe(name="r", batch_size=1, learning_rate=0.1), 3).learning_rate == 0.3


def test_scaling_of_decoupled_decay():
    decoupled = Recipe(name="r", batch_size=256, decoupled_weight_decay=True, weight_decay=1e-4)
    assert scaled(decoupled, 4096).weight_decay == pytest.approx(1.6e-3)  # big_vision's bit_i1k
    adamw = Recipe(name="r", batch_size=256, optimizer="adamw", decoupled_weight_decay=True)
    assert scaled(adamw, 4096).weight_decay == adamw.weight_decay


@pytest.mark.parametrize(
    ("batch", "mixup", "parts"), [(128, 0.0, 8), (100, 0.0, 1), (8, 0.0, 8), (8, 0.2, 1)]
)
def test_scaling_of_accumulation(batch, mixup, parts):
    before = Recipe(name="r", batch_size=256, accumulation=8, mixup_alpha=mixup)
    assert scaled(before, batch).accumulation == parts


def resolved(changes, name="scratch"):
    spec = DatasetSpec(name="d", open=list, overrides={"flip": 0.0})
    return recipes.resolve_recipe(name, spec, changes, preprocessing=Preprocessing())


def test_batch_size_without_a_rate():
    recipe, notes = resolved({"batch_size": "64"})  # text, as from --set
    assert (recipe.batch_size, recipe.learning_rate) == (64, 0.025)
    assert notes == (
        "flip = 0.0: d asks for it",
        "learning_rate 0.1 → 0.025: batch_size 64 instead of 256, linear scaling",
    )


def test_batch_size_with_a_rate():
    recipe, notes = resolved({"batch_size": 64, "learning_rate": 0.1})
    assert (recipe.batch_size, recipe.learning_rate, len(notes)) == (64, 0.1, 1)
    assert resolved({"batch_size": 256}) == resolved({})


def test_what_the_user_sets_is_not_scaled():
    recipe, (_, note) = resolved({"batch_size": 1024, "warmup_steps": 7}, "bit_hyperrule")
    assert (recipe.steps, recipe.warmup_steps) == (250, 7)
    assert note.startswith("learning_rate 0.003 → 0.006, steps 500 → 250: ")
    recipe, _ = resolved({"batch_size": 10, "repeated_augmentation": 1}, "tv_v2")
    assert recipe.batch_size == 10


def test_scaling_of_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('optimizer = "lamb"\nbatch_size = 100\nlearning_rate = 0.01\n')
    recipe, (note,) = resolved({"batch_size": 400}, str(path))
    assert recipe.learning_rate == 0.02
    assert note == "learning_rate 0.01 → 0.02: batch_size 400 instead of 100, square-root scaling"


@pytest.mark.parametrize("size", [0, -4, "many", 2.5])
def test_batch_sizes_that_are_none(size):
    with pytest.raises(SpecError, match="recipe key batch_size"):
        resolved({"batch_size": size})


def test_note_names_what_changes():
    values = scaling(BASE, 512)
    note = describe_scaling(BASE, values)
    assert "steps 1000 → 500" in note
    assert "ema_decay 0.99 → 0.9801" in note
    assert note.endswith("batch_size 512 instead of 256, linear scaling")


# shorter runs


def test_a_short_run_does_not_end_in_its_warmup():
    recipe, notes = resolved({"epochs": 2}, "quick")  # 2 of 30 epochs are warm-up
    assert (recipe.epochs, recipe.warmup_epochs) == (2, 0.2)
    assert notes[-1] == "warmup_epochs 2 → 0.2: the run is shorter than its recipe"


def test_a_recipe_with_a_longer_warmup_keeps_its_share():
    recipe, _ = resolved({"epochs": 5}, "cifar")  # 2 of 10 epochs
    assert recipe.warmup_epochs == 1.0
    assert resolved({}, "cifar")[0].warmup_epochs == 2.0


def test_a_warmup_in_steps_shrinks_with_them():
    recipe, notes = resolved({"steps": 50}, "bit_hyperrule")  # 100 of 500 steps
    assert (recipe.steps, recipe.warmup_steps) == (50, 10)
    assert notes[-1].startswith("warmup_steps 100 → 10: ")


@pytest.mark.parametrize("changes", [{"epochs": 2, "warmup_epochs": 1.5}, {"epochs": 60}])
def test_the_warmup_stays_if_it_is_set_or_the_run_is_longer(changes):
    recipe, notes = resolved(changes, "quick")
    assert recipe.warmup_epochs == changes.get("warmup_epochs", 2.0)
    assert not any("shorter" in note for note in notes)


def test_images_of_a_short_run_grow_to_their_full_size(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 10\nimage_size = 64\nstart_size = 32\ngrow_epochs = [4, 8]\n")
    recipe, (note,) = resolved({"epochs": 5}, str(path))
    assert recipe.grow_epochs == (2.0, 4.0)
    assert note == "grow_epochs [4, 8] → [2, 4]: the run is shorter than its recipe"


def test_a_note_has_every_digit_of_a_number_of_steps():
    recipe = Recipe(name="t", steps=4_194_304)
    assert describe_changes(recipe, {"steps": 2_097_152}) == "steps 4194304 → 2097152"
