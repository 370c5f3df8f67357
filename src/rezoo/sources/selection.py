"""Architectures and published weights, chosen and sorted as `rezoo list` shows them.

Loads without Keras and NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from rezoo.errors import SpecError
from rezoo.registry import architectures
from rezoo.sources import catalogue
from rezoo.specs import ModelSpec, WeightsSpec
from rezoo.utils.licences import PERMISSIVE
from rezoo.utils.names import natural_key

Sort = Literal["name", "params", "macs", "top1"]
Records = list[dict[str, Any]]


def list_models(
    pattern: str = "*",
    *,
    pretrained: bool = False,
    max_params: float | None = None,
    max_macs: float | None = None,
    licence: str | None = None,
    sort: Sort = "name",
) -> list[str]:
    """Return the names of registered architectures, or of published weights.

    Nothing is built and Keras is not imported.

    Args:
        pattern: Pattern of names with `*`, `?` and `[…]`, such as `"resnet*d"`. That of weights
            matches the architecture or the whole name: `"resnet50"`, `"*.a1_in1k"`.
        pretrained: Whether to return weights, `arch.tag`, in place of architectures.
        max_params: Largest number of parameters, such as `30e6`.
        max_macs: Largest number of multiply-adds for one image.
        licence: Licence of the weights, such as `"apache-2.0"`, or `"permissive"`: one of
            `rezoo.utils.licences.PERMISSIVE`. Only with `pretrained=True`.
        sort: `"name"`, `"params"` or `"macs"` in ascending order; with `pretrained=True` also
            `"top1"`, the best first.

    Returns:
        Names in that order; empty if nothing matches.

    Raises:
        SpecError: `licence` or `sort` is not one of those, or needs `pretrained=True`.
    """
    if not pretrained and (licence is not None or sort == "top1"):
        what = f"licence={licence!r}" if licence is not None else "sort='top1'"
        raise SpecError(f"{what} is for weights", hint="add pretrained=True.")
    records = weights_records() if pretrained else model_records()
    records = matching(records, pattern)
    records = within(records, max_params=max_params, max_macs=max_macs, licence=licence)
    return list(dict.fromkeys(record["name"] for record in in_order(records, sort)))


def model_records() -> Records:
    """Return what is known of each registered architecture, as JSON values in natural order."""
    return [
        {
            "name": entry.name,
            "family": spec.family if spec else "",
            "params": spec.params if spec else None,
            "macs": spec.macs if spec else None,
            "image_size": spec.image_size if spec else None,
            "num_classes": spec.num_classes if spec else None,
            "summary": spec.summary if spec else "does not load",
            "from": f"{entry.distribution} {entry.version}",
        }
        for entry, spec in architectures.describe()
    ]


def weights_records() -> Records:
    """Return the entries of all catalogues as JSON values, defaults of an architecture first."""
    networks: dict[str, ModelSpec] = {}
    for entry, network in architectures.describe():
        if network and (entry.builtin or entry.name not in networks):
            networks[entry.name] = network
    return [weights_record(spec, networks.get(spec.architecture)) for spec in catalogue.describe()]


def weights_record(spec: WeightsSpec, network: ModelSpec | None) -> dict[str, Any]:
    """Return an entry of a catalogue as JSON values.

    Args:
        spec: The entry.
        network: Its architecture; None if it is not registered.
    """
    pre = spec.preprocessing
    return {
        "name": spec.name,
        "architecture": spec.architecture,
        "default": spec.default,
        "repo": spec.repo,
        "commit": spec.commit or None,
        "sha256": spec.sha256 or None,
        "bytes": spec.size,
        "params": network.params if network else None,
        "macs": _macs(spec, network),
        "licence": spec.licence,
        "non_commercial": spec.non_commercial,
        "extra_data": spec.extra_data,
        "num_classes": spec.num_classes,
        "image_size": pre.for_test().size[0],
        "top1": spec.top1,
        "top5": spec.top5,
        "train_image_size": pre.size[0],
        "top1_train_size": spec.top1_train_size,
        "top5_train_size": spec.top5_train_size,
        "crop_pct": pre.for_test().crop_pct,
        "crop_mode": pre.crop_mode,
        "interpolation": pre.interpolation,
        "mean": list(pre.mean),
        "std": list(pre.std),
        "note": spec.note,
        "catalogue": spec.catalogue,
    }


def matching(records: Records, pattern: str) -> Records:
    """Return the records whose name or architecture matches a pattern."""
    return [
        record
        for record in records
        if fnmatchcase(record["name"], pattern)
        or fnmatchcase(record.get("architecture", ""), pattern)
    ]


def within(
    records: Records,
    *,
    max_params: float | None = None,
    max_macs: float | None = None,
    licence: str | None = None,
) -> Records:
    """Return the records within limits; one that does not state a figure is not within its limit.

    Raises:
        SpecError: No entry of a catalogue has the licence.
    """
    for key, most in (("params", max_params), ("macs", max_macs)):
        if most is not None:
            records = [r for r in records if r[key] is not None and r[key] <= most]
    if licence is not None:
        allowed = _licences(licence)
        records = [r for r in records if r["licence"] in allowed]
    return records


def in_order(records: Records, sort: str) -> Records:
    """Return records in ascending order, descending for top1; those without the value come last.

    Raises:
        SpecError: There is no such order.
    """
    if sort not in (known := get_args(Sort)):
        raise SpecError(f"sort: {sort!r}; allowed are {', '.join(known)}")
    if sort == "name":
        return sorted(records, key=lambda record: natural_key(record["name"]))
    sign = -1 if sort == "top1" else 1
    return sorted(records, key=lambda record: (record[sort] is None, sign * (record[sort] or 0)))


def _licences(named: str) -> Sequence[str]:
    if named == "permissive":
        return PERMISSIVE
    known = sorted({spec.licence for spec in catalogue.describe()})
    if named not in known:
        raise SpecError(
            f"licence: {named!r}; those of the weights are {', '.join(known)}",
            hint=f"'permissive' stands for {', '.join(PERMISSIVE)}.",
        )
    return (named,)


def _macs(spec: WeightsSpec, network: ModelSpec | None) -> int | None:
    """Return the MACs that the entry states, or those of its architecture at the same size."""
    if spec.macs is not None or network is None:
        return spec.macs
    size = (network.image_size, network.image_size)
    same = spec.preprocessing.for_test().size == size and spec.num_classes == network.num_classes
    return network.macs if same else None
