"""The cost of a run before it begins, and the recipe keys that depend on data and machine."""

from __future__ import annotations

import dataclasses

import pytest

from rezoo.errors import SpecError
from rezoo.models.factory import create_model
from rezoo.models.profile import profile
from rezoo.recipes.recipe import Recipe
from rezoo.training import estimate, request
from rezoo.training.estimate import Times
from rezoo.training.step_memory import FREE_PART, predict_memory, smallest_accumulation
from rezoo.utils import device

TIMES = Times(compile_s=5.0, step_s=1.0, validation_s=9.0, save_s=1.0, probe_s=0.0, loss=1.0)


def recipe(**keys):
    return Recipe(name="t", **{"image_size": 64, **keys})


# the batch that fits


@pytest.fixture(scope="module")
def counted():
    model = create_model("resnet18", num_classes=10, input_shape=(64, 64, 3))
    return profile(model, input_shape=(64, 64, 3))


def test_memory_grows_with_the_batch_and_the_precision(counted):
    once, twice = (predict_memory(counted, recipe(batch_size=n)) for n in (32, 64))
    half = predict_memory(counted, recipe(batch_size=32, precision="mixed_bfloat16"))
    assert twice.activations == pytest.approx(2 * once.activations, rel=1e-6)
    assert half.activations == pytest.approx(once.activations / 2, rel=1e-6)
    assert once.total == once.activations + once.optimizer + once.work
    lamb = predict_memory(counted, recipe(batch_size=32, optimizer="lamb", ema_decay=0.9))
    assert lamb.optimizer == 3 * once.optimizer == 3 * 4 * counted.params


def test_the_micro_batch_that_fits(counted):
    plain = recipe(batch_size=96)
    whole = predict_memory(counted, plain).total
    assert smallest_accumulation(counted, plain, 2 * whole) == 1
    third = predict_memory(counted, dataclasses.replace(plain, accumulation=3)).total
    assert smallest_accumulation(counted, plain, round(third / FREE_PART) + 1) == 3
    assert smallest_accumulation(counted, plain, 0) == 96  # single images, at the worst
    mixing = recipe(batch_size=96, mixup_alpha=0.2)
    assert smallest_accumulation(counted, mixing, 0) == 48


def test_a_gpu_also_holds_batches_ahead_and_the_workspace_of_convolutions(counted):
    one, two = (recipe(batch_size=n, precision="mixed_bfloat16") for n in (32, 64))
    host, gpu, larger = (
        predict_memory(counted, one),
        predict_memory(counted, one, gpu=True),
        predict_memory(counted, two, gpu=True),
    )
    images = (2 + 4) * 64 * 64 * 3  # two ahead in uint8, one in the step in float32
    more = 32 * (images + 2 * 2 * 32 * 32 * 64)  # conv1 has the largest output
    assert gpu.work - host.work == larger.work - gpu.work == more
    assert gpu.activations == host.activations
    limit = round(host.total / FREE_PART) + 1
    assert smallest_accumulation(counted, one, limit) == 1
    assert smallest_accumulation(counted, one, limit, gpu=True) > 1


def test_free_memory_of_this_machine():
    assert device.free_bytes() > 100_000_000
    assert device.peak_bytes() > 0.9 * device.resident_bytes() > 10_000_000


# the time that is allowed


def test_a_schedule_shrinks_to_the_time_and_keeps_its_shape():
    long = recipe(epochs=90, warmup_epochs=9.0, start_size=32, grow_epochs=(30.0, 60.0))
    found = estimate.fitted(long, TIMES, 50, left_s=(60 * 30 + 43) / 0.92)
    assert found.epochs == 30
    assert found.warmup_epochs == pytest.approx(3.0)
    assert found.grow_epochs == pytest.approx((10.0, 20.0))
    assert estimate.fitted(long, TIMES, 50, left_s=1e9) == long


def test_a_time_too_short_for_one_epoch():
    with pytest.raises(SpecError, match=r"one epoch takes about 60 s, and 20 s are left"):
        estimate.fitted(recipe(), TIMES, 50, left_s=60.0)


# what data and machine decide


def test_steps_become_epochs():
    found, notes = request.settle(recipe(steps=500, batch_size=512), count=3312, chosen=())
    assert (found.steps, found.epochs) == (None, 84)
    assert notes == ["500 steps: 84 epochs of these data"]


def test_a_batch_of_the_recipe_shrinks_to_the_data_and_the_rate_follows():
    found, notes = request.settle(recipe(batch_size=512, learning_rate=0.4), count=469, chosen=())
    assert (found.batch_size, found.learning_rate) == (256, 0.2)
    assert "linear scaling" in notes[0]
    assert "469 images" in notes[0]


def test_a_batch_of_the_user_does_not():
    with pytest.raises(SpecError, match="larger than train, which has 469 images"):
        request.settle(recipe(batch_size=512), count=469, chosen={"batch_size"})


def test_a_warmup_in_steps_is_at_most_a_tenth_of_these_data():
    in_steps = recipe(epochs=90, batch_size=32, warmup_steps=1000)
    found, notes = request.settle(in_steps, count=100, chosen=())  # 270 steps
    assert found.warmup_steps == 27
    assert notes == ["warmup_steps 1000 → 27: at most a tenth of these data's run"]
    for kept in ({"chosen": {"warmup_steps"}}, {"chosen": (), "own": True}):
        assert request.settle(in_steps, count=100, **kept) == (in_steps, [])
    mixed = recipe(steps=30, batch_size=32, warmup_epochs=5.0)
    found, _ = request.settle(mixed, count=100, chosen=("steps",), own=True)
    assert (found.epochs, found.warmup_epochs) == (10, 5.0)
    found, _ = request.settle(mixed, count=100, chosen=("steps", "epochs"), own=True)
    assert found.warmup_epochs == 1.0


def test_a_recipe_in_steps_keeps_its_warmup():
    found, _ = request.settle(
        recipe(steps=500, warmup_steps=100, batch_size=32), count=3000, chosen=()
    )
    assert found.warmup_steps == 100


def test_a_resumed_run_keeps_what_its_machine_decided():
    before = recipe(precision="mixed_bfloat16", accumulation=4, epochs=7, warmup_epochs=0.5)
    found, _ = request.settle(recipe(precision="auto"), count=999, chosen=(), before=before)
    assert (found.precision, found.accumulation, found.epochs) == ("mixed_bfloat16", 4, 7)
    other, _ = request.settle(
        recipe(precision="float32"), count=999, chosen={"precision"}, before=before
    )
    assert other.precision == "float32"
