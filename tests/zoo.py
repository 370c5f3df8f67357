"""Which networks the tests of all networks take, and their graphs without weights.

A new architecture is tested on request (`pytest -m slow`), unless it is named here: one network of
each block, stem, shortcut and family among the fast tests, some more in CI.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import keras
import pytest

from rezoo import registry
from rezoo.models.factory import deep_graphs
from rezoo.models.profile import profile

FAST = (
    *("resnet18", "resnet50_v1", "resnet10t", "resnet50s", "test_resnet"),
    *("resnet20", "plain20", "vgg16_bn"),
)
CI = (
    *("resnet34", "resnet50", "resnet26d", "resnet26t", "resnet50c"),
    *("resnet32", "resnet56", "plain18", "plain56", "vgg16"),
    *("seresnext26d_32x4d", "ecaresnet26t", "resnetblur18"),
)
FEW = ("resnet10t", "resnet20", "plain20", "test_resnet")  # in CI, where each takes seconds


def marks_of(name: str, fast: Iterable[str] = FAST, ci: Iterable[str] = CI) -> Any:
    """Return the mark of a test that builds a network; none for a fast test."""
    if name in fast:
        return ()
    return pytest.mark.ci if name in ci else pytest.mark.slow


def networks(
    names: Iterable[str], *, fast: Iterable[str] = FAST, ci: Iterable[str] = CI
) -> list[Any]:
    """Return networks as the parameters of a test."""
    return [pytest.param(name, marks=marks_of(name, fast, ci), id=name) for name in names]


def rows(table: Iterable[tuple[Any, ...]], *, ci: Iterable[str] = CI) -> list[Any]:
    """Return the rows of a table, each of which begins with a network, as parameters of a test."""
    return [
        pytest.param(*row, marks=marks_of(row[0], ci=ci), id=f"{row[0]}-{n}")
        for n, row in enumerate(table)
    ]


def ours() -> list[str]:
    """Return the names of the networks that rezoo itself registers."""
    entries = registry.architectures.entries()
    return [name for name, claims in entries.items() if any(e.builtin for e in claims)]


@cache
def _network(name: str, size: int, classes: int, changes: tuple[Any, ...]) -> keras.Model:
    spec = registry.architectures.get(name)
    try:
        with keras.StatelessScope(initialize_variables=False), deep_graphs():
            return spec.build(
                name=name,
                input_shape=(size, size, 3),
                num_classes=classes,
                classifier_activation=None,
                **{**spec.config, **dict(changes)},
            )
    finally:
        keras.utils.clear_session(free_memory=False)  # nothing initializes the variables later


def graph(
    name: str,
    *,
    size: int | None = None,
    classes: int | None = None,
    changes: Mapping[str, Any] | None = None,
) -> keras.Model:
    """Return a network without values of its weights, by default as its spec states it."""
    spec = registry.architectures.get(name)
    size = spec.image_size if size is None else size
    classes = spec.num_classes if classes is None else classes
    return _network(name, size, classes, tuple((changes or {}).items()))


def cost(name: str, **options: Any) -> Any:
    """Return the profile of a graph; for the options see `graph`."""
    model = graph(name, **options)
    return profile(model, input_shape=model.input_shape[1:])
