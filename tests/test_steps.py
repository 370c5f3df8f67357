"""The compiled step and the loop: micro-batches, clipping, averages, loss scaling, statistics."""

import itertools
import json
import math
import time
from contextlib import contextmanager

import keras
import numpy as np
import pytest

import rezoo
from rezoo.data.datasets import DataOptions
from rezoo.errors import DivergedError, IncompatibleError, IntegrityError
from rezoo.evaluation.forward import compiled_forward
from rezoo.models.normalization import normalized
from rezoo.models.norms import freeze_statistics
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing
from rezoo.training import checkpoints
from rezoo.training.checkpoints import Progress
from rezoo.training.generations import Generations, read_whole
from rezoo.training.loop import Loop
from rezoo.training.reporters import Reporter
from rezoo.training.request import Request
from rezoo.training.setup import Setup
from rezoo.training.step import Outcome, training_step
from rezoo.training.update import clipped, global_norm
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture


def number(x):
    return float(keras.ops.convert_to_numpy(x))


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def same_bits(before, after):
    return all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def network():
    return rezoo.create_model("test_resnet", num_classes=4, input_shape=(16, 16, 1))


def small(precision="float32", channels=2):
    """Return a network without batch normalization, with a random generator, from fixed weights."""
    pixels = keras.Input((6, 6, channels))
    x = keras.layers.Conv2D(4, 3, activation="tanh", name="conv1", dtype=precision)(pixels)
    x = keras.layers.Dropout(1e-9, seed=3)(keras.layers.Flatten()(x))
    model = keras.Model(pixels, keras.layers.Dense(3, name="fc", dtype="float32")(x))
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(random.normal(0, 0.3, variable.shape))
    return model


def batch(parts=1, size=16):
    random = np.random.default_rng(7)
    images = random.normal(0, 1, (size, 6, 6, 2)).astype("float32")
    labels = (np.arange(size) % 3).astype("int32")
    return list(zip(np.split(images, parts), np.split(labels, parts), strict=True))


def step_of(model, objective=None, preprocessing=None, **keys):
    recipe = Recipe(
        name="t", batch_size=16, learning_rate=0.05, schedule="constant", epochs=9, **keys
    )
    return training_step(
        model, recipe, steps_per_epoch=10, objective=objective, preprocessing=preprocessing
    )


@pytest.mark.parametrize("optimizer", ["sgd", "lamb"])
def test_micro_batches_are_equal_to_the_whole_batch(optimizer):
    keys = {"optimizer": optimizer, "clip_norm": 0.5, "ema_decay": 0.9}
    models = {parts: small() for parts in (1, 4)}
    found = {}
    for parts, model in models.items():
        step = step_of(model, accumulation=parts, **keys)
        found[parts] = [step(batch(parts)).read() for _ in range(3)]
    for one, four in zip(found[1], found[4], strict=True):
        assert four.loss == pytest.approx(one.loss, rel=1e-5)
        assert four.hits == one.hits
        assert four.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-5)
    for one, four in zip(*(values(m.trainable_variables) for m in models.values()), strict=True):
        np.testing.assert_allclose(four, one, rtol=1e-5, atol=1e-6)


@pytest.mark.backend
@pytest.mark.parametrize("parts", [1, 2])
def test_the_step_normalizes_whole_grey_levels(parts):
    levels = np.random.default_rng(3).integers(0, 256, (16, 6, 6, 3), np.uint8)
    pre, labels = Preprocessing(input_size=(3, 6, 6)), (np.arange(16) % 3).astype("int32")
    inputs, found = normalized(levels.astype("float32"), pre), []
    for images, keys in ((levels, {"preprocessing": pre}), (inputs, {})):
        step = step_of(small(channels=3), accumulation=parts, **keys)
        parts_of = zip(np.split(images, parts), np.split(labels, parts), strict=True)
        figures = step(list(parts_of)).read()
        found.append([figures, *values(step.model.variables)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.backend
def test_the_forward_pass_normalizes_whole_grey_levels():
    levels = np.random.default_rng(3).integers(0, 256, (5, 6, 6, 3), np.uint8)
    pre, model = Preprocessing(input_size=(3, 6, 6)), small(channels=3)
    wanted = compiled_forward(model)(normalized(levels.astype("float32"), pre))
    np.testing.assert_allclose(compiled_forward(model, pre)(levels), wanted, rtol=1e-5, atol=1e-6)


def test_a_step_takes_as_many_micro_batches_as_it_was_built_for():
    with pytest.raises(ValueError, match="received 1 micro-batches; the step was built for 2"):
        step_of(small(), accumulation=2)(batch())


def test_clipping_is_of_all_gradients_together():
    gradients = [keras.ops.full((2, 2), 3.0), keras.ops.full((7,), 4.0)]
    norm = global_norm(gradients)
    assert number(norm) == pytest.approx(math.sqrt(4 * 9 + 7 * 16), rel=1e-6)
    shorter = clipped(gradients, norm, 0.5)
    assert number(global_norm(shorter)) == pytest.approx(0.5, rel=1e-5)
    assert same_bits(values(clipped(gradients, norm, 100.0)), values(gradients))


def test_step_reports_the_norm_before_clipping():
    free, held = small(), small()
    one = step_of(free, momentum=0.0, weight_decay=0.0)(batch()).read()
    other = step_of(held, momentum=0.0, weight_decay=0.0, clip_norm=0.01)(batch()).read()
    assert one == other
    start = values(small().trainable_variables)
    gone = [
        math.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(start, values(m.trainable_variables),
                                                            strict=True)))
        for m in (free, held)
    ]  # fmt: skip
    assert gone[0] == pytest.approx(0.05 * one.gradient_norm, rel=1e-4)
    assert gone[1] == pytest.approx(0.05 * 0.01, rel=1e-3)


