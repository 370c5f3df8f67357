"""`rezoo launch`: several local processes, as on several hosts."""

from __future__ import annotations

import click

from rezoo.cli.distributed import supervisor_options
from rezoo.cli.options import examples
from rezoo.errors import SpecError
from rezoo.utils.hosts import MAX_HOSTS


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog=examples("rezoo launch 2 -- train resnet18 --dataset digits"),
)
@click.argument("count", metavar="N", type=click.IntRange(1, MAX_HOSTS))
@click.argument("arguments", metavar="-- COMMAND…", nargs=-1, type=click.UNPROCESSED, required=True)
@click.pass_context
def launch(context: click.Context, count: int, arguments: tuple[str, ...]) -> None:
    """Run train, eval or predict in N processes of this machine.

    A trial of what --hosts does on N machines: `rezoo launch 2 -- train resnet18`. The first
    process prints and writes the results. On a machine with several GPUs, --devices needs no
    launch.
    """
    from rezoo.launching.supervisor import launch as launch_workers

    group = context.find_root().command
    name, *rest = arguments
    command = group.get_command(context, name) if isinstance(group, click.Group) else None
    known = command and {parameter.name for parameter in command.params} >= {"hosts", "restarts"}
    if command is None or not known:
        raise SpecError(f"launch cannot run {name!r}", hint="rezoo launch 2 -- train MODEL …")
    # wrong options are errors before the processes start
    with command.make_context(name, list(rest), parent=context.parent) as given:
        hosts, restarts = given.params["hosts"], given.params["restarts"]
    if hosts is not None:
        raise SpecError("--hosts is for one process of each machine", hint="leave launch out.")
    launch_workers(count, arguments, restarts, **supervisor_options())
