"""A worker that does what a plan says for its host: `toy_worker.py PLAN FOLDER`.

The plan is JSON: {"0": "sleep", "1": "exit 5 damaged", "again": {…}}, the last after a restart.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from rezoo.cli.streams import worker_streams
from rezoo.utils.hosts import Worker

STOPPED = "Error: stopped at epoch 1, step 3; state saved\nHint: continue with rezoo train"


def end(number: int, frame: object) -> None:
    print(STOPPED, file=sys.__stderr__, flush=True)
    os._exit(128 + number)


def meet(folder: Path, start: str, hosts: int) -> None:
    """Wait until all workers have begun: the first failure ends the others."""
    end = time.monotonic() + 10
    while len(list(folder.glob(f"*-{start}"))) < hosts and time.monotonic() < end:
        time.sleep(0.01)


def main(worker: Worker, plan: dict[str, str], folder: Path) -> None:
    if worker.restarted:
        plan = plan.get("again", {})
    what, _, rest = plan.get(str(worker.host), "done").partition(" ")
    if what == "sleep":
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
    elif what == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    start = f"{worker.hosts}{'-again' if worker.restarted else ''}"
    with worker_streams():
        width = f" in {os.environ.get('COLUMNS')} columns" if sys.stderr.isatty() else ""
        print(f"host {worker.host} is shown{width}", file=sys.stderr)
        print(f"answer of {worker.host}", flush=True)
        os.write(1, b"[Gloo] Rank 0 is connected\n")
        os.write(2, b"E1129 04:05:06 coordination_service.cc:9] noise of C++\n")
        if rest.startswith("keep"):
            worker.keeps("the last checkpoint is kept.")
        new = folder / f"{worker.host}-{start}.new"
        new.write_text(f"{os.getpid()} {worker.coordinator} {os.environ['TMPDIR']}")
        new.rename(new.with_suffix(""))
        if what in ("sleep", "deaf"):
            time.sleep(60)
    if what in ("exit", "memory", "signal"):
        meet(folder, start, worker.hosts)
    if what == "exit":
        code, _, message = rest.partition(" ")
        if message:
            print(f"Error: {message}\nHint: look there.", file=sys.stderr, flush=True)
        if code == "75":
            time.sleep(0.05)
        os._exit(int(code))
    if what == "memory":
        kept = []
        while True:
            kept.append(b"x" * (1 << 24))
    if what == "signal":
        os.write(
            2, b"malloc(): corrupted top size\n\n*** Check failure stack trace: ***\n    @ 0x1 f\n"
        )
        number, _, words = rest.partition(" ")
        os.write(2, words.encode())
        os.kill(os.getpid(), int(number))
        time.sleep(60)


if __name__ == "__main__":
    found = Worker.of_environment()
    assert found is not None
    main(found, json.loads(sys.argv[1]), Path(sys.argv[2]))
