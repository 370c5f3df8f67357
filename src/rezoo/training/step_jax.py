"""The training step as JAX functions.

All state goes in and comes out as lists of arrays. What comes out replaces what went in, so its
memory is given away (donated) where nobody else needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras

from rezoo.training.update import Update


class _Step:
    """The functions to be compiled, and the variables that they stand for.

    `trained` are the variables of all groups, one after the other; `still` the trainable ones
    in no group; `others` the rest of the model's; `kept` the update's.
    """

    def __init__(self, model: keras.Model, update: Update, objective: Callable[..., Any]) -> None:
        self.model, self.update, self.objective = model, update, objective
        self.trained = [v for group in update.groups for v in group.variables]
        ours = {id(v) for v in self.trained}
        self.still = [v for v in model.trainable_variables if id(v) not in ours]
        self.others = list(model.non_trainable_variables)
        self.kept = [v for _, v in update.state()]
        places = {id(v): n for n, v in enumerate([*self.trained, *self.still])}
        self.order = [places[id(v)] for v in model.trainable_variables]

    def differentiate(
        self, trained: Any, still: Any, others: Any, factor: Any, part: Any
    ) -> tuple[Any, Any, Any]:
        """Return gradients, the new `others`, and loss and hits as float32 `(2,)`."""

        def loss_of(values: Any) -> Any:
            both = [*values, *still]
            logits, rest = self.model.stateless_call(
                [both[n] for n in self.order], others, part[0], training=True
            )
            loss, hits = self.objective(logits, part[1])
            return loss * factor, (rest, jax.numpy.stack([loss, hits.astype("float32")]))

        gradients, (rest, found) = jax.grad(loss_of, has_aux=True)(trained)
        return gradients, rest, found

    def apply(
        self, trained: Any, others: Any, kept: Any, gradients: Any, still: Any, parts: int
    ) -> tuple[Any, Any, Any]:
        """Return the new `trained`, the new `kept`, and norm and loss scale as float32 `(2,)`."""
        variables = [*self.trained, *self.still, *self.others, *self.kept]
        values = [*trained, *still, *others, *kept]
        left = iter(gradients)
        with keras.StatelessScope(list(zip(variables, values, strict=True))) as scope:
            norms = self.update(
                [[next(left) for _ in g.variables] for g in self.update.groups], parts
            )
        new = [[scope.get_current_value(v) for v in vs] for vs in (self.trained, self.kept)]
        return new[0], new[1], jax.numpy.stack(norms)

    def factor(self, kept: Any) -> Any:
        """Return what the loss is multiplied with, from the values of `kept`."""
        with keras.StatelessScope(list(zip(self.kept, kept, strict=True))):
            return self.update.loss_factor()


def compiled_step(
    model: keras.Model, update: Update, objective: Callable[..., Any], parts: int
) -> Callable[[Sequence[tuple[Any, Any]]], Any]:
    """Return `run(batch)`, which gives the figures of `steps.Figures` as float32 `(4,)`."""
    step = _Step(model, update, objective)
    return _in_one(step) if parts == 1 else _in_parts(step, parts)


def _in_one(step: _Step) -> Callable[[Sequence[tuple[Any, Any]]], Any]:
    def whole(trained: Any, others: Any, kept: Any, still: Any, part: Any) -> Any:
        gradients, others, found = step.differentiate(
            trained, still, others, step.factor(kept), part
        )
        trained, kept, norms = step.apply(trained, others, kept, gradients, still, 1)
        return trained, others, kept, jax.numpy.concatenate([found, norms])

    compiled = jax.jit(whole, donate_argnums=(0, 1, 2))

    def run(batch: Sequence[tuple[Any, Any]]) -> Any:
        *new, figures = compiled(
            *map(_values, (step.trained, step.others, step.kept, step.still)), _arrays(batch[0])
        )
        for variables, values in zip((step.trained, step.others, step.kept), new, strict=True):
            _assign(variables, values)
        return figures

    return run


def _in_parts(step: _Step, parts: int) -> Callable[[Sequence[tuple[Any, Any]]], Any]:
    def add(sums: Any, others: Any, trained: Any, still: Any, kept: Any, part: Any) -> Any:
        more, others, found = step.differentiate(trained, still, others, step.factor(kept), part)
        return [a + b for a, b in zip(sums, more, strict=True)], others, found

    def finish(trained: Any, kept: Any, sums: Any, others: Any, still: Any, found: Any) -> Any:
        trained, kept, norms = step.apply(trained, others, kept, sums, still, parts)
        loss_and_hits = sum(found) / jax.numpy.asarray([parts, 1.0], "float32")
        return trained, kept, jax.numpy.concatenate([loss_and_hits, norms])

    adding = jax.jit(add, donate_argnums=(0, 1))
    finishing = jax.jit(finish, donate_argnums=(0, 1))

    def run(batch: Sequence[tuple[Any, Any]]) -> Any:
        sums = [jax.numpy.zeros_like(v) for v in _values(step.trained)]
        found = []
        for part in batch:
            sums, others, figures = adding(
                sums,
                *map(_values, (step.others, step.trained, step.still, step.kept)),
                _arrays(part),
            )
            _assign(step.others, others)
            found.append(figures)
        trained, kept, figures = finishing(
            *map(_values, (step.trained, step.kept)),
            sums,
            _values(step.others),
            _values(step.still),
            found,
        )
        _assign(step.trained, trained)
        _assign(step.kept, kept)
        return figures

    return run


def _values(variables: Sequence[Any]) -> list[Any]:
    return [v.value for v in variables]


def _arrays(part: tuple[Any, Any]) -> tuple[Any, Any]:
    return jax.numpy.asarray(part[0]), jax.numpy.asarray(part[1])


def _assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
