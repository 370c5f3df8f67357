"""What the tests of several devices run in processes of their own, with JAX.

    XLA_FLAGS=--xla_force_host_platform_device_count=2 python on_devices.py '{"what": "train", …}'

The job is JSON. It prints nothing; what it has done is in the file `trace`, one JSON line each.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
import zlib
from pathlib import Path

import numpy as np


def train(job: dict) -> None:
    """Train with the keywords of the job, and trace each step: figures, examples, saved states."""
    import rezoo
    from rezoo.training.loop import Loop
    from rezoo.training.reporters import Reporter

    trace = open(job["trace"], "a")  # noqa: SIM115 - to the end of the process

    def note(**what):
        print(json.dumps(what), file=trace, flush=True)

    class Traced(Reporter):
        interval_s = 0.0

        def step(self, epoch, step, figures):
            note(epoch=epoch, step=step, loss=figures["recent_loss"])
            if [epoch, step] == job.get("die_at"):
                os._exit(9)

    next_batch, save = Loop._next, Loop._begin_to_save

    def traced_batch(self, *args):
        batch, progress = next_batch(self, *args), self.progress
        examples = [
            [zlib.crc32(np.ascontiguousarray(image)) for image in self._devices.part(images)]
            for images, _ in batch
        ]
        note(epoch=progress.epoch, step=progress.step + 1, examples=examples)
        return batch

    def traced_save(self):
        save(self)
        digest = hashlib.sha256()
        for name, variable in self.step.state():
            digest.update(name.encode() + np.asarray(variable.value).tobytes())
        note(epoch=self.progress.epoch, step=self.progress.step, state=digest.hexdigest())

    Loop._next, Loop._begin_to_save = traced_batch, traced_save
    run = rezoo.train(**job["keys"], reporter=Traced(), verbose=0)
    note(metrics=run.metrics.get("val"))


def steps(job: dict) -> None:
    """Take the same steps on one device and on several, each from the same state."""
    from rezoo.data.datasets import DataOptions
    from rezoo.models.devices import joined
    from rezoo.training.request import Request
    from rezoo.training.setup import Setup

    keys = dict(job["keys"])
    request = Request.of(keys.pop("model"), keys.pop("dataset"), changes=keys)
    found = {}
    for count in (1, *job["devices"]):
        with joined(count, None) as devices:
            setup = Setup.of(request, DataOptions(), devices=devices)
            step, losses, differences = setup.new_step(), [], []
            source = setup.train_batches(0, 0)
            before = values(step)
            states, batches = [], []
            for _ in range(job["steps"]):
                batch = [next(source) for _ in range(step.micro_batches)]
                batches.append([tuple(map(devices.part, part)) for part in batch])
                losses.append(step(batch).read().loss)
                states.append(values(step))
            if count == 1:
                reference = (losses, [before, *states], batches)
            else:
                for number, batch in enumerate(reference[2]):
                    same = all(
                        np.array_equal(a, b)
                        for one, other in zip(batch, batches[number], strict=True)
                        for a, b in zip(one, other, strict=True)
                    )
                    assert same, "other examples"
                    for (_, variable), value in zip(
                        step.state(), reference[1][number], strict=True
                    ):
                        variable.assign(value)
                    step(batch).read()
                    differences.append(distance(values(step), reference[1][number + 1]))
        found[count] = {"losses": losses, "differences": differences}
    Path(job["trace"]).write_text(json.dumps(found))


def values(step) -> list[np.ndarray]:
    return [np.array(variable.value) for _, variable in step.state()]


def distance(one, other) -> float:
    """Return the largest difference of two states, in parts of each tensor's largest value."""
    return max(
        float(np.abs(a.astype("f8") - b).max() / max(np.abs(b).max(), 1e-3))
        for a, b in zip(one, other, strict=True)
    )


def evaluate(job: dict) -> None:
    """Evaluate, and trace the result."""
    import rezoo

    found = rezoo.evaluate(**job["keys"])
    result = {**dataclasses.asdict(found.scores), "notes": list(found.notes)}
    Path(job["trace"]).write_text(json.dumps(result))


if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "jax"
    job = json.loads(sys.argv[1])
    sys.path[:0] = [job["site"], str(Path(__file__).parent)]
    {"train": train, "steps": steps, "evaluate": evaluate}[job["what"]](job)
