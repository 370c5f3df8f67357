"""int8 that keeps its accuracy: the layers with the largest errors stay in float32.

If int8 loses more than half a point of top-1 (or, without labels, changes more than one
prediction in twenty), the layers are ranked by the error that each one adds. The first 1, 2, 4,
8, … stay in float32 until the accuracy is kept or half of the layers are in float32. The images of
that comparison choose the layers, so the export is judged by others.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rezoo.exporters.bundle import Bundle
from rezoo.exporters.comparing import AGREEMENT, DROP
from rezoo.exporters.passport import Choice, Passport

RULE = (
    "as few of the layers with the largest errors as keep the drop of top-1 within "
    f"{100 * DROP:g} points (without labels: {AGREEMENT:.0%} of the predictions), else those of "
    "the attempt that loses the least"
)
Attempt = Callable[[Bundle, Path], Passport]


def keep_accuracy(bundle: Bundle, folder: Path, attempt: Attempt) -> Passport:
    """Export in int8 with as few layers in float32 as the accuracy needs.

    `attempt` exports a bundle to a new folder and compares it with its source. The files of the
    attempt with the smallest loss are moved to `folder`. Its passport has all attempts in `choice`.
    """
    tried: list[Passport] = []
    for keep in _layers_to_keep(bundle):
        place = folder / f"attempt-{len(tried)}"
        place.mkdir()
        tried.append(attempt(replace(bundle, keep=keep), place))
        if tried[-1].comparison.keeps_accuracy:
            break
    best = min(tried, key=lambda passport: passport.comparison.loss)
    for path in best.folder.iterdir():
        path.rename(folder / path.name)
    for passport in tried:
        shutil.rmtree(passport.folder)
    choice = Choice(
        what=best.comparison.what,
        count=best.comparison.count,
        rule=RULE,
        attempts=tuple(_row(passport) for passport in tried),
    )
    return replace(best, folder=folder, choice=choice)


def _layers_to_keep(bundle: Bundle) -> Iterator[tuple[str, ...]]:
    """Yield none, then the first 1, 2, 4, … of the ranking, up to half of it."""
    yield ()
    ranking = bundle.quantizer.rank() if bundle.quantizer else []
    count = 1
    while count <= len(ranking) // 2:
        yield tuple(ranking[:count])
        count *= 2


def _row(passport: Passport) -> dict[str, Any]:
    found = passport.comparison
    return {
        "kept_in_float32": passport.metadata["kept_in_float32"],
        "top1": found.accuracy.after if found.accuracy else None,
        "drop": found.accuracy.drop if found.accuracy else None,
        "agreement": found.agreement,
        "rms_relative": found.rms_relative,
        "bytes": passport.size,
    }
