"""Write the catalogue of weights from timm's registry: `python examples/catalogue_from_timm.py`.

Every published weight of every architecture that rezoo and timm have gets an entry in
`src/rezoo/sources/weights.toml`: repository, licence and preprocessing from the registry of the
installed timm, multiply-adds counted by rezoo. Pins, defaults and figures of entries that exist
stay. `--results FILE` reads top-1 and top-5 of entries without figures from timm's
`results/results-imagenet.csv`, if size and crop are those of the registry. Needs timm and torch.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import keras

from rezoo import registry
from rezoo.models.factory import create_model
from rezoo.models.profile import profile
from rezoo.specs import IMAGENET_MEAN, IMAGENET_STD

CATALOGUE = Path(__file__).parents[1] / "src" / "rezoo" / "sources" / "weights.toml"
EXTRA_DATA = {  # what tags of timm say
    "in12k": "ImageNet-12k",
    "in21k": "ImageNet-21k",
    "swag": "3.6 billion images of Instagram with hashtags",
    "seer": "a billion images of Instagram without labels",
    "ig1b": "a billion images of Instagram with hashtags",
    "yfcc100m": "YFCC100M without labels",
}
KEPT = ("default", "commit", "sha256", "bytes", "macs", "note")
LAST = ("extra_data", "note")
FIGURES = ("top1_train_size", "top5_train_size", "top1_test_size", "top5_test_size")


def published() -> Iterator[tuple[str, str, Any]]:
    """Yield architecture, tag and configuration of each published classifier, in timm's order."""
    from timm.models import _registry

    for _, spec in registry.architectures.describe():
        if spec is None or not spec.in_timm:
            continue
        for tag, config in _registry._model_default_cfgs[spec.name].cfgs.items():
            if config.hf_hub_id and config.num_classes:
                yield spec.name, tag, config


def facts(architecture: str, tag: str, config: Any) -> dict[str, Any]:
    """Return what timm's registry says of weights, as an entry; defaults are left out."""
    found = {
        "arch": architecture,
        "tag": tag,
        "repo": f"{config.hf_hub_id}{architecture}.{tag}",
        "licence": config.license,
        "num_classes": config.num_classes,
        "train_size": config.input_size[1],
        "crop_pct": config.crop_pct,
        "test_size": config.test_input_size[1] if config.test_input_size else None,
        "test_crop_pct": config.test_crop_pct,
        "interpolation": config.interpolation,
        "mean": list(config.mean),
        "std": list(config.std),
        "extra_data": extra_data(tag),
    }
    usual = {
        "extra_data": "",
        "num_classes": 1000,
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
    }
    return {k: v for k, v in found.items() if v is not None and v != usual.get(k)}


def extra_data(tag: str) -> str:
    """Return the training data other than ImageNet-1k that a tag names."""
    return " and ".join(words for key, words in EXTRA_DATA.items() if key in tag.split("_"))


@cache
def macs(architecture: str, size: int, num_classes: int) -> int:
    """Return the multiply-adds for one image; weights get no values, which would take memory."""
    shape = (size, size, 3)
    with keras.StatelessScope(initialize_variables=False):
        model = create_model(architecture, num_classes=num_classes, input_shape=shape)
    counted = profile(model, input_shape=shape).macs
    keras.utils.clear_session(free_memory=False)
    return counted


def figures(entry: Mapping[str, Any], results: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return the accuracies of an entry in timm's table, if it was measured as the entry says."""
    row = results.get(f"{entry['arch']}.{entry['tag']}")
    if row is None:
        return {}
    measured = int(row["img_size"]), float(row["crop_pct"])
    test = entry.get("test_size", entry["train_size"]), entry.get("test_crop_pct")
    if measured == (test[0], round(test[1] or entry["crop_pct"], 3)):
        size = "test" if "test_size" in entry or test[1] else "train"
    elif measured == (entry["train_size"], round(entry["crop_pct"], 3)):
        size = "train"
    else:
        return {}
    return {f"top{k}_{size}_size": float(row[f"top{k}"]) for k in (1, 5)}


def written(entry: Mapping[str, Any]) -> str:
    """Return an entry as TOML."""
    order = ("arch", "tag", "repo", "default", "commit", "sha256", "bytes", "licence")
    keys = [*order, *(k for k in entry if k not in (*order, "macs", *FIGURES, *LAST))]
    lines = ["[[weights]]"]
    for key in (*keys, "macs", *FIGURES, *LAST):
        if key in entry:
            lines.append(f"{key} = {literal(entry[key])}")
    return "\n".join(lines)


def literal(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}" if value >= 100_000 else str(value)
    return f'"{value}"' if isinstance(value, str) else str(value)


def main() -> None:
    """Rewrite the catalogue."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, help="timm's results-imagenet.csv")
    path = parser.parse_args().results
    results = {}
    if path:
        with path.open(encoding="utf-8", newline="") as file:
            results = {row["model"]: row for row in csv.DictReader(file)}
    text = CATALOGUE.read_text("utf-8")
    old = {entry["repo"]: entry for entry in tomllib.loads(text)["weights"]}
    entries = []
    for architecture, tag, config in published():
        entry = facts(architecture, tag, config)
        before = old.pop(entry["repo"], {})
        known = {k: before[k] for k in (*KEPT, *FIGURES) if k in before}
        entry = {**entry, **(known if before else figures(entry, results))}
        if "macs" not in entry:
            size = entry.get("test_size", entry["train_size"])
            entry["macs"] = macs(architecture, size, config.num_classes)
        entries.append(entry)
    head = text[: text.index("[[weights]]")]
    entries += old.values()  # of repositories that timm does not list
    CATALOGUE.write_text(head + "\n\n".join(map(written, entries)) + "\n", "utf-8")
    print(f"{len(entries)} entries; {len(old)} of them are not in timm's registry")


if __name__ == "__main__":
    sys.exit(main())
