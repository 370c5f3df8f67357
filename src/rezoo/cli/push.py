"""`rezoo push`: a run folder becomes a repository of the Hub."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from rezoo.cli.options import json_option, print_json
from rezoo.errors import SpecError

if TYPE_CHECKING:
    from rezoo.publishing.plan import PushPlan


@click.command()
@click.argument("run")
@click.argument("repo")
@click.option("--dry-run", is_flag=True, help="Show files, sizes and the card; send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--private", is_flag=True, help="Create a private repository.")
@click.option("--licence", default="", help="Of the weights, such as apache-2.0.")
@click.option("--message", default="", help="Of the commit.")
@click.option("--force", is_flag=True, help="Replace a README.md that rezoo did not write.")
@json_option
def push(
    run: str,
    repo: str,
    dry_run: bool,
    yes: bool,
    private: bool,
    licence: str,
    message: str,
    force: bool,
    as_json: bool,
) -> None:
    """Publish RUN, a finished run folder, as REPO (owner/name) on the Hub.

    One commit holds the weights, their config, the model card and the records of the run.
    Checkpoints, and whatever else lies in the folder, stay here. The token is taken from
    HF_TOKEN or from `hf auth login`.
    """
    from rezoo.cli import render, render_hub
    from rezoo.publishing import push
    from rezoo.publishing.plan import plan_push

    if not (dry_run or yes or sys.stdin.isatty()):
        raise SpecError("not a terminal, so nobody can be asked", hint="say --yes, or --dry-run.")
    if dry_run:
        with render.status("looking at the run and the Hub"):
            plan = plan_push(
                run, repo, private=private, licence=licence, force=force, offline_ok=True
            )
        if as_json:
            print_json(plan.to_dict())
        else:
            render_hub.push_plan(plan, with_card=True)
        return

    def confirm(plan: PushPlan) -> bool:
        render_hub.push_plan(plan, to_stderr=True)
        return yes or click.confirm(f"Push to {repo}?", err=True)

    result = push.push(
        run, repo, private=private, licence=licence, message=message, force=force, confirm=confirm
    )
    if as_json:
        print_json(result.to_dict())
    else:
        render_hub.pushed(result)
