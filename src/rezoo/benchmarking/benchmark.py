"""`benchmark`: measure targets in rounds, each target in a process of its own."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from rezoo import errors
from rezoo.artifacts.config import WEIGHTS
from rezoo.benchmarking.results import PEAK, Benchmark, Measured, Spread
from rezoo.benchmarking.targets import Options, Target, find_targets
from rezoo.benchmarking.worker import LESS_MEMORY
from rezoo.errors import ResourceError, RezooError
from rezoo.models.settings import require_backend
from rezoo.sources.references import WithFolder
from rezoo.utils.device import usable_threads
from rezoo.utils.live_line import Progress, Show, counted
from rezoo.utils.paths import DEBUG_VARIABLE, switched_on

_EXIT_TIMEOUT_S = 20
_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads slow down the process that is measured
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
_WITHOUT_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}


def benchmark(
    *targets: str | Path | WithFolder,
    pretrained: bool = False,
    require_pinned: bool = False,
    batch_sizes: Sequence[int] = (1, 16),
    image_size: int | None = None,
    precision: str = "float32",
    threads: int | None = None,
    rounds: int = 5,
    round_s: float = 0.5,
    train: bool = False,
    device: str = "auto",
    progress: Progress = True,
) -> Benchmark:
    """Measure latency, throughput and memory of networks and exported files on this machine.

    Each target has a process of its own and is warmed up first. In each round, every action of
    every target runs once, and so does a product of large matrices in the same precision, the
    peak. Other load on the machine therefore affects all of them alike.

    Args:
        targets: Architectures, weights, folders with weights, runs of `train`, exported files or
            folders.
        pretrained: Use the default published weights of bare architectures.
        require_pinned: Refuse files of the Hub that are not pinned, as `rezoo.load` does.
        batch_sizes: Batch sizes for throughput. Latency is always that of one image.
        image_size: Height and width in pixels; None for that of the architecture or the weights.
        precision: `float32`, `mixed_bfloat16`, `mixed_float16`, or `auto` for the precision that
            training uses on the device. Exported files have their own.
        threads: Processor threads; None for all that this process may use.
        rounds: Number of rounds.
        round_s: Seconds that an action runs per round, rounded up to whole calls.
        train: Measure training steps with the largest batch size, too.
        device: `auto` (a GPU if there is one), `cpu` or `gpu`.
        progress: Called with the number of finished and of all measurements; by default they are
            shown on a terminal and in a notebook. None for silence.

    Returns:
        Figures with their spread; `to_dict()` returns JSON values.

    Raises:
        SpecError: An option is out of bounds, there is no target, or one is given twice.
        UnknownNameError, NotFoundError, NetworkError, IntegrityError, IncompatibleError: As
            `rezoo.load`.
        MissingExtraError: The runtime of an exported file is not installed.
        ResourceError: There is not enough memory.
    """
    options = Options(
        batch_sizes=tuple(batch_sizes),
        image_size=image_size,
        precision=precision,
        threads=threads,
        rounds=rounds,
        round_s=round_s,
        train=train,
        device=device,
    )
    found = find_targets(targets, pretrained=pretrained, require_pinned=require_pinned)
    show = counted(progress, "measuring")
    return measure(found, options, pretrained=pretrained, progress=show)


def measure(
    targets: Sequence[Target],
    options: Options,
    *,
    pretrained: bool = False,
    progress: Show = lambda done, total: None,
) -> Benchmark:
    """Measure resolved targets; see `benchmark`."""
    require_backend()
    for target in targets:
        if target.source is not None and target.source.has_weights:
            target.source.file(WEIGHTS)  # downloads happen here, with progress
    jobs = [target.job(options, pretrained=pretrained) for target in targets]
    jobs.append({**jobs[0], "kind": PEAK, "reference": PEAK})
    with ExitStack() as stack:
        workers = [stack.enter_context(_started(job, options)) for job in jobs]
        _run_rounds(workers, options, progress)
    *workers, top = workers
    flops, precision = top.facts["flops"], top.facts["precision"]
    peak = Spread.of([flops * len(seconds) / sum(seconds) for seconds in top.rounds[PEAK]])
    return Benchmark(
        targets=tuple(
            Measured.of(
                worker.facts,
                worker.rounds,
                peak if worker.facts["precision"] == precision else None,
                options.batch_sizes,
            )
            for worker in workers
        ),
        device=top.facts["device"],
        backend=top.facts["runtime"],
        threads=options.threads or usable_threads(),
        rounds=options.rounds,
        precision=precision,
        peak_flops_per_s=peak,
    )


def _run_rounds(workers: Sequence[_Worker], options: Options, progress: Show) -> None:
    for worker in workers:
        worker.send(worker.job)
    for worker in workers:
        worker.receive()  # all have imported their libraries, so only one computes from here on
    for worker in workers:
        worker.warm_up()
    names = dict.fromkeys(name for worker in workers for name in worker.rounds)
    order = [(name, w) for name in names for w in workers if name in w.rounds]
    total = options.rounds * len(order)
    for number in range(options.rounds):
        for place, (name, worker) in enumerate(order):
            worker.run(name, options.round_s)
            progress(number * len(order) + place + 1, total)


class _Worker:
    """The process of a target.

    Attributes:
        job: What it builds, see `Target.job`.
        facts: Its report on the target, see `Measured`.
        rounds: Name of an action → seconds of each call, one list per round.
    """

    def __init__(self, process: subprocess.Popen[str], job: dict[str, Any]) -> None:
        self.job = job
        self.facts: dict[str, Any] = {}
        self.rounds: dict[str, list[list[float]]] = {}
        self._call_s: dict[str, float] = {}
        self._process = process

    def warm_up(self) -> None:
        """Run each action a few times."""
        self.send({"warm_up": True})
        answer = self.receive()
        self.facts, self._call_s = answer["facts"], answer["seconds"]
        self.rounds = {name: [] for name in self._call_s}

    def run(self, action: str, least_s: float) -> None:
        """Run an action for at least `least_s` seconds, at least once."""
        calls = max(1, math.ceil(least_s / max(self._call_s[action], 1e-6)))
        self.send({"action": action, "calls": calls})
        self.rounds[action].append(self.receive()["seconds"])

    def send(self, request: dict[str, Any]) -> None:
        """Send one JSON line."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # `receive` raises the reason
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Return the answer; raise the error if it is one."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._exit_error()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise _to_error(answer["error"])
        return answer

    def _exit_error(self) -> RezooError:
        code, name = self._process.wait(), self.job["reference"]
        if code in (-9, ResourceError.exit_code):  # killed by Linux, or std::bad_alloc
            found = "was killed, most likely for memory" if code == -9 else "is out of memory"
            return ResourceError(f"{name}: its process {found}", hint=LESS_MEMORY)
        return RezooError(
            f"{name}: its process ended with exit code {code}",
            hint=f"{DEBUG_VARIABLE}=1 shows its output.",
        )


@contextmanager
def _started(job: dict[str, Any], options: Options) -> Iterator[_Worker]:
    """Start a process; it ends with the block."""
    environment = {**_ENVIRONMENT, **os.environ}
    if options.device == "cpu":
        environment.update(_WITHOUT_GPU)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "rezoo.benchmarking.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if switched_on(DEBUG_VARIABLE) else subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env=environment,
    )
    try:
        yield _Worker(process, job)
    except BaseException:
        process.kill()
        raise
    finally:
        with suppress(BrokenPipeError):
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Close stdin, which ends the process; kill it if it does not end."""
    try:
        process.communicate(timeout=_EXIT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _to_error(record: dict[str, str]) -> RezooError:
    """Return the error of a process as an exception."""
    kind = getattr(errors, record["type"], RezooError) if record["type"] else RezooError
    return kind(record["message"], hint=record["hint"])
