"""`benchmark`: targets take turns, each in a process of its own."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from rezoo import errors
from rezoo.artifacts.config import WEIGHTS
from rezoo.benchmarking.results import PEAK, Benchmark, Spread, measured
from rezoo.benchmarking.targets import Options, Target, find_targets, job
from rezoo.errors import ResourceError, RezooError
from rezoo.utils.device import usable_threads
from rezoo.utils.paths import switched_on

Progress = Callable[[int, int], None]
_END_S = 20  # for a process whose work is done
_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin take time from the one whose turn it is
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
_WITHOUT_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}


def benchmark(
    *targets: str,
    pretrained: bool = False,
    batch_sizes: Sequence[int] = (1, 16),
    image_size: int | None = None,
    precision: str = "float32",
    threads: int | None = None,
    rounds: int = 5,
    turn_s: float = 0.5,
    train: bool = False,
    device: str = "auto",
    progress: Progress = lambda done, total: None,
) -> Benchmark:
    """Measure what networks cost on this machine.

    Each target is a process of its own, warmed up before anything is timed. In each round every
    target has its turn in everything that is measured, and so has a product of large matrices in
    the same precision, the peak: a machine that others use disturbs all alike.

    Args:
        targets: Architectures, weights, folders with weights, exported files or folders.
        pretrained: Take the default published weights of bare architectures.
        batch_sizes: Images at a time, for throughput. Latency is always that of single images.
        image_size: Height and width in pixels, instead of the architecture's or the weights'.
        precision: `float32`, `mixed_bfloat16`, `mixed_float16`, or `auto`, the device's own for
            training. Exported files have their own.
        threads: Processor threads; as many as this process may use where not given.
        rounds: Turns of each target.
        turn_s: Seconds of a turn at least; one call is never cut.
        train: Measure training steps, too, with the largest batch.
        device: `auto` (a GPU where there is one), `cpu` or `gpu`.
        progress: Called with the turns done and all turns.

    Returns:
        Figures with their spread; `to_dict()` gives JSON values.

    Raises:
        SpecError: An option out of bounds, no target, or one twice.
        UnknownNameError, NotFoundError, NetworkError, IntegrityError, IncompatibleError: As
            `rezoo.load` does.
        MissingExtraError: An exported file needs a runtime that is not installed.
        ResourceError: The memory does not suffice.
    """
    options = Options(
        batch_sizes=tuple(batch_sizes),
        image_size=image_size,
        precision=precision,
        threads=threads,
        rounds=rounds,
        turn_s=turn_s,
        train=train,
        device=device,
    )
    found = find_targets(targets, pretrained=pretrained)
    return measure(found, options, pretrained=pretrained, progress=progress)


def measure(
    targets: Sequence[Target],
    options: Options,
    *,
    pretrained: bool = False,
    progress: Progress = lambda done, total: None,
) -> Benchmark:
    """Measure resolved targets; see `benchmark`."""
    for target in targets:
        if target.source is not None and target.source.has_weights:
            target.source.file(WEIGHTS)  # here, where a download is shown, not in the process
    peak_job = {**job(targets[0], options), "kind": PEAK, "reference": PEAK, "pretrained": False}
    with ExitStack() as stack:
        workers = []
        for target in targets:
            asked = {**job(target, options), "pretrained": pretrained}
            workers.append(stack.enter_context(_started(asked, options)))
        top = stack.enter_context(_started(peak_job, options))
        _take_turns([*workers, top], options, progress)
    rates = [top.known["flops"] * len(turn) / sum(turn) for turn in top.turns[PEAK]]
    peak = Spread.of(rates)
    return Benchmark(
        targets=tuple(
            measured(
                w.known,
                w.turns,
                peak if w.known["precision"] == top.known["precision"] else None,
                options.batch_sizes,
            )
            for w in workers
        ),
        device=top.known["device"],
        backend=top.known["runtime"],
        threads=options.threads or usable_threads(),
        rounds=options.rounds,
        precision=top.known["precision"],
        peak_flops_per_s=peak,
    )


def _take_turns(workers: Sequence[_Worker], options: Options, progress: Progress) -> None:
    for worker in workers:
        worker.send(worker.asked)
    for worker in workers:
        worker.answer()  # all have loaded their libraries: nothing but warm-ups from here
    for worker in workers:
        worker.warm_up()
    names = list(dict.fromkeys(name for worker in workers for name in worker.seconds))
    order = [(name, w) for name in names for w in workers if name in w.seconds]
    total = options.rounds * len(order)
    for number in range(options.rounds):
        for place, (name, worker) in enumerate(order):
            worker.turn(name, options.turn_s)
            progress(number * len(order) + place + 1, total)


class _Worker:
    """A target's process.

    Attributes:
        asked: Its job.
        known: What it said of its target.
        seconds: Name of an action → what a call took at the end of the warm-up.
        turns: Name of an action → its turns, each the seconds of its calls.
    """

    def __init__(self, process: subprocess.Popen[str], asked: dict[str, Any]) -> None:
        self.known: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.turns: dict[str, list[list[float]]] = {}
        self.asked = asked
        self._process = process

    def warm_up(self) -> None:
        """Let it do each action a few times, while the others wait."""
        self.send({"warm": True})
        answer = self.answer()
        self.known, self.seconds = answer["known"], answer["seconds"]
        self.turns = {name: [] for name in self.seconds}

    def turn(self, action: str, least_s: float) -> None:
        """Let it do as many calls as fill a time, one at least, while the others wait."""
        calls = max(1, math.ceil(least_s / max(self.seconds[action], 1e-6)))
        self.send({"action": action, "calls": calls})
        self.turns[action].append(self.answer()["taken"])

    def send(self, order: dict[str, Any]) -> None:
        """Give it something to do."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # its answer says why
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for its answer; an error that it met is raised here."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._lost()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise _raised(answer["error"])
        return answer

    def _lost(self) -> RezooError:
        code = self._process.wait()
        name = self.asked["reference"]
        if code == -9:
            hint = "use smaller --batch-sizes or --image-size, or fewer targets at a time."
            return ResourceError(f"{name}: its process was killed: memory, most likely", hint=hint)
        return RezooError(
            f"{name}: its process ended with {code}", hint="REZOO_DEBUG=1 shows what it said."
        )


@contextmanager
def _started(asked: dict[str, Any], options: Options) -> Iterator[_Worker]:
    """Start a process, and end it with the block whatever happens in it."""
    environment = {**_ENVIRONMENT, **os.environ}
    if options.device == "cpu":
        environment.update(_WITHOUT_GPU)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "rezoo.benchmarking.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if switched_on("REZOO_DEBUG") else subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env=environment,
    )
    try:
        yield _Worker(process, asked)
    except BaseException:
        process.kill()
        raise
    finally:
        with suppress(BrokenPipeError):
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Close its orders, which ends it; kill it where that does not help."""
    try:
        process.communicate(timeout=_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _raised(record: dict[str, str]) -> RezooError:
    """Return the error that a process met, as one of this process."""
    kind = getattr(errors, record["type"], RezooError) if record["type"] else RezooError
    return kind(record["message"], hint=record["hint"])
