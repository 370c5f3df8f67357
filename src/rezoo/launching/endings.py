"""How workers end: what kind of end it is, and which lines of their output name the cause."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import Self

from rezoo.errors import NetworkError, ResourceError
from rezoo.utils.hosts import KEPT, PEERS_LOST

DONE, ASKED, FAILED = "done", "asked", "failed"
KILLED, DOUBTFUL, LOST = "killed", "doubtful", "lost"
INTERRUPTED = "Interrupted."
_MAY_RESTART = (1, NetworkError.exit_code)  # of the codes that a worker ends with by itself
_MOST = 1500  # characters of a message
_NOISE = re.compile(
    r"\s*$|\s+@ |\*\*\*|[IW]\d{4} |E\d{4} |\s*File \"|\s+#\d|Current thread|Extension modules|"
    r"Thread 0x|Aborted|Fatal Python error"
)
_CAUSE = re.compile(r"error|exception|fail|fatal|corrupt|invalid|what\(\)", re.IGNORECASE)
_LESS_MEMORY = "use a smaller --batch-size or --image-size."


@dataclass(frozen=True, kw_only=True)
class End:
    """The end of a worker.

    Attributes:
        kind: `DONE`; `ASKED`: at SIGINT or SIGTERM; `FAILED`: with a message of its own;
            `KILLED`: by a signal; `DOUBTFUL`: perhaps because another host failed; `LOST`: the host
            is not reached.
        code: Exit code that this end gives to the run.
        text: What happened, in one line or a few.
        hint: What the user can do next, or empty.
    """

    kind: str
    code: int
    text: str = ""
    hint: str = ""

    @classmethod
    def asked(cls, number: int, text: str = INTERRUPTED, hint: str = "") -> Self:
        """Return the end at a signal."""
        return cls(kind=ASKED, code=128 + number, text=text, hint=hint)

    @classmethod
    def lost(cls, text: str, hint: str = "") -> Self:
        """Return the end of a host that is not reached."""
        return cls(kind=LOST, code=NetworkError.exit_code, text=text, hint=hint)

    @property
    def is_cause(self) -> bool:
        """Whether the end is a failure that does not follow from another one."""
        return self.kind in (FAILED, KILLED, LOST)

    @property
    def may_restart(self) -> bool:
        """Whether the failure may not happen again."""
        if self.kind == FAILED:
            return self.code in _MAY_RESTART
        return self.kind in (KILLED, DOUBTFUL, LOST)


def end_of(code: int, output: str, *, asked: int = 0, out_of_memory: bool = False) -> End:
    """Return how a worker ended.

    Args:
        code: Exit code of the process, or a signal's negative number.
        output: The end of what it wrote on its file descriptors 1 and 2.
        asked: Signal that it was sent before; 0 for none.
        out_of_memory: Whether the system has killed a process for its memory meanwhile.
    """
    text, hint = _said(output)
    if code == 0:
        return End(kind=DONE, code=0)
    for number in (signal.SIGINT, signal.SIGTERM):
        if code == 128 + number or (code == -number and asked == number):
            return End.asked(number, text or INTERRUPTED, hint)
    if code == PEERS_LOST:
        text = "the worker lost the connection to the others"
        return End(kind=DOUBTFUL, code=NetworkError.exit_code, text=text)
    last = _last_line(output)
    if code > 0:
        text = text or f"the worker ended with exit code {code}{last}"
        return End(kind=FAILED, code=code if code < 10 else 1, text=text, hint=hint)
    if (code == -signal.SIGKILL and out_of_memory) or "bad_alloc" in output:
        text = f"out of memory: the worker was ended by {signal_name(-code)}"
        return End(kind=KILLED, code=ResourceError.exit_code, text=text, hint=_LESS_MEMORY)
    if code == -signal.SIGKILL:
        last = ""  # it writes nothing
    kind = DOUBTFUL if code == -signal.SIGABRT else KILLED
    return End(kind=kind, code=1, text=f"the worker was ended by {signal_name(-code)}{last}")


def stopped(seconds: float) -> End:
    """Return the end of a worker that was stopped for so long, and then killed."""
    text = f"the worker was stopped (SIGSTOP) for {seconds:g} s"
    return End(kind=KILLED, code=1, text=text, hint="continue stopped processes with SIGCONT.")


def kept_words(output: str) -> str:
    """Return what a worker has said to be kept, or an empty text."""
    found = [line for line in output.splitlines() if line.startswith(KEPT)]
    return found[-1].removeprefix(KEPT) if found else ""


def signal_name(number: int) -> str:
    """Return the name of a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _said(output: str) -> tuple[str, str]:
    """Return the message of an error and its hint, as the command line prints them."""
    lines = output.splitlines()
    starts = [
        i for i, line in enumerate(lines) if line.startswith("Error: ") or line == INTERRUPTED
    ]
    if not starts:
        return "", ""
    message: list[str] = []
    for line in lines[starts[-1] :]:
        if line.startswith("Hint: "):
            return "\n".join(message)[:_MOST], line.removeprefix("Hint: ")[:_MOST]
        if _NOISE.match(line) or len(message) == 20:
            break
        message.append(line.removeprefix("Error: "))
    return "\n".join(message)[:_MOST], ""


def _last_line(output: str) -> str:
    """Return the last line that may name the cause, behind a colon; empty if there is none."""
    lines = [x for x in output.splitlines() if _CAUSE.search(x) and not _NOISE.match(x)]
    return f": {lines[-1].strip()[:300]}" if lines else ""