def test_average_is_the_network_first_and_then_follows():
    """A warm-up of 2 steps; then the average moves each second step."""
    model = small()
    step = step_of(model, ema_decay=0.75, ema_every=2, warmup_steps=2)
    floats = [v for v in model.variables if "float" in v.dtype]
    assert len(floats) < len(model.variables)  # the generator's state is left alone
    wanted = values(floats)
    for count in range(1, 8):
        step(batch())
        if count <= 2:
            wanted = values(floats)
        elif count % 2 == 0:
            wanted = [0.75 * a + 0.25 * w for a, w in zip(wanted, values(floats), strict=True)]
        for ours, theirs in zip(values(step.update.average.variables), wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
    before, average = values(model.variables), values(step.update.average.variables)
    with step.averaged():
        assert same_bits(values(floats), average)
        assert not same_bits(values(model.variables), before)
    assert same_bits(values(model.variables), before)
    step(batch())
    assert not same_bits(values(model.variables), before)


@pytest.mark.ci
def test_average_has_batch_statistics():
    model = network()
    step = step_of(model, ema_decay=0.5)
    images = np.random.default_rng(0).normal(3, 1, (16, 16, 16, 1)).astype("float32")
    for _ in range(3):
        step([(images, np.zeros(16, "int32"))])
    mean = model.get_layer("bn1").moving_mean
    trained = values([mean])
    with step.averaged():
        assert not same_bits(values([mean]), trained)
    assert same_bits(values([mean]), trained)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.backend
def test_a_step_that_is_not_finite_changes_nothing_but_the_scale(parts):
    def loss_and_hits(logits, labels):
        return 1e3 * keras.ops.mean(logits), keras.ops.sum(labels)

    model = small()
    keys = {"precision": "mixed_float16", "ema_decay": 0.5, "optimizer": "adamw"}
    step = step_of(model, loss_and_hits, accumulation=parts, **keys)
    assert step(batch(parts)).read().loss_scale == 2.0**15
    scale = step.update.scale
    scale.factor.assign(2.0**127)
    watched = [v for name, v in step.state() if not name.startswith("loss_scale")]
    floats = [v for v in watched if "seed" not in v.path]
    before = values(floats)
    figures = step(batch(parts)).read()
    assert not math.isfinite(figures.gradient_norm)
    assert math.isfinite(figures.loss)
    assert figures.loss_scale == 2.0**126
    assert same_bits(values(floats), before)
    scale.factor.assign(2.0**4)
    figures = step(batch(parts)).read()
    assert math.isfinite(figures.gradient_norm)
    assert not same_bits(values(floats), before)


@pytest.mark.parametrize(
    ("precision", "optimizer"),
    [
        ("float32", "sgd"),
        ("mixed_float16", "lamb"),  # moments, a trust ratio and a scale of the loss
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in itertools.product(
                ("float32", "mixed_float16"), ("sgd", "lars", "adamw", "lamb")
            )
            if pair not in {("float32", "sgd"), ("mixed_float16", "lamb")}
        ),
    ],
)
def test_checkpoints_have_the_whole_state(tmp_path, optimizer, precision):
    keys = {"optimizer": optimizer, "precision": precision, "accumulation": 2, "ema_decay": 0.9}
    straight = step_of(small(precision), **keys)
    for _ in range(3):
        straight(batch(2))
    files = Generations(tmp_path)
    files.write(checkpoints.snapshot(straight.state(), Progress(step=3), "one"))
    resumed = step_of(small(precision), **keys)
    assert checkpoints.restore(files, resumed.state(), "one") == Progress(step=3)
    figures = [[step(batch(2)).read() for _ in range(3)] for step in (straight, resumed)]
    assert figures[0] == figures[1]
    assert same_bits(*(values(v for _, v in step.state()) for step in (straight, resumed)))


