"""`rezoo verify`: compare a network with what is recorded about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rezoo.cli.console import escaped, lines, new_grid, open_console, starting, status
from rezoo.cli.options import (
    device_option,
    examples,
    json_option,
    pretrained_option,
    print_json,
)
from rezoo.cli.values import complete_models
from rezoo.errors import IntegrityError, SpecError

if TYPE_CHECKING:
    from rezoo.publishing.verify import Verification


@click.command(epilog=examples("rezoo verify runs/resnet50-photos", "rezoo verify hf://owner/name"))
@click.argument("model", shell_complete=complete_models)
@pretrained_option
@click.option("--record", is_flag=True, help="First record the present state of the folder MODEL.")
@click.option(
    "--image",
    "images",
    multiple=True,
    help="With --record: an image for the reference batch; may be repeated.",
)
@click.option("--overwrite", is_flag=True, help="With --record: replace an existing record.")
@device_option
@json_option
@click.pass_context
def verify(
    context: click.Context,
    model: str,
    pretrained: bool,
    record: bool,
    images: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Compute again what is recorded about MODEL, and compare.

    The SHA-256 of every file, the fingerprint of the network, its tensors, and the logits of
    the reference batch on this machine and backend. Ends with exit code 5 if anything differs.

    --record is for weights of another origin: it writes the SHA-256 of the files, the
    fingerprint and a reference batch into the folder.
    """
    from rezoo.sources.references import resolve_weights

    if not record and (images or overwrite):
        raise SpecError("--image and --overwrite need --record")
    # before TensorFlow is loaded, so that the error for a wrong name comes at once
    source = resolve_weights(model, pretrained=pretrained)
    with starting():
        from rezoo.publishing import verify as verification

    if record:
        verification.record_proof(model, images=images, overwrite=overwrite)
        source = resolve_weights(model)
    with status("comparing"):
        result = verification.verify(source)
    print_json(result.to_dict()) if as_json else _print(result)
    if not result.holds:
        context.exit(IntegrityError.exit_code)


def _print(result: Verification) -> None:
    console = open_console()
    grid = new_grid(console)
    grid.add_column("what", no_wrap=True, style="bold")
    grid.add_column("holds", no_wrap=True)
    grid.add_column("found", overflow="fold")
    words = {True: ("yes", "green"), False: ("NO", "bold red"), None: ("-", "dim")}
    for check in result.checks:
        grid.add_row(escaped(check.what), escaped(*words[check.holds]), escaped(check.found))
    lines(result.reference, style="bold")
    console.print(grid)
    if result.origin:
        lines(f"weights: {result.origin}")
    lines(f"computed on {result.backend}")
    if failed := [check.what for check in result.checks if check.holds is False]:
        lines(f"Does not hold: {', '.join(failed)}.", style="bold red")
    else:
        lines("Everything that is recorded holds.", style="bold")
