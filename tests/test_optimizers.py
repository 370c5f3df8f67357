"""Optimizers, schedules and multipliers: against formulas, and against torch and timm."""

import importlib.util
import itertools
import math
from pathlib import Path

import keras
import numpy as np
import pytest

import rezoo
from peers import import_timm
from rezoo.recipes.recipe import Recipe
from rezoo.training.adaptive import LAMB, AdamW
from rezoo.training.optimizers import build_optimizer
from rezoo.training.schedules import Schedule, schedule, total_steps, warmup_steps
from rezoo.training.sgd import LARS, SGD

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "compare_optimizers.py"
SCHEDULES = ("cosine", "linear", "poly", "step", "constant")


def number(x):
    return float(keras.ops.convert_to_numpy(x))


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


# the rules, in float64


def sgd(state, w, g, r, d, t, *, nesterov=False):
    b = state["b"] = 0.9 * state.get("b", 0.0) + (g + d * w)
    return w - r * ((g + d * w) + 0.9 * b if nesterov else b)


def sgdw(state, w, g, r, d, t):
    b = state["b"] = 0.9 * state.get("b", 0.0) + g
    return w * (1 - r / PEAK * d) - r * b


def lars(state, w, g, r, d, t):
    if d:
        weight, slope = np.linalg.norm(w), np.linalg.norm(g)
        g = 0.01 * weight / (slope + d * weight + 1e-8) * (g + d * w)
    b = state["b"] = 0.9 * state.get("b", 0.0) + g
    return w - r * b


def adam(state, g, t, epsilon):
    state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * g
    state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * g**2
    return state["m"] / (1 - 0.9**t) / (np.sqrt(state["v"] / (1 - 0.999**t)) + epsilon)


def adamw(state, w, g, r, d, t):
    return w * (1 - r * d) - r * adam(state, g, t, 1e-8)


def lamb(state, w, g, r, d, t):
    u = adam(state, g, t, 1e-6) + d * w
    return w - r * (np.linalg.norm(w) / np.linalg.norm(u) if d else 1.0) * u


PEAK = 0.05
RULES = {
    "sgd": (sgd, lambda s, **k: SGD(s, 0.9, **k)),
    "nesterov": (
        lambda *a: sgd(*a, nesterov=True),
        lambda s, **k: SGD(s, 0.9, nesterov=True, **k),
    ),
    "sgdw": (sgdw, lambda s, **k: SGD(s, 0.9, peak_learning_rate=PEAK, **k)),
    "lars": (lars, lambda s, **k: LARS(s, 0.9, trust_coefficient=0.01, **k)),
    "adamw": (adamw, AdamW),
    "lamb": (lamb, LAMB),
}


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_rules_follow_their_formulas(name, vectors):
    formula, build = RULES[name]
    rates = Schedule("linear", PEAK, 8, warmup_steps=2)
    random = np.random.default_rng(1)
    shapes = [(3, 3, 2, 4), (5,), (1,)]
    wanted = [random.normal(0, 0.5, shape).astype("float32") for shape in shapes]
    variables = [keras.Variable(w) for w in wanted]
    rule = build(rates, weight_decay=0.1, decay_vectors=vectors)
    rule.build(variables)
    states = [{} for _ in shapes]
    for t in range(1, 9):
        gradients = [random.normal(0, 1, shape).astype("float32") for shape in shapes]
        rule.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
        rate = number(rates(t - 1))
        for n, g in enumerate(gradients):
            decay = 0.1 if vectors or n == 0 else 0.0
            wanted[n] = formula(states[n], wanted[n].astype("float64"), g, rate, decay, t)
    for variable, w in zip(values(variables), wanted, strict=True):
        np.testing.assert_allclose(variable, w, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("build", [LAMB, LARS])
def test_trust_survives_zeros(build):
    """A tensor of zeros has no direction of its own: the ratio is 1, not 0 / 0."""
    variables = [keras.Variable(np.zeros((2, 2), "float32"))]
    rule = build(0.1, weight_decay=0.1)
    rule.build(variables)
    rule.apply([keras.ops.zeros((2, 2))], variables)
    rule.apply([keras.ops.ones((2, 2))], variables)
    (after,) = values(variables)
    assert np.isfinite(after).all()
    assert (after < 0).all()


@pytest.mark.parametrize(("_", "build"), RULES.values(), ids=RULES)
def test_rules_and_schedules_survive_their_configuration(_, build):
    rule = build(Schedule("step", 0.1, 9, milestones=[3, 6]), weight_decay=0.1, decay_vectors=True)
    again = type(rule).from_config(rule.get_config())
    assert again.get_config() == rule.get_config()


# schedules


def recipe_of(kind, **keys):
    return Recipe(name="t", learning_rate=1.0, schedule=kind, epochs=10, **keys)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cosine", lambda u: 0.2 + 0.8 * (1 + math.cos(math.pi * (1 - u))) / 2),
        ("linear", lambda u: 0.2 + 0.8 * u),
        ("poly", lambda u: 0.2 + 0.8 * u**3),
        ("constant", lambda u: 1.0),
        ("step", lambda u: 1.0 if u > 0.625 else 0.1 if u > 0.25 else 0.01),
    ],
)
def test_schedules_follow_their_formulas(kind, expected):
    """100 steps, 20 of them warm-up; step falls at 50 and 80."""
    recipe = recipe_of(
        kind, min_learning_rate=0.2, poly_power=3.0, warmup_epochs=2.0, step_at=(0.5, 0.8)
    )
    rate = schedule(recipe, 10)
    for step in (0, 7, 19):
        assert number(rate(step)) == pytest.approx(step / 20)
    for step in (20, 49, 50, 79, 80, 99, 100, 150):
        left = max(100 - step, 0) / 80
        assert number(rate(step)) == pytest.approx(expected(left), rel=1e-6), step