def test_loss_scale_grows_after_2000_good_steps():
    step = step_of(small(), precision="mixed_float16")
    step.update.scale.good_steps.assign(1998)
    assert [step(batch()).read().loss_scale for _ in range(3)] == [2.0**15, 2.0**16, 2.0**16]
    assert number(step.update.scale.good_steps) == 1
    step.update.scale.factor.assign(2.0**24)
    step.update.scale.good_steps.assign(1999)
    assert step(batch()).read().loss_scale == 2.0**24


def test_scaled_steps_are_the_plain_ones():
    plain, scaled = small(), small()
    one, other = step_of(plain), step_of(scaled, precision="mixed_float16")
    for _ in range(3):
        assert other(batch()).read()[:3] == pytest.approx(one(batch()).read()[:3], rel=1e-5)
    for a, b in zip(values(plain.variables), values(scaled.variables), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.ci
def test_frozen_statistics_stay_and_gamma_learns():
    model = network()
    norm = model.get_layer("bn1")
    norm.moving_mean.assign(keras.ops.full(norm.moving_mean.shape, 0.1))
    step = step_of(model, batch_norm="frozen")
    images = np.random.default_rng(0).normal(3, 1, (16, 16, 16, 1)).astype("float32")
    batches = [(images, (np.arange(16) % 4).astype("int32"))]
    statistics = [norm.moving_mean, norm.moving_variance]
    before, learnt = values(statistics), values([norm.gamma, norm.beta])
    for _ in range(3):
        step(batches)
    assert same_bits(values(statistics), before)
    assert not any(same_bits([a], [b]) for a, b in zip(values([norm.gamma, norm.beta]), learnt,
                                                       strict=True))  # fmt: skip


def test_frozen_statistics_normalize_in_training():
    model = network()
    images = np.random.default_rng(0).normal(3, 1, (4, 16, 16, 1)).astype("float32")
    assert not np.allclose(*(values([model(images, training=t)])[0] for t in (True, False)))
    freeze_statistics(model)
    inside, outside = (values([model(images, training=t)])[0] for t in (True, False))
    np.testing.assert_allclose(inside, outside, rtol=1e-5, atol=1e-6)


def test_keras_own_statistics_cannot_be_frozen():
    pixels = keras.Input((4, 4, 1))
    model = keras.Model(pixels, keras.layers.BatchNormalization(name="theirs")(pixels))
    with pytest.raises(IncompatibleError, match="layer theirs"):
        freeze_statistics(model)


# the loop


class Scores:
    """What the loop takes from scores; they are too few images for a warning."""

    def __init__(self, loss):
        self.loss = loss
        self.count, self.map, self.per_class = 6, 1.0, ((0, 6, 1.0),)

    def columns(self):
        return {"top1": 0.5, "top5": 0.5}


class FakeStep:
    """Returns the same figures at each step: `loss, hits, norm, scale`."""

    micro_batches = 2

    def __init__(self, *figures):
        self.figures, self.batches = figures, []

    def __call__(self, batch, wishes=()):
        self.batches.append(batch)
        return Outcome(np.float32(self.figures))

    def state(self):
        return iter(())

    @contextmanager
    def averaged(self):
        yield


class Notes(Reporter):
    def __init__(self):
        self.notes, self.records = [], []

    def note(self, text):
        self.notes.append(text)

    def epoch(self, record, *, best):
        self.records.append(record)


@pytest.fixture(scope="module")
def request_of(tiny_network):  # noqa: F811
    """Return requests on digits: 3 steps in each of 6 epochs, 2 micro-batches in each step."""
    changes = {"image_size": 8, "batch_size": 400, "accumulation": 2, "epochs": 6}
    return lambda **keys: Request.of(NETWORK, "digits", changes={**changes, **keys})


@pytest.fixture
def loop_of(request_of, tmp_path, monkeypatch):
    """Return a loop on real data whose step and validation are fake."""

    def make(step, losses, **keys):
        loop = Loop(Setup.of(request_of(**keys), DataOptions()), step, tmp_path, Notes())
        left = iter(losses)
        monkeypatch.setattr(loop, "validate", lambda: Scores(next(left)))
        return loop

    return make


def test_loop_stops_where_no_epoch_is_better_and_stays_stopped(loop_of):
    step = FakeStep(1.0, 2, 3.0, 1.0)
    loop = loop_of(step, [3.0, 2.0, 2.5, 2.1], early_stopping_epochs=2)
    progress = loop.run()
    assert (progress.epoch, progress.best_epoch, len(progress.history)) == (4, 2, 4)
    sizes = [[len(images) for images, _ in batch] for batch in step.batches[:2]]
    assert sizes == [[200, 200], [200, 200]]
    assert "epoch 4 of 6" in loop.reporter.notes[0]
    assert loop.reporter.records[0]["gradient_norm"] == 3.0
    count = len(step.batches)
    assert loop.run() is progress
    assert len(step.batches) == count


def test_the_steps_before_an_unreadable_image_count(loop_of, tmp_path):
    """They are saved with their figures, though these were not reported yet."""
    loop = loop_of(FakeStep(1.5, 2, 3.0, 1.0), [])
    loop.reporter.interval_s = math.inf

    def batches():
        yield from [(np.zeros((200, 8, 8, 1), np.float32), np.arange(200) % 10)] * 5
        raise IntegrityError("too many images cannot be read")

    with pytest.raises(IntegrityError):
        loop._epoch(batches(), [])
    meta = read_whole(Generations(tmp_path).last).metadata["rezoo"]
    position = json.loads(meta)
    assert (position["step"], position["loss_sum"], position["hits"]) == (2, 3.0, 4)
    assert position["wall_time_s"] > 0


def test_loop_measures_how_long_it_waits_for_images(loop_of):
    loop = loop_of(FakeStep(1.0, 2, 3.0, 1.0), [1.0] * 3)

    def batches():
        while True:
            time.sleep(0.02)
            yield np.zeros((200, 8, 8, 1), np.float32), np.arange(200) % 10

    loop._epoch(batches(), [])
    loop._epoch(batches(), [])
    loop._behind = 2  # on a GPU, every 50th wait is measured
    loop._epoch(batches(), [])
    first, second, on_gpu = (row["input_wait_share"] for row in loop.progress.history)
    assert 0.5 < first < 1
    assert 0.5 < second < 1
    assert on_gpu is None


@pytest.mark.ci
def test_loop_without_patience_goes_on(loop_of):
    loop = loop_of(FakeStep(1.0, 2, 3.0, 1.0), [1.0, 2, 3, 4, 5, 6])
    assert loop.run().epoch == 6
    assert loop.reporter.notes == []


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ((math.nan, 0, 1.0, 1.0), "the loss is nan"),
        ((1.0, 0, math.inf, 0.5), "no gradient is finite"),
    ],
)
def test_loop_stops_where_training_has_failed(loop_of, figures, message):
    with pytest.raises(DivergedError, match=message):
        loop_of(FakeStep(*figures), [1.0]).run()


