"""`rezoo verify`: whether a network is what its records say."""

from __future__ import annotations

import click

from rezoo.cli.options import import_quietly, json_option, pretrained_option, print_json
from rezoo.errors import IntegrityError, SpecError


@click.command()
@click.argument("model")
@pretrained_option
@click.option("--record", is_flag=True, help="First record the folder MODEL as it is now.")
@click.option("--image", "images", multiple=True, help="For --record: of the reference batch.")
@click.option("--overwrite", is_flag=True, help="For --record: replace the record that is there.")
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

    --record makes weights from elsewhere provable: it writes the SHA-256 of the files, the
    fingerprint and a reference batch into the folder.
    """
    from rezoo.cli import render, render_hub
    from rezoo.sources.references import resolve_weights

    if not record and (images or overwrite):
        raise SpecError("--image and --overwrite go with --record")
    # a wrong name is answered before TensorFlow is loaded
    source = resolve_weights(model, pretrained=pretrained)
    with render.status("starting TensorFlow"):
        verification = import_quietly("rezoo.publishing.verify")
    if record:
        verification.record_proof(model, pictures=images, overwrite=overwrite)
        source = resolve_weights(model)
    with render.status("comparing"):
        result = verification.verify(source)
    if as_json:
        print_json(result.to_dict())
    else:
        render_hub.verification(result)
    if not result.holds:
        context.exit(IntegrityError.exit_code)
