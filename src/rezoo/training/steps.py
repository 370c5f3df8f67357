"""One compiled training step on each backend: images and labels in, loss and hits out.

A step changes the model's and the optimizers' variables in place and nothing else, so
these variables and the position in the data are the whole state of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras

from rezoo.errors import IncompatibleError
from rezoo.recipes.recipe import Recipe
from rezoo.tasks import SINGLE_LABEL, Task
from rezoo.training.losses import LOSSES
from rezoo.training.optimizers import Group

Objective = Callable[[Any, Any], tuple[Any, Any]]
Step = Callable[[Any, Any], tuple[Any, Any]]


def training_step(
    model: keras.Model, groups: Sequence[Group], recipe: Recipe, task: Task = SINGLE_LABEL
) -> Step:
    """Return `step(images, labels) -> (loss, hits)`, compiled for the current backend.

    `images` is float32 `(B, H, W, C)`, `labels` int32 `(B,)`, or float32 `(B, K)`: shares of
    the classes, or several labels; `loss` and `hits` are scalars on the device, and what
    `rezoo.training.losses` has for the task.

    Raises:
        IncompatibleError: Keras runs on a backend that has no step here.
    """
    backend = keras.config.backend()
    builders = {"tensorflow": _tensorflow_step, "jax": _jax_step}
    if backend not in builders:
        raise IncompatibleError(
            f"training on the Keras backend {backend!r} is not supported",
            hint="set KERAS_BACKEND to tensorflow or jax.",
        )
    objective = partial(LOSSES[task.name], smoothing=recipe.label_smoothing)
    return builders[backend](model, groups, objective)


def _with_decay(group: Group, gradients: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    return [
        gradient + decay * value if decay else gradient
        for gradient, value, decay in zip(gradients, values, group.coupled_decay, strict=True)
    ]


def _tensorflow_step(model: keras.Model, groups: Sequence[Group], objective: Objective) -> Step:
    import tensorflow as tf

    @tf.function(reduce_retracing=True, jit_compile=False)  # XLA is slower here on a CPU
    def step(images: Any, labels: Any) -> tuple[Any, Any]:
        trained = [[v.value for v in group.variables] for group in groups]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            loss, hits = objective(model(images, training=True), labels)
        for group, gradients in zip(groups, tape.gradient(loss, trained), strict=True):
            group.optimizer.apply(
                _with_decay(group, gradients, [v.value for v in group.variables]), group.variables
            )
        return loss, hits

    return step


def _jax_step(model: keras.Model, groups: Sequence[Group], objective: Objective) -> Step:
    import jax

    trained = [list(group.variables) for group in groups]
    slots = [list(group.optimizer.variables) for group in groups]
    ours = {id(v) for variables in trained for v in variables}
    order = [id(v) for v in model.trainable_variables]
    frozen = [v for v in model.trainable_variables if id(v) not in ours]
    others = list(model.non_trainable_variables)

    def loss_of(parts: Any, still: Any, rest: Any, images: Any, labels: Any) -> Any:
        by_id = {
            id(v): x
            for vs, xs in zip(trained, parts, strict=True)
            for v, x in zip(vs, xs, strict=True)
        }
        by_id.update({id(v): x for v, x in zip(frozen, still, strict=True)})
        logits, rest = model.stateless_call([by_id[i] for i in order], rest, images, training=True)
        loss, hits = objective(logits, labels)
        return loss, (hits, rest)

    @jax.jit
    def update(parts: Any, still: Any, rest: Any, states: Any, images: Any, labels: Any) -> Any:
        (loss, (hits, rest)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            parts, still, rest, images, labels
        )
        applied = [
            group.optimizer.stateless_apply(state, _with_decay(group, grads, values), values)
            for group, state, grads, values in zip(groups, states, gradients, parts, strict=True)
        ]
        return [new for new, _ in applied], rest, [state for _, state in applied], loss, hits

    def step(images: Any, labels: Any) -> tuple[Any, Any]:
        parts, rest, states, loss, hits = update(
            [[v.value for v in vs] for vs in trained],
            [v.value for v in frozen],
            [v.value for v in others],
            [[v.value for v in vs] for vs in slots],
            jax.numpy.asarray(images),
            jax.numpy.asarray(labels),
        )
        for variables, values in zip(
            [*trained, others, *slots], [*parts, rest, *states], strict=True
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        return loss, hits

    return step