@pytest.mark.ci
def test_steps_that_were_left_out_are_not_in_the_mean_norm(loop_of):
    loop = loop_of(FakeStep(1.0, 2, math.inf, 8.0), [1.0] * 6)
    assert loop.run().history[0]["gradient_norm"] == 0.0


def test_clipping_is_torchs():
    torch = pytest.importorskip("torch", reason="torch is a development dependency: parity only")
    random = np.random.default_rng(0)
    gradients = [random.normal(0, 1, shape).astype("float32") for shape in ((3, 4), (5,), (1,))]
    ours = [keras.ops.convert_to_tensor(g) for g in gradients]
    for bound in (0.1, 1.0, 3.0, 100.0):
        parameters = [torch.nn.Parameter(torch.zeros(g.shape)) for g in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.from_numpy(gradient.copy())
        norm = torch.nn.utils.clip_grad_norm_(parameters, bound)
        assert number(global_norm(ours)) == pytest.approx(norm.item(), rel=1e-6)
        shorter = clipped(ours, global_norm(ours), bound)
        for a, b in zip(values(shorter), parameters, strict=True):
            np.testing.assert_allclose(a, b.grad.numpy(), rtol=1e-6)


def test_average_is_torchs():
    torch = pytest.importorskip("torch", reason="torch is a development dependency: parity only")
    model = small()
    twin = torch.nn.ParameterList([torch.from_numpy(w) for w in values(model.trainable_variables)])
    average = torch.optim.swa_utils.AveragedModel(
        twin, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    step = step_of(model, ema_decay=0.9)
    for _ in range(20):
        step(batch())
        for parameter, value in zip(twin, values(model.trainable_variables), strict=True):
            parameter.data = torch.from_numpy(value)
        average.update_parameters(twin)  # which copies at first, as ours does
    with step.averaged():
        for ours, theirs in zip(values(model.trainable_variables), average.module, strict=True):
            np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-7)
