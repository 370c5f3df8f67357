"""Options of commands that compute on several devices and hosts."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

import click

from rezoo.cli.values import NumberOr
from rezoo.errors import SpecError
from rezoo.models.settings import choose_jax
from rezoo.training.timetable import parse_duration
from rezoo.utils.hosts import Hosts, Worker

START_VARIABLE = "REZOO_START_TIMEOUT"


def devices_options(command: Any) -> Any:
    """Add `--devices`, `--hosts` and `--restarts`; several devices compute with JAX.

    A command with `--hosts` supervises its worker, a process of its own in which the command
    itself runs. It receives `hosts` as `rezoo.train` does.
    """

    @functools.wraps(command)
    def run(*args: Any, hosts: str | None, restarts: int, **given: Any) -> Any:
        worker = Worker.of_environment()
        if worker is not None or given["devices"] not in (None, 1):
            choose_jax()  # before the command loads Keras
        if worker is not None:
            return command(*args, hosts=worker.place, **given)
        if hosts is None:
            if restarts:
                raise SpecError("--restarts is for a run on several hosts", hint="give --hosts.")
            return command(*args, hosts=None, **given)
        from rezoo.launching.supervisor import supervise

        options = supervisor_options()
        return supervise(Hosts.parse(hosts), sys.argv[1:], restarts, **options)

    for option in (
        click.option(
            "--restarts",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            metavar="K",
            help="Start all hosts again from the last checkpoint, at most K times, if one fails.",
        ),
        click.option(
            "--hosts",
            metavar="ADDRESS:PORT,N,INDEX|auto",
            help="Compute on N hosts, each with this command and its INDEX from 0; the first "
            "listens at ADDRESS:PORT. auto: as set by SLURM, Cloud TPU, TF_CONFIG or Kubernetes.",
        ),
        click.option(
            "--devices",
            type=NumberOr("all", least=1),
            help="GPUs of this machine that compute together, with JAX [1; with --hosts all].",
        ),
    ):
        run = option(run)
    return run


def supervisor_options() -> dict[str, Any]:
    """Return the options of `supervise` that the command line sets.

    Raises:
        SpecError: `REZOO_START_TIMEOUT` is not a duration.
    """
    from rezoo.launching.messages import Clocks

    value = os.environ.get(START_VARIABLE) or "10m"
    seconds = parse_duration(value)
    if seconds is None:
        raise SpecError(f"{START_VARIABLE}={value!r} is not a duration", hint="write 90s or 30m.")
    return {"clocks": Clocks(start=seconds), "say": functools.partial(click.echo, err=True)}


def is_first_host() -> bool:
    """Return whether this process writes files: the first host, or the only one."""
    worker = Worker.of_environment()
    return worker is None or worker.is_first
