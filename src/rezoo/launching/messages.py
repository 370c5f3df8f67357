"""Messages between the supervisors of a run: lines of JSON over TCP.

The sizes and values are compared with a schema; nothing in a message is executed.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rezoo.errors import RezooError, SpecError
from rezoo.utils.documents import parse_json
from rezoo.utils.hosts import MAX_HOSTS, join
from rezoo.utils.schemas import FLAG, conform, integer, text

_MOST = 64 * 1024  # bytes of a message
_LONG = text(4000)
_SIGNAL = integer(1, 64)
_KIND = text(20, pattern="done|asked|failed|killed|doubtful", words="a kind of end")
_SCHEMAS: dict[str, dict[str, Any]] = {
    # from a host to the first
    "hello": {
        "host": integer(0, MAX_HOSTS - 1),
        "hosts": integer(1, MAX_HOSTS),
        "name": text(255),
        "version": text(100),
    },
    "asked": {"signal": _SIGNAL, "again": FLAG},
    "ended": {"kind": _KIND, "code": integer(0, 255), "text": _LONG, "hint": _LONG},
    # from the first host to the others
    "start": {
        "coordinator": text(300),
        "hosts": integer(1, MAX_HOSTS),
        "host": integer(0, MAX_HOSTS - 1),
        "restarted": FLAG,
    },
    "stop": {"signal": _SIGNAL},
    "kill": {},
    "over": {"code": integer(0, 255), "text": _LONG, "hint": _LONG, "now": FLAG},
    "note": {"text": _LONG},
    # both ways
    "beat": {},
}
_WHAT = text(20, pattern="|".join(_SCHEMAS), words="one of rezoo's")


@dataclass(frozen=True, kw_only=True)
class Clocks:
    """Durations in seconds.

    Attributes:
        start: From the start of a supervisor until all hosts are there, at most.
        silence: A host that is not heard for so long is lost.
        stopped: A worker that is stopped (SIGSTOP) for so long has failed.
        doubt: From a failure that may follow from another one until it is taken for the cause.
        patience: For workers to end by themselves after another one has failed.
        saving: For workers to end after the first has ended at a signal.
        meeting: For lost hosts to come back before a restart.
        notice: Until the hosts that are waited for are named.
        tick: Between two looks at the worker.
    """

    start: float = 600.0
    silence: float = 10.0
    stopped: float = 10.0
    doubt: float = 12.0
    patience: float = 5.0
    saving: float = 600.0
    meeting: float = 60.0
    notice: float = 5.0
    tick: float = 0.1


class Connection:
    """A connection to another supervisor. After a fault it is `closed`; nothing is raised.

    Attributes:
        closed: Whether it has ended.
        heard: When the last bytes came, on the monotonic clock.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        with contextlib.suppress(OSError):  # not TCP
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = end
        self._content = b""
        self.closed = False
        self.heard = self._sent = time.monotonic()

    def fileno(self) -> int:
        """Return the file descriptor, for selectors."""
        return self._socket.fileno()

    def send(self, what: str, **values: Any) -> None:
        """Send a message, if it is not closed."""
        if self.closed:
            return
        self._sent = time.monotonic()
        try:
            # a peer that reads nothing until the buffer is full has failed, too
            self._socket.sendall(json.dumps({"message": what, **values}).encode() + b"\n")
        except OSError:
            self.close()

    def beat(self, interval: float) -> None:
        """Send a sign of life, if nothing was sent for so many seconds."""
        if time.monotonic() - self._sent >= interval:
            self.send("beat")

    def receive(self) -> list[dict[str, Any]]:
        """Return the messages that have come: `{"message": …, …}`."""
        if self.closed:
            return []
        found: list[dict[str, Any]] = []
        try:
            for _ in range(16):  # then others' messages
                content = self._socket.recv(_MOST)
                if not content or len(self._content) > _MOST:
                    self.close()
                    break
                self.heard = time.monotonic()
                *lines, self._content = (self._content + content).split(b"\n")
                found += [_parsed(line) for line in lines]
        except BlockingIOError:
            pass
        except (OSError, RezooError):
            self.close()
        return found

    def answers(self, seconds: float) -> bool:
        """Wait for the first bytes; return whether they came."""
        wait([self], seconds)
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def close(self) -> None:
        """Close it."""
        self.closed = True
        self._socket.close()


def _parsed(line: bytes) -> dict[str, Any]:
    values = parse_json(line, "message", most=_MOST)
    conform(values, {"message": _WHAT}, "message")
    schema = _SCHEMAS[values["message"]]
    conform(values, schema, "message")
    return {key: values[key] for key in ("message", *schema)}


def wait(sources: Sequence[Connection | socket.socket], seconds: float) -> None:
    """Wait until one of the sources can be read, at most so many seconds."""
    with selectors.DefaultSelector() as selector:
        for source in sources:
            if source.fileno() >= 0:
                selector.register(source, selectors.EVENT_READ)
        selector.select(seconds)


def listen(address: str, port: int) -> socket.socket:
    """Return a socket that listens at a port: of this machine only for a loopback address.

    Other addresses may be names that mean this machine for itself alone, so it listens at all.

    Raises:
        SpecError: The port is in use, or not allowed.
    """
    own = address == "localhost" or address.startswith("127.") or address == "::1"
    try:
        if own:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.create_server((address, port), family=family)
        with contextlib.suppress(OSError, ValueError):
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))  # without IPv6
    except OSError as error:
        message = f"host 0 cannot listen at {join(address, port)}: {error.strerror or error}"
        raise SpecError(message, hint="choose another PORT for all hosts.") from error


def free_port() -> int:
    """Return a port that nothing listens at."""
    with socket.create_server(("", 0)) as server:
        port: int = server.getsockname()[1]
    return port