def test_lengths_in_steps_and_in_epochs():
    assert warmup_steps(recipe_of("cosine", warmup_steps=7, warmup_epochs=0.5), 10) == 7
    assert warmup_steps(recipe_of("cosine", warmup_steps=7, warmup_epochs=1.0), 10) == 10
    assert total_steps(recipe_of("cosine"), 7) == 70
    assert total_steps(recipe_of("cosine", steps=71), 7) == 77


@pytest.mark.parametrize("name", RULES)
def test_multipliers_scale_the_learning_rate(name):
    """One optimizer with a multiplier of 0.1 is one with a tenth of the learning rate."""
    _, build = RULES[name]
    random = np.random.default_rng(2)
    start = random.normal(0, 0.5, (2, 3, 4)).astype("float32")
    scaled, tenth = ([keras.Variable(w) for w in start] for _ in range(2))
    one = build(Schedule("linear", PEAK, 8), weight_decay=0.1)
    one.build(scaled, [1.0, 0.1])
    rates = {} if name != "sgdw" else {"peak_learning_rate": 0.1 * PEAK}
    others = [
        build(Schedule("linear", PEAK, 8), weight_decay=0.1),
        type(one).from_config(
            {**one.get_config(), "learning_rate": Schedule("linear", 0.1 * PEAK, 8), **rates}
        ),
    ]
    for _ in range(5):
        gradients = [keras.ops.convert_to_tensor(g) for g in random.normal(0, 1, start.shape)]
        gradients = [keras.ops.cast(g, "float32") for g in gradients]
        one.apply(gradients)
        for rule, gradient, variable in zip(others, gradients, tenth, strict=True):
            rule.apply([gradient], [variable])
    for ours, theirs in zip(values(scaled), values(tenth), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_unknown_schedules_are_refused():
    with pytest.raises(ValueError, match="allowed is cosine"):
        Schedule("polynomial", 0.1, 10)


# multipliers


def network():
    return rezoo.create_model("test_resnet", num_classes=4, input_shape=(16, 16, 1))


def rates_of(model, **keys):
    recipe = Recipe(name="t", learning_rate=1.0, schedule="constant", **keys)
    optimizer = build_optimizer(model, recipe, 10)
    paths = [variable.path for variable in optimizer.trained]
    return dict(zip(paths, optimizer.multipliers, strict=True))


def test_rates_fall_from_stage_to_stage():
    rates = rates_of(network(), layer_lr_decay=0.5, backbone_lr_scale=0.2)
    stages = {path.split(".")[0].split("/")[0]: rate for path, rate in rates.items()}
    assert stages.pop("fc") == 1.0
    for number_of_stage in (1, 2, 3, 4):
        wanted = 0.2 * 0.5 ** (5 - number_of_stage)
        assert stages.pop(f"layer{number_of_stage}") == pytest.approx(wanted)
    assert set(stages) == {"conv1", "bn1"}
    assert list(stages.values()) == pytest.approx([0.2 * 0.5**5] * 2)


def test_without_stages_the_body_is_one():
    pixels = keras.Input((4,))
    body = keras.layers.Dense(3, name="body")(pixels)
    model = keras.Model(pixels, keras.layers.Dense(2, name="fc")(body))
    rates = rates_of(model, layer_lr_decay=0.5)
    assert rates == {
        "body/kernel": 0.5, "body/bias": 0.5, "fc/kernel": 1.0, "fc/bias": 1.0
    }  # fmt: skip


def test_the_optimizer_is_built_for_what_is_trained():
    model = network()
    assert set(rates_of(model).values()) == {1.0}
    assert len(rates_of(model)) == len(model.trainable_variables)
    assert {path.split("/")[0] for path in rates_of(model, backbone_lr_scale=0.0)} == {"fc"}


# peers


@pytest.fixture(scope="module")
def comparison():
    import_timm()
    spec = importlib.util.spec_from_file_location("compare_optimizers", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# torch rounds AdamW's factor 1 - r d to float32, which is farther from float64 than ours
@pytest.mark.parametrize(
    ("optimizer", "kind"),
    [  # every rule, and every schedule
        pytest.param(
            *pair, marks=() if pair[0] == "adamw" or pair[1] == "cosine" else pytest.mark.slow
        )
        for pair in itertools.product(RULES, SCHEDULES)
    ],
)
@pytest.mark.ci
def test_fifty_steps_follow_torch_and_timm(comparison, optimizer, kind):
    weights, rates = comparison.differences(optimizer, kind, "float32")
    assert weights <= (3e-5 if optimizer == "adamw" else 1e-5)
    assert rates <= 1e-6


@pytest.mark.ci
@pytest.mark.parametrize("optimizer", RULES)
def test_fifty_steps_follow_float64(comparison, optimizer):
    assert comparison.differences(optimizer, "cosine", "float64")[0] <= 1e-5
