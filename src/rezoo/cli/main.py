"""`rezoo`: the group of commands; messages and exit codes of errors."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
import warnings
from functools import cache
from typing import Any, TextIO

import click

from rezoo.cli.benchmark import benchmark
from rezoo.cli.calibrate import calibrate
from rezoo.cli.compare import compare
from rezoo.cli.data import data
from rezoo.cli.doctor import doctor
from rezoo.cli.downloads import shown_downloads
from rezoo.cli.draw import draw
from rezoo.cli.eval import eval_command
from rezoo.cli.examine import examine
from rezoo.cli.export import export
from rezoo.cli.info import info
from rezoo.cli.launch import launch
from rezoo.cli.list import list_command
from rezoo.cli.plugin import plugin
from rezoo.cli.predict import predict
from rezoo.cli.push import push
from rezoo.cli.stopping import number_of, stopping
from rezoo.cli.streams import worker_streams
from rezoo.cli.train import train
from rezoo.cli.verify import verify
from rezoo.errors import HubNote, LostHostError, ResourceError, RezooError, RezooWarning
from rezoo.utils.hosts import PEERS_LOST, WORKER_VARIABLE
from rezoo.utils.memory import is_out_of_memory
from rezoo.utils.names import printable
from rezoo.utils.paths import DEBUG_VARIABLE, switched_on


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rezoo", message="rezoo %(version)s")
def cli() -> None:
    """Residual networks for Keras 3: train, evaluate, export and publish them.

    A MODEL is an architecture (resnet50: random weights), published weights
    (resnet50.a1_in1k), hf://owner/name[@revision], or a folder with weights. A dataset is a
    name (digits), folder:PATH, csv:PATH, tfds:NAME or hf:OWNER/NAME. `rezoo list` shows all
    names.

    \b
    Exit codes: 0 done, 1 other error, 2 wrong use, 3 not found, 4 network, 5 integrity,
    6 incompatible, 7 plugin, 8 diverged, 9 memory or disk, 130 Ctrl-C, 143 SIGTERM.
    """  # noqa: D301 - click reads the control character


for command in (
    list_command, info, draw, train, eval_command, examine, calibrate, predict, compare, export,
    benchmark, verify, push, plugin, data, launch, doctor,
):  # fmt: skip
    cli.add_command(command)


def main() -> None:
    """Run the command line; a failure ends with one message and a documented exit code."""
    _replace_unknown_characters()
    warnings.showwarning = _show_warning
    # no log lines of TensorFlow, unless the user sets the variable
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # `shown_downloads` shows them in the style of the other commands
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # TensorFlow allocates all memory of a GPU otherwise
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    try:
        code = _run()
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        # click and Rich exit with 1 if the reader stops early (`rezoo list | head`)
        if not (isinstance(error.__context__, BrokenPipeError) or _reader_is_gone()):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else flushing fails at exit
        code = 0
    sys.exit(code)


def _run() -> int:
    try:
        with stopping(), worker_streams(), shown_downloads():
            result = cli.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        cause = error.__cause__ if isinstance(error, click.exceptions.Abort) else error
        hint = " ".join(getattr(cause, "__notes__", ()))
        return _fail("Interrupted.", hint, 128 + number_of(cause))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        raise
    except Exception as error:
        if switched_on(DEBUG_VARIABLE):
            raise
        return _explain(error)
    return result if isinstance(result, int) else 0


def _reader_is_gone() -> bool:
    if not hasattr(select, "poll"):  # Windows
        return False
    poll = select.poll()
    poll.register(1, select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _explain(error: Exception) -> int:
    if isinstance(error, LostHostError) and WORKER_VARIABLE in os.environ:
        return PEERS_LOST  # the supervisors name the cause
    if isinstance(error, RezooError):
        return _fail(error.message, error.hint, error.exit_code)
    if is_out_of_memory(error):
        hint = "use a smaller --batch-size or --image-size."
        return _fail("out of memory", hint, ResourceError.exit_code)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        hint = "free some space, or set TMPDIR, REZOO_CACHE or TFDS_DATA_DIR to another disk."
        return _fail(f"no space left on the device: {error.filename or ''}", hint, 9)
    first = (str(error).strip().splitlines() or [""])[0]
    return _fail(
        f"unexpected {type(error).__name__}: {first}",
        f"this is a bug in rezoo; {DEBUG_VARIABLE}=1 shows the traceback.",
        1,
    )


def _fail(message: str, hint: str = "", code: int = 1) -> int:
    head = "" if message == "Interrupted." else "Error: "
    click.echo(f"{head}{printable(message)}", err=True)
    if hint:
        click.echo(f"Hint: {printable(hint)}", err=True)
    return code


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, RezooWarning):
        head = "Note" if issubclass(category, HubNote) else "Warning"
        _print_once(f"{head}: {printable(str(message))}")
    elif switched_on(DEBUG_VARIABLE):
        click.echo(warnings.formatwarning(message, category, filename, lineno, line), err=True)


@cache
def _print_once(line: str) -> None:
    # unlike click.echo, print goes through Rich's stderr, which first clears a spinner or bar
    print(line, file=sys.stderr)


def _replace_unknown_characters() -> None:
    """Replace characters that the encoding of the terminal lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            options: dict[str, Any] = {"errors": "replace"}
            stream.reconfigure(**options)
