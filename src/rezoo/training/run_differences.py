"""How a run that is resumed differs from its start: each kind of difference, by name.

A run goes on to the same bits if nothing differs. More epochs are no difference if it is certain
how the learning rate goes on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rezoo.data.differences import differences
from rezoo.recipes.recipe import Recipe

if TYPE_CHECKING:
    from rezoo.data.identity import Identity
    from rezoo.training.recorded import Recorded

# Keys that may change with more epochs: they set the learning rate, and no state depends on them.
_OF_THE_RATE = ("schedule", "learning_rate", "min_learning_rate", "poly_power", "step_at")
# Packages that compute the weights: their versions decide about the last bits.
COMPUTING = ("rezoo", "keras", "tensorflow", "jax")
RECIPE, DATA = "another recipe", "other data"
NETWORK, VERSIONS, KERNELS = "another network", "other versions", "other kernels"


@dataclass(frozen=True)
class Difference:
    """What a run would go on with, in place of what it was started with.

    Attributes:
        what: `RECIPE`, `DATA`, `NETWORK`, `VERSIONS` or `KERNELS`.
        text: For the user: names and values.
        record: The same without names of images and paths, for `environment.json`.
        remedy: How to go on without the difference.
    """

    what: str
    text: str
    record: str
    remedy: str


def of_data(before: Identity | None, now: Identity) -> Iterator[Difference]:
    """Yield how data differ from those of the run; nothing if those are not recorded."""
    if before is None or before.sha256 == now.sha256:
        return
    nameless = {s: dataclasses.replace(part, examples=None) for s, part in now.splits.items()}
    text, without_names = (
        "; ".join(differences(before, data) or ["the images are in another order"])
        for data in (now, dataclasses.replace(now, splits=nameless))
    )
    remedy = f"resume it with its own data, {before.reference}"
    yield Difference(DATA, text, without_names, remedy)


def describe_data(before: Identity | None, now: Identity) -> str:
    """Return a note for the user on the data, or empty text."""
    if before is None:
        return "the run does not record which data it has: they are not compared"
    if before.reference == now.reference or before.sha256 != now.sha256:
        return ""
    return f"the run was started with the same images in {before.reference}"


def of_recipe(before: Recipe, now: Recipe, chosen: Collection[str]) -> Iterator[Difference]:
    """Yield how a recipe differs from that of the run, unless it only has more epochs.

    More epochs are allowed if the learning rate is constant, or if the user sets the schedule.

    Args:
        before: The recipe of the run.
        now: The recipe to go on with.
        chosen: Keys that the user set.
    """
    keys = [field.name for field in dataclasses.fields(Recipe)]
    changed = [key for key in keys if getattr(before, key) != getattr(now, key)]
    more = now.epochs > before.epochs and {*changed} <= {"epochs", *_OF_THE_RATE}
    constant = before.schedule == now.schedule == "constant"
    if not changed or (more and (constant or "schedule" in chosen)):
        return
    listed = ", ".join(
        f"{key} = {getattr(now, key)!r} in place of {getattr(before, key)!r}" for key in changed
    )
    text, remedy = listed, "resume with the options it was started with (see its recipe.toml)"
    if more:
        text += f": its learning rate, schedule {before.schedule}, has its last value there"
        remedy = (
            "add --set schedule=constant and --lr for a rate that stays, or "
            f"--set schedule={now.schedule} for the rate that a run of {now.epochs} epochs has "
            "from there on"
        )
    yield Difference(RECIPE, text, listed, remedy)


def of_network(before: Recorded, now: Recorded) -> Iterator[Difference]:
    """Yield how the network differs from that of the run, as far as it is recorded."""
    texts, records = [], []
    remedy = f"resume it with its own model, {before.model}"
    for key in ("architecture", "fingerprint"):
        was, found = getattr(before, key), getattr(now, key)
        if was and was != found:
            texts.append(f"{key} {found} in place of {was}")
            records.append(texts[-1])
    if before.source and before.source != now.source and not texts:
        texts.append(f"model {now.model} in place of {before.model}")
        records.append("other start weights")
    elif before.source == now.source and texts:
        remedy = "resume it with the plugin or the rezoo of its start"
    if texts:
        yield Difference(NETWORK, ", ".join(texts), ", ".join(records), remedy)


def of_versions(before: dict[str, Any], now: dict[str, Any]) -> Iterator[Difference]:
    """Yield which versions that compute the weights differ from those in `environment.json`."""
    changed = _changed_packages(before, now)
    listed = [text for name, text in changed.items() if name in COMPUTING]
    backend = before.get("backend", now["backend"])
    packages = [f"{name}=={before['packages'][name]}" for name in COMPUTING if name in changed]
    remedies = [f"pip install {' '.join(packages)}"] if packages else []
    pipeline = before.get("input_pipeline", 1) if before else now["input_pipeline"]
    if pipeline != now["input_pipeline"]:
        listed.append(f"input pipeline {now['input_pipeline']} in place of {pipeline}")
        remedies.append("use the rezoo of its start")
    if backend != now["backend"]:
        listed.append(f"Keras's backend {now['backend']} in place of {backend}")
        remedies.append(f"set KERAS_BACKEND={backend}")
    if listed:
        text = ", ".join(listed)
        yield Difference(VERSIONS, text, text, " and ".join(remedies))


def of_kernels(before: Recorded, now: Recorded) -> Iterator[Difference]:
    """Yield whether a run would get deterministic kernels, or lose them, if that is recorded."""
    was, wish = before.deterministic, now.deterministic
    if was is not None and was != wish:
        text = f"deterministic = {wish} in place of {was}"
        yield Difference(KERNELS, text, text, f"{'add' if was else 'omit'} --deterministic")


def describe_versions(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return a note for the user on what else may change the last bits, or empty text."""
    changed = _changed_packages(before, now)
    listed = [text for name, text in changed.items() if name not in COMPUTING]
    for key in ("python", "processor", "devices"):
        was, found = before.get(key), now[key]
        if was and was != found:
            shown = [", ".join(x) if isinstance(x, list) else x for x in (found, was)]
            listed.append(f"{key} {shown[0]} in place of {shown[1]}")
    return f"the last bits may differ: {'; '.join(listed)}" if listed else ""


def _changed_packages(before: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    """Return package → its versions in words, of those whose version differs."""
    old, new = before.get("packages", {}), now["packages"]
    return {n: f"{n} {new[n]} in place of {old[n]}" for n in new if old.get(n, new[n]) != new[n]}
