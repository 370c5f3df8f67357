"""The training step as JAX functions.

All state is passed and returned as lists of arrays. The returned arrays replace the arguments,
whose memory is donated if nothing else needs it. On several devices each array of a batch is
divided between them, and all other arrays are the same on each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras
import numpy as np

from rezoo.models.devices import Devices
from rezoo.models.normalization import network_input
from rezoo.specs import Preprocessing
from rezoo.training.losses import Objective
from rezoo.training.update import Update


class _Step:
    """The functions to be compiled, and the variables that their arguments replace.

    `trained` are the optimizer's variables; `frozen` are the model's other trainable ones;
    `others` are the rest of the model's; `kept` are the update's.
    """

    def __init__(
        self,
        model: keras.Model,
        update: Update,
        objective: Objective,
        preprocessing: Preprocessing | None,
        devices: Devices,
    ) -> None:
        self.model, self.update, self.objective = model, update, objective
        self.preprocessing, self.devices = preprocessing, devices
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
        images = network_input(micro_batch[0], self.preprocessing)

        def loss_of(values: Any) -> Any:
            both = [*values, *frozen]
            logits, rest = self.model.stateless_call(
                [both[n] for n in self.order], others, images, training=True
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

    def compile(self, function: Callable[..., Any], *, donated: tuple[int, ...]) -> Any:
        """Compile a function whose results are the same on all devices."""
        if self.devices.mesh is None:
            return jax.jit(function, donate_argnums=donated)
        same = self.devices.sharding(divided=False)
        return jax.jit(function, donate_argnums=donated, out_shardings=same)

    def arrays(self, micro_batch: tuple[Any, Any]) -> tuple[Any, Any]:
        """Return the images and labels of all hosts, of which these are this one's."""
        images, labels = map(self.devices.whole, micro_batch)
        return jax.numpy.asarray(images), jax.numpy.asarray(labels)

    def of_all(self, wishes: Sequence[float]) -> Any:
        """Return the wishes of all hosts, float32 `(devices, W)`."""
        here = self.devices.count // self.devices.hosts
        return self.devices.whole(np.tile(np.asarray(wishes, np.float32), (here, 1)))


def compiled_step(
    model: keras.Model,
    update: Update,
    objective: Objective,
    preprocessing: Preprocessing | None,
    micro_batches: int,
    devices: Devices,
) -> Callable[[Sequence[tuple[Any, Any]], Sequence[float]], Any]:
    """Return `run(batch, wishes)`.

    It returns the figures of `step.Figures`, and then the largest of each wish of all hosts,
    float32 `(4 + W,)`.
    """
    step = _Step(model, update, objective, preprocessing, devices)
    return _whole(step) if micro_batches == 1 else _in_micro_batches(step, micro_batches)


def _whole(step: _Step) -> Callable[[Sequence[tuple[Any, Any]], Sequence[float]], Any]:
    def whole(
        trained: Any, others: Any, kept: Any, frozen: Any, micro_batch: Any, wishes: Any
    ) -> Any:
        gradients, others, found = step.differentiate(
            trained, frozen, others, step.factor(kept), micro_batch
        )
        trained, kept, norms = step.apply(trained, others, kept, gradients, frozen, 1)
        figures = jax.numpy.concatenate([found, norms, wishes.max(axis=0)])
        return trained, others, kept, figures

    compiled = step.compile(whole, donated=(0, 1, 2))

    def run(batch: Sequence[tuple[Any, Any]], wishes: Sequence[float]) -> Any:
        *new, figures = compiled(
            *map(_values, (step.trained, step.others, step.kept, step.frozen)),
            step.arrays(batch[0]),
            step.of_all(wishes),
        )
        for variables, values in zip((step.trained, step.others, step.kept), new, strict=True):
            _assign(variables, values)
        return figures

    return run


def _in_micro_batches(
    step: _Step, count: int
) -> Callable[[Sequence[tuple[Any, Any]], Sequence[float]], Any]:
    def zeros(trained: Any) -> Any:
        return [jax.numpy.zeros_like(v) for v in trained]

    def add(sums: Any, others: Any, trained: Any, frozen: Any, kept: Any, micro_batch: Any) -> Any:
        more, others, found = step.differentiate(
            trained, frozen, others, step.factor(kept), micro_batch
        )
        return [a + b for a, b in zip(sums, more, strict=True)], others, found

    def finish(
        trained: Any, kept: Any, sums: Any, others: Any, frozen: Any, found: Any, wishes: Any
    ) -> Any:
        trained, kept, norms = step.apply(trained, others, kept, sums, frozen, count)
        loss_and_hits = sum(found) / jax.numpy.asarray([count, 1.0], "float32")
        figures = jax.numpy.concatenate([loss_and_hits, norms, wishes.max(axis=0)])
        return trained, kept, figures

    starting = step.compile(zeros, donated=())  # one by one takes as long as a short step
    adding = step.compile(add, donated=(0, 1))
    finishing = step.compile(finish, donated=(0, 1))

    def run(batch: Sequence[tuple[Any, Any]], wishes: Sequence[float]) -> Any:
        sums = starting(_values(step.trained))
        found = []
        for micro_batch in batch:
            sums, others, figures = adding(
                sums,
                *map(_values, (step.others, step.trained, step.frozen, step.kept)),
                step.arrays(micro_batch),
            )
            _assign(step.others, others)
            found.append(figures)
        trained, kept, figures = finishing(
            *map(_values, (step.trained, step.kept)),
            sums,
            _values(step.others),
            _values(step.frozen),
            found,
            step.of_all(wishes),
        )
        _assign(step.trained, trained)
        _assign(step.kept, kept)
        return figures

    return run


def _values(variables: Sequence[Any]) -> list[Any]:
    return [v.value for v in variables]


def _assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
