"""`rezoo push`: publish a run folder as a repository of the Hub."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from rezoo.cli.console import escaped, lines, new_grid, open_console, status
from rezoo.cli.options import examples, json_option, print_json
from rezoo.errors import SpecError

if TYPE_CHECKING:
    from rezoo.publishing.plan import PushPlan
    from rezoo.publishing.push import Pushed


@click.command(
    epilog=examples(
        "rezoo push runs/resnet50-photos owner/photos --dry-run",
        "rezoo push runs/resnet50-photos owner/photos --private --yes",
    )
)
@click.argument("run")
@click.argument("repo")
@click.option("--dry-run", is_flag=True, help="Show files, sizes and the card; send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--private", is_flag=True, help="Create a private repository.")
@click.option("--licence", default="", help="Licence of the weights, such as apache-2.0.")
@click.option("--message", default="", help="Commit message.")
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

    One commit has the weights, their config, the model card and the records of the run.
    Checkpoints and other files in the folder are not sent. The token is read from HF_TOKEN or
    from `hf auth login`.
    """
    from rezoo.publishing import push
    from rezoo.publishing.plan import plan_push

    if not (dry_run or yes or sys.stdin.isatty()):
        raise SpecError(
            "cannot ask for confirmation without a terminal", hint="add --yes, or --dry-run."
        )
    if dry_run:
        with status("comparing the run with the Hub"):
            plan = plan_push(
                run, repo, private=private, licence=licence, force=force, offline_ok=True
            )
        print_json(plan.to_dict()) if as_json else _print_plan(plan, with_card=True)
        return

    def confirm(plan: PushPlan) -> bool:
        _print_plan(plan, to_stderr=True)
        return yes or click.confirm(f"Push to {repo}?", err=True)

    result = push.push(
        run, repo, private=private, licence=licence, message=message, force=force, confirm=confirm
    )
    print_json(result.to_dict()) if as_json else _print_result(result)


def _print_plan(plan: PushPlan, *, with_card: bool = False, to_stderr: bool = False) -> None:
    console = open_console(stderr=to_stderr)
    where = {True: "exists", False: "will be created", None: "was not reached"}[plan.exists]
    kind = "private" if plan.private else "public"
    console.print(escaped(f"{plan.folder} to hf://{plan.repo} ({kind}), which {where}", "bold"))
    if plan.note:
        console.print(escaped(f"Note: {plan.note}."))
    grid = new_grid(console)
    grid.add_column("file", style="bold")
    grid.add_column("bytes", justify="right")
    grid.add_column("")
    for upload in plan.uploads:
        grid.add_row(escaped(upload.name), f"{upload.size:,}", upload.state)
    grid.add_section()
    grid.add_row("all", f"{sum(upload.size for upload in plan.uploads):,}", "")
    console.print(grid)
    if with_card:
        console.print(escaped("README.md", "bold"))
        console.print(escaped(plan.card), soft_wrap=True)


def _print_result(result: Pushed) -> None:
    if not result.changed:
        lines(f"{result.url} has all of these files already, at {result.commit}")
        return
    lines(f"pushed to {result.url}", style="bold")
    lines(
        f"commit {result.commit}",
        "use it with",
        f'  rezoo.load("{result.reference}")',
        f"  rezoo verify {result.reference}",
    )
