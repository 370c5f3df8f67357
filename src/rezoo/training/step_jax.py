"""The training step as JAX functions.

All state is passed and returned as lists of arrays. The returned arrays replace the arguments,
whose memory is donated if nothing else needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras

from rezoo.training.losses import Objective
from rezoo.training.update import Update


class _Step:
    """The functions to be compiled, and the variables that their arguments replace.

    `trained` are the optimizer's variables; `frozen` are the model's other trainable ones;
    `others` are the rest of the model's; `kept` are the update's.
    """

    def __init__(self, model: keras.Model, update: Update, objective: Objective) -> None:
        self.model, self.update, self.objective = model, update, objective
        self.trained = list(update.optimizer.trained)
        ours = {id(v) for v in self.trained}
        self.frozen = [v for v in model.trainable_variables if id(v) not in ours]
        self.others = list(model.non_trainable_variables)
        self.kept = [v for _, v in update.state()]
        places = {id(v): n for n, v in enumerate([*self.trained, *self.frozen])}
        self.order = [places[id(v)] for v in model.trainable_variables]

    def differentiate(
        self, trained: Any, frozen: Any, others: Any, factor: Any, micro_batch: Any
    ) -> tuple[Any, Any, Any]:
        """Return gradients, the new `others`, and loss and hits as float32 `(2,)`."""

        def loss_of(values: Any) -> Any:
            both = [*values, *frozen]
            logits, rest = self.model.stateless_call(
                [both[n] for n in self.order], others, micro_batch[0], training=True
            )
            loss, hits = self.objective(logits, micro_batch[1])
            return loss * factor, (rest, jax.numpy.stack([loss, hits.astype("float32")]))

        gradients, (rest, found) = jax.grad(loss_of, has_aux=True)(trained)
        return gradients, rest, found

    def apply(
        self, trained: Any, others: Any, kept: Any, gradients: Any, frozen: Any, micro_batches: int
    ) -> tuple[Any, Any, Any]:
        """Return the new `trained`, the new `kept`, and norm and loss scale as float32 `(2,)`."""
        variables = [*self.trained, *self.frozen, *self.others, *self.kept]
        values = [*trained, *frozen, *others, *kept]
        with keras.StatelessScope(list(zip(variables, values, strict=True))) as scope:
            norms = self.update(gradients, micro_batches)
        new = [[scope.get_current_value(v) for v in vs] for vs in (self.trained, self.kept)]
        return new[0], new[1], jax.numpy.stack(norms)

    def factor(self, kept: Any) -> Any:
        """Return the factor of the loss, from the values of `kept`."""
        with keras.StatelessScope(list(zip(self.kept, kept, strict=True))):
            return self.update.loss_factor()


def compiled_step(
    model: keras.Model, update: Update, objective: Objective, micro_batches: int
) -> Callable[[Sequence[tuple[Any, Any]]], Any]:
    """Return `run(batch)`, which returns the figures of `step.Figures` as float32 `(4,)`."""
    step = _Step(model, update, objective)
    return _whole(step) if micro_batches == 1 else _in_micro_batches(step, micro_batches)


def _whole(step: _Step) -> Callable[[Sequence[tuple[Any, Any]]], Any]:
    def whole(trained: Any, others: Any, kept: Any, frozen: Any, micro_batch: Any) -> Any:
        gradients, others, found = step.differentiate(
            trained, frozen, others, step.factor(kept), micro_batch
        )
        trained, kept, norms = step.apply(trained, others, kept, gradients, frozen, 1)
        return trained, others, kept, jax.numpy.concatenate([found, norms])

    compiled = jax.jit(whole, donate_argnums=(0, 1, 2))

    def run(batch: Sequence[tuple[Any, Any]]) -> Any:
        *new, figures = compiled(
            *map(_values, (step.trained, step.others, step.kept, step.frozen)), _arrays(batch[0])
        )
        for variables, values in zip((step.trained, step.others, step.kept), new, strict=True):
            _assign(variables, values)
        return figures

    return run


def _in_micro_batches(step: _Step, count: int) -> Callable[[Sequence[tuple[Any, Any]]], Any]:
    def zeros(trained: Any) -> Any:
        return [jax.numpy.zeros_like(v) for v in trained]

    def add(sums: Any, others: Any, trained: Any, frozen: Any, kept: Any, micro_batch: Any) -> Any:
        more, others, found = step.differentiate(
            trained, frozen, others, step.factor(kept), micro_batch
        )
        return [a + b for a, b in zip(sums, more, strict=True)], others, found

    def finish(trained: Any, kept: Any, sums: Any, others: Any, frozen: Any, found: Any) -> Any:
        trained, kept, norms = step.apply(trained, others, kept, sums, frozen, count)
        loss_and_hits = sum(found) / jax.numpy.asarray([count, 1.0], "float32")
        return trained, kept, jax.numpy.concatenate([loss_and_hits, norms])

    starting = jax.jit(zeros)  # one by one, they would take as long as a short step
    adding = jax.jit(add, donate_argnums=(0, 1))
    finishing = jax.jit(finish, donate_argnums=(0, 1))

    def run(batch: Sequence[tuple[Any, Any]]) -> Any:
        sums = starting(_values(step.trained))
        found = []
        for micro_batch in batch:
            sums, others, figures = adding(
                sums,
                *map(_values, (step.others, step.trained, step.frozen, step.kept)),
                _arrays(micro_batch),
            )
            _assign(step.others, others)
            found.append(figures)
        trained, kept, figures = finishing(
            *map(_values, (step.trained, step.kept)),
            sums,
            _values(step.others),
            _values(step.frozen),
            found,
        )
        _assign(step.trained, trained)
        _assign(step.kept, kept)
        return figures

    return run


def _values(variables: Sequence[Any]) -> list[Any]:
    return [v.value for v in variables]


def _arrays(micro_batch: tuple[Any, Any]) -> tuple[Any, Any]:
    return jax.numpy.asarray(micro_batch[0]), jax.numpy.asarray(micro_batch[1])


def _assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
