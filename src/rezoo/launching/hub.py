"""The first host's part: all supervisors meet there, and it finds the cause if a worker fails."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

from rezoo.launching.endings import ASKED, DONE, DOUBTFUL, End
from rezoo.launching.messages import Clocks, Connection, free_port, listen, wait
from rezoo.utils.hosts import Hosts, join
from rezoo.utils.names import listed

_STRANGERS = 64  # connections that have not yet said which host they are


class Hub:
    """What the first host does for all, in a thread: meet, start, watch, end.

    The supervisor of each host is a peer, that of the first host, too. A peer sends how its worker
    ended; the first failure that does not follow from another one is the cause, and is sent to all.
    """

    def __init__(self, hosts: Hosts, own: socket.socket, *, restarts: int, clocks: Clocks) -> None:
        self._hosts, self._restarts, self._clocks = hosts, restarts, clocks
        self._listener = listen(hosts.address, hosts.port)
        self._listener.setblocking(False)
        self._strangers = [Connection(own)]
        self._peers: dict[int, Connection] = {}
        self._names: dict[int, str] = {}
        self._gone: dict[int, str] = {}  # why they are no peers any more
        self._ends: dict[int, End] = {}  # in the order in which they came
        self._asked = 0  # the signal that one of the supervisors has received
        self._again = False

    def run(self) -> None:
        """Conduct the run until all peers have gone."""
        try:
            end = self._conduct()
            over = {"code": end.code, "text": end.text, "hint": end.hint, "now": self._again}
            self._send_all("over", **over)
            deadline = time.monotonic() + self._clocks.patience + self._clocks.silence
            while self._peers and time.monotonic() < deadline:
                self._turn()
        finally:
            for connection in (*self._strangers, *self._peers.values()):
                connection.close()
            self._listener.close()

    def _conduct(self) -> End:
        """Return how the run has ended."""
        end, restart = None, 0
        while True:
            self._meet(self._clocks.meeting if end else self._clocks.start)
            if self._asked:
                return End.asked(self._asked)
            members = sorted(self._peers)
            if end:
                restarts = f"restart {restart} of {self._restarts}"
                there = f"{len(members)} of {self._hosts.count} hosts"
                self._note(f"Warning: {end.text}; {restarts}, with {there}")
            elif len(members) < self._hosts.count:
                return self._missing()
            self._start(members, restarted=end is not None)
            end = self._watch(members)
            if self._asked or restart == self._restarts or not end.may_restart:
                return end
            restart += 1
            self._end_workers(members)

    def _meet(self, seconds: float) -> None:
        """Wait until all hosts are there, at most so many seconds."""
        begin, noted = time.monotonic(), False
        while len(self._peers) < self._hosts.count and not self._asked:
            self._turn()
            elapsed = time.monotonic() - begin
            if elapsed > seconds:
                return
            if elapsed > self._clocks.notice and not noted:
                place = join(self._hosts.address, self._hosts.port)
                self._note(f"waiting for hosts at {place}: {self._absent()}")
                noted = True

    def _absent(self) -> str:
        absent = [i for i in range(self._hosts.count) if i not in self._peers]
        return listed([self._hosts.named(i) for i in absent], 8)

    def _missing(self) -> End:
        count = self._hosts.count - len(self._peers)
        place = join(self._hosts.address, self._hosts.port)
        return End.lost(
            f"{count} of {self._hosts.count} hosts did not come within "
            f"{self._clocks.start:g} s: {self._absent()}",
            f"start the same command on each host; all must reach {place}.",
        )

    def _start(self, members: Sequence[int], *, restarted: bool) -> None:
        self._ends.clear()
        coordinator = join(self._hosts.address, free_port())
        for number, host in enumerate(members):
            self._peers[host].send(
                "start",
                coordinator=coordinator,
                hosts=len(members),
                host=number,
                restarted=restarted,
            )

    def _watch(self, members: Sequence[int]) -> End:
        """Return the end of the run, once it is known: that of all workers, or the cause."""
        told = doubted = saved = 0.0
        while True:
            self._turn()
            now = time.monotonic()
            for host in members:
                if host not in self._ends and host not in self._peers:
                    self._ends[host] = End.lost(self._gone[host])
            ends = list(self._ends.values())
            causes = [host for host, end in self._ends.items() if end.is_cause]
            if self._again or causes or len(ends) == len(members):
                return self._settled(causes)
            asked = [end.code - 128 for end in ends if end.kind == ASKED]
            self._asked = self._asked or (asked[0] if asked else 0)
            if self._asked and not told:
                self._send_all("stop", signal=self._asked)
                told = now
            doubtful = any(end.kind == DOUBTFUL for end in ends) and not self._asked
            doubted = (doubted or now) if doubtful else 0.0
            saved = (saved or now) if ends and self._asked else 0.0
            late = (doubted and now - doubted > self._clocks.doubt) or (
                saved and now - saved > self._clocks.saving
            )
            if late:
                return self._settled(causes)

    def _settled(self, causes: Sequence[int]) -> End:
        """Return the end of the run for the ends of its workers."""
        if self._again:
            return End.asked(self._asked)
        if causes:
            return self._of_host(causes[0])
        asked = [host for host, end in self._ends.items() if end.kind == ASKED]
        if asked:  # the first host's worker has saved, if it is among them
            return self._ends[min(asked)]
        if all(end.kind == DONE for end in self._ends.values()):
            return End(kind=DONE, code=0)
        if self._asked:
            return End.asked(self._asked)
        doubtful = [host for host, end in self._ends.items() if end.kind == DOUBTFUL]
        # who lost the others names no cause; who was aborted may
        return self._of_host(max(doubtful, key=lambda host: self._ends[host].code == 1))

    def _of_host(self, host: int) -> End:
        end = self._ends[host]
        return dataclasses.replace(end, text=f"host {host} ({self._names[host]}): {end.text}")

    def _end_workers(self, members: Iterable[int]) -> None:
        """Wait until the workers of all peers have ended; who does not end them is lost."""
        self._send_all("kill")
        deadline = time.monotonic() + self._clocks.patience + self._clocks.silence
        while left := [i for i in members if i in self._peers and i not in self._ends]:
            self._turn()
            if time.monotonic() > deadline:
                for host in left:
                    self._drop(host, "its worker does not end")

    def _send_all(self, what: str, **values: Any) -> None:
        for peer in self._peers.values():
            peer.send(what, **values)

    def _note(self, words: str) -> None:
        if 0 in self._peers:
            self._peers[0].send("note", text=words)

    def _turn(self) -> None:
        """Receive what has come, or wait for it for a moment; find who is lost."""
        clocks = self._clocks
        wait([self._listener, *self._strangers, *self._peers.values()], clocks.tick)
        self._accept()
        for stranger in list(self._strangers):
            for message in stranger.receive()[:1]:
                self._strangers.remove(stranger)
                self._admit(stranger, message)
        for host, peer in self._peers.items():
            for message in peer.receive():
                self._take(host, message)
            peer.beat(clocks.silence / 5)
        before = time.monotonic() - clocks.silence
        for host, peer in list(self._peers.items()):
            if peer.closed:
                self._drop(host, "its supervisor has ended")
            elif peer.heard < before:
                self._drop(host, "it is not reached any more")
        for stranger in self._strangers:
            if stranger.heard < before:
                stranger.close()
        self._strangers = [stranger for stranger in self._strangers if not stranger.closed]

    def _drop(self, host: int, words: str) -> None:
        self._gone[host] = words
        peer = self._peers.pop(host)
        text = f"host {host} ({self._names[host]}): {words}"
        peer.send("over", code=4, text=text, hint="", now=True)  # if it is reached again
        peer.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # nobody
            return
        self._strangers.append(Connection(connection))
        for stranger in self._strangers[: -self._hosts.count - _STRANGERS]:
            stranger.close()

    def _admit(self, stranger: Connection, message: dict[str, Any]) -> None:
        """Take a host among the peers, or end it with the reason."""
        if message["message"] != "hello":
            stranger.close()
            return
        host, hosts, name, own = message["host"], message["hosts"], message["name"], self._hosts
        reason = ""
        if hosts != own.count or host >= own.count:
            reason = f"this host was started with N = {hosts}, and host 0 with N = {own.count}"
        elif host in self._peers:
            reason = f"host {host} is there already: {self._names[host]}"
        elif message["version"] != version("rezoo"):
            theirs = message["version"]
            reason = f"this host has rezoo {theirs}, and host 0 has {version('rezoo')}"
        if reason:
            hint = "start the same command on all hosts, with another INDEX on each."
            stranger.send("over", code=2, text=reason, hint=hint, now=True)
            stranger.close()
            return
        self._peers[host], self._names[host] = stranger, name
        stranger.send("beat")

    def _take(self, host: int, message: dict[str, Any]) -> None:
        what = message.pop("message")
        if what == "ended":
            self._ends.setdefault(host, End(**message))
        elif what == "asked":
            self._asked = self._asked or message["signal"]
            self._again = self._again or message["again"]
