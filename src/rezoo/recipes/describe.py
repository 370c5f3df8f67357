"""A recipe and its claim as text: the keys that differ from the defaults, each with its meaning."""

from __future__ import annotations

import dataclasses
import inspect
import re
from functools import cache
from typing import Any

from rezoo.recipes.claims import Claim
from rezoo.recipes.recipe import Recipe

# Shown also if they are the defaults, except by a probe, which has no steps.
_ALWAYS = ("epochs", "batch_size", "optimizer", "learning_rate")
_ELSEWHERE = ("name", "summary", "source")
_FIELD = re.compile(r"    (?P<key>\w+): [^#]+?  # (?P<meaning>.+)")


@cache
def meanings() -> dict[str, str]:
    """Return the meaning of each recipe key: the comment after its field in `Recipe`."""
    found = map(_FIELD.fullmatch, inspect.getsource(Recipe).splitlines())
    return {field["key"]: field["meaning"] for field in found if field}


def explain(recipe: Recipe) -> list[tuple[str, str]]:
    """Return `(key, value and meaning)` of the keys that differ from the defaults."""
    rows = []
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        shown = (recipe.epochs and field.name in _ALWAYS) or value != field.default
        if shown and field.name not in _ELSEWHERE:
            meaning = meanings().get(field.name, "")
            rows.append((field.name, f"{as_text(value)}: {meaning}" if meaning else as_text(value)))
    if recipe.steps is not None:
        rows = [row for row in rows if row[0] != "epochs"]  # steps replace them
    return rows


def explain_claim(claim: Claim | None, source: str) -> list[tuple[str, str]]:
    """Return `(heading, text)` of what a recipe is expected to reach.

    Args:
        claim: Claim of the recipe, or None if it has none.
        source: Source of the recipe.
    """
    if claim is None:
        return [("expected", "the file makes no claim"), ("source", source)]
    rows = [
        ("expected", expected(claim) or "no published accuracy for an architecture of rezoo"),
        ("cost", claim.cost),
        ("compute", f"{claim.pflop:g} PFLOP" if claim.pflop else ""),
        ("hardware", claim.hardware),
        ("reproduced", claim.reproduced or "not by rezoo yet"),
        ("differences", "\n".join(claim.differs)),
        ("source", source),
    ]
    return [(heading, text) for heading, text in rows if text]


def expected(claim: Claim) -> str:
    """Return the accuracies of a claim in one line, in percent; empty if there are none."""
    if not claim.top1:
        return ""
    figures = ", ".join(f"{name} {100 * top1:.4g} %" for name, top1 in claim.top1.items())
    views = f", with --tta {claim.tta}" if claim.tta else ""
    return f"top-1 of {figures}, ± {100 * claim.tolerance:g}, on {claim.dataset}{views}"


def as_text(value: Any) -> str:
    """Return the value of a key as TOML has it; a float has six digits."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(as_text, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
