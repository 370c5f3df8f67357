"""`rezoo compare`: whether one network is better than another, beyond chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rezoo.cli.console import counter, lines, starting, table
from rezoo.cli.options import (
    SPLITS,
    batch_size_option,
    columns_option,
    data_options,
    device_option,
    examples,
    json_option,
    models_argument,
    pretrained_option,
    print_json,
    require_pinned_option,
)
from rezoo.cli.values import DatasetReference
from rezoo.data.dataset_references import dataset_spec
from rezoo.data.datasets import DataOptions
from rezoo.utils.names import count_of

if TYPE_CHECKING:
    from rezoo.evaluation.pairing.comparison import NetworkComparison
    from rezoo.evaluation.pairing.pairs import PairedDifference

_TEXTS = ("network", "class", "verdict", "input")  # columns; the others are numbers


@click.command(
    epilog=examples(
        "rezoo compare runs/a runs/b", "rezoo compare runs/a exports/model.onnx --csv flips.csv"
    )
)
@models_argument
@click.option(
    "--dataset",
    type=DatasetReference(),
    help="Dataset; that of the runs or predictions if not given.",
)
@click.option(
    "--split",
    type=SPLITS,
    help="Part of the data.  [default: that of the predictions, or test]",
)
@batch_size_option
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the images that flipped, with both answers.",
)
@device_option
@columns_option
@data_options
@pretrained_option
@require_pinned_option
@json_option
def compare(
    models: tuple[str, ...],
    dataset: str | None,
    split: str | None,
    batch_size: int,
    csv_file: Path | None,
    pretrained: bool,
    require_pinned: bool,
    as_json: bool,
    options: DataOptions,
) -> None:
    """Compare each MODEL with the first on the same images: is it better, beyond chance?

    A MODEL has weights, or is a file of `rezoo export` or of predictions (.npz). The difference
    has a paired 95 % interval and a test. The classes are tested, too, with p corrected for their
    number. Each network is evaluated with its own preprocessing, unless its run folder has the
    predictions.
    """
    from rezoo.benchmarking.compare import compare_known, read_known
    from rezoo.benchmarking.compared import find_compared

    # wrong names are errors before TensorFlow is imported
    found = find_compared(models, pretrained=pretrained, require_pinned=require_pinned)
    if dataset is not None:
        dataset_spec(dataset)
    known = read_known(found, dataset, split, options)
    if None in known.predictions:
        with starting():
            import rezoo.evaluation.evaluate  # noqa: F401 - `compare_known` uses it
    with counter("evaluating") as progress:
        result = compare_known(known, batch_size=batch_size, options=options, progress=progress)
    print_json(result.to_dict()) if as_json else _print(result)
    if csv_file:
        result.write_flips(csv_file)


def _print(result: NetworkComparison) -> None:
    lines(result.summary, style="bold")
    _print_networks(result)
    inputs = {network.preprocessing for network in result.networks}
    lines(
        f"{count_of(result.count, 'image')} of {result.dataset}, {result.split} split"
        + (f"; input {inputs.pop()}" if len(inputs) == 1 else ""),
        f"each 95 % interval is for its figure alone; p is that of {result.pairs[0].test}",
    )
    if len(result.pairs) == 1:
        _print_changes(result.pairs[0], result.count)
    lines(*(f"Note: {note}." for note in result.notes), stderr=True)


def _print_networks(result: NetworkComparison) -> None:
    inputs_differ = len({network.preprocessing for network in result.networks}) > 1
    rows = []
    for network, pair in zip(result.networks, (None, *result.pairs), strict=True):
        row = {
            "network": network.model,
            result.task.chosen_by.name: f"{network.score:.2%}",
            "95 % interval": "{:.2%} to {:.2%}".format(*network.interval),
            "loss": f"{network.loss:.4f}",
            **_difference(pair, several=len(result.pairs) > 1),
        }
        rows.append({**row, "input": network.preprocessing} if inputs_differ else row)
    _print_table(rows)


def _difference(pair: PairedDifference | None, *, several: bool) -> dict[str, str]:
    """Return the cells of a network on its difference from the baseline; empty for itself."""
    keys = ("difference", "interval of it", "won", "lost", "p")
    more = ("p, Holm", "classes", "verdict") if several else ()
    if pair is None:
        return dict.fromkeys((*keys, *more), "")
    low, high = (100 * x for x in pair.interval)
    cells = (
        f"{100 * pair.difference:+.2f}",
        f"{low:+.2f} to {high:+.2f}",
        f"{pair.won:,}",
        f"{pair.lost:,}",
        _p(pair.p),
        _p(pair.p_adjusted),
        f"{len(pair.changed)} of {len(pair.classes)}",
        pair.word,
    )
    return dict(zip((*keys, *more), cells, strict=False))


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _print_changes(pair: PairedDifference, count: int) -> None:
    loss = f"loss {pair.loss_difference:+.4f}"
    if pair.loss_interval:
        loss += " (95 % interval {:+.4f} to {:+.4f})".format(*pair.loss_interval)
    tested = sum(change.p_adjusted is not None for change in pair.classes)
    lines(
        f"{count_of(pair.won, 'image')} won and {pair.lost:,} lost; the same answer for "
        f"{pair.same_answers:,} of {count:,}; {loss}",
        f"{len(pair.changed)} of {len(pair.classes):,} classes changed beyond chance; {tested} "
        f"{'has' if tested == 1 else 'have'} enough flips to tell",
    )
    _print_table(
        [
            {
                "class": change.name,
                "images": f"{change.count:,}",
                "right before": f"{change.baseline:,}",
                "right after": f"{change.model:,}",
                "p, Holm": _p(change.p_adjusted or 0.0),
                "verdict": "better" if change.won > change.lost else "worse",
            }
            for change in pair.changed
        ]
    )


def _print_table(rows: Sequence[Mapping[str, str]]) -> None:
    if rows:
        table("", rows, right=[key for key in rows[0] if key not in _TEXTS])
