"""The subjects that a name stands for, and the checks of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rezoo import registry
from rezoo.errors import UnknownNameError
from rezoo.models.settings import require_backend
from rezoo.registry import Entry
from rezoo.testing import dataset_checks, network_checks, network_uses, recipe_checks
from rezoo.testing.built_network import BuiltNetwork
from rezoo.testing.contract import (
    FAILED,
    Check,
    Result,
    Subject,
    import_cost,
    registration,
    run,
)
from rezoo.testing.dataset_checks import OpenedDataset
from rezoo.testing.recipe_checks import ReadCatalogue, ReadRecipe
from rezoo.utils.names import near

KINDS: dict[str, type[Subject]] = {
    kind.kind: kind for kind in (BuiltNetwork, OpenedDataset, ReadRecipe, ReadCatalogue)
}
CHECKS: dict[str, tuple[Check, ...]] = {
    "architecture": (
        registration,
        import_cost,
        network_checks.build,
        network_checks.metadata,
        network_checks.counts,
        network_checks.tensor_names,
        network_checks.shapes,
        network_checks.classes,
        network_uses.determinism,
        network_uses.weights_file,
        network_uses.gradients,
        network_uses.stochastic_depth,
        network_uses.mixed_precision,
        network_uses.other_backend,
        network_uses.export,
    ),
    "dataset": (
        registration,
        import_cost,
        dataset_checks.opening,
        dataset_checks.metadata,
        dataset_checks.licence,
        dataset_checks.splits,
        dataset_checks.class_names,
        dataset_checks.labels,
        dataset_checks.keys,
        dataset_checks.images,
        dataset_checks.same_each_time,
        dataset_checks.stateless_order,
    ),
    "recipe": (
        registration,
        import_cost,
        recipe_checks.values,
        recipe_checks.description,
        recipe_checks.resolution,
        recipe_checks.claim,
    ),
    "catalogue": (
        registration,
        import_cost,
        recipe_checks.entries,
        recipe_checks.networks,
        recipe_checks.licences,
    ),
}
# without these, the others cannot run
GATES = (
    registration,
    network_checks.build,
    dataset_checks.opening,
    dataset_checks.splits,
    recipe_checks.values,
    recipe_checks.entries,
)


def named(name: str) -> list[tuple[str, Entry]]:
    """Return kind and entry of a registered name, `distribution:name` or a whole distribution.

    Raises:
        UnknownNameError: Nothing is registered under it; the hint has similar names.
    """
    distribution, _, bare = name.rpartition(":")
    owner, every = registry.normalize(distribution), registered()
    found = [(k, e) for k, e in every if e.name == bare and owner in ("", e.distribution)]
    found = found or [(k, e) for k, e in every if e.distribution == registry.normalize(name)]
    if not found:
        off = f"{registry.DISABLE_VARIABLE} is set. " if registry.plugins_disabled() else ""
        known = {text for _, e in every for text in (e.name, e.distribution)}
        close = near(name, known)
        hint = f"Did you mean {' or '.join(close)}?" if close else "rezoo plugin list shows all."
        raise UnknownNameError(
            f"no installed package is called {name!r}, and none registers that name",
            hint=off + hint,
        )
    return found


def registered() -> list[tuple[str, Entry]]:
    """Return kind and entry of all that distributions register, without importing it."""
    return [(kind, e) for kind, of in KINDS.items() for e in registry.scan(of.group)]


def subject(kind: str, name: str, scratch: Path) -> Subject:
    """Return what a name of one kind stands for; raises as the registry does."""
    if kind == "recipe" and name.rpartition(":")[2] not in registry.recipes.names():
        from rezoo.recipes import read_recipe

        read_recipe(name)  # raises if there is none
        return ReadRecipe(name, None, scratch)
    find = {
        "architecture": registry.architectures.find,
        "dataset": registry.datasets.find,
        "recipe": registry.recipes.find,
    }[kind]
    return subject_at(kind, find(name), scratch)


def subject_at(kind: str, entry: Entry, scratch: Path) -> Subject:
    """Return what an entry registers, with an empty folder for the files of its checks."""
    return KINDS[kind](entry.name, entry, scratch)


def results(checked: Subject) -> Iterator[Result]:
    """Run the checks of a subject one after the other; a failed gate ends them.

    Raises:
        IncompatibleError: Keras runs on a backend that rezoo does not support.
    """
    require_backend()
    for check in CHECKS[checked.kind]:
        result = run(check, checked)
        yield result
        if result.outcome == FAILED and check in GATES:
            return
