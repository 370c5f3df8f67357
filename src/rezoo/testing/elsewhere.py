"""What a check asks another Python process: a fresh import, another backend, another order.

`python -m rezoo.testing.elsewhere TASK ANSWER ARGUMENT…` writes its answer to a JSON file.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

_SECONDS = 600


def ask(task: str, scratch: Path, *arguments: str, **variables: str) -> Any:
    """Run a task of this module in another process; return its answer.

    The process has the `sys.path` of this one.

    Args:
        task: `import`, `logits` or `order`.
        scratch: A folder for the answer.
        *arguments: Those of the task's function.
        **variables: Of the environment.

    Raises:
        RuntimeError: The task failed; the message is the last line on stderr.
    """
    answer = scratch / f"{task}.json"
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-P", "-m", __name__, task, str(answer), *arguments],
        env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=_SECONDS,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(lines[-1])
    return json.loads(answer.read_text("utf-8"))


def import_spec(reference: str) -> dict[str, Any]:
    """Import the object of an entry point: milliseconds, new modules, and what it printed."""
    import rezoo.registry  # noqa: F401 - `rezoo list` has it already

    before, printed = set(sys.modules), io.StringIO()
    begun = time.perf_counter()
    with contextlib.redirect_stdout(printed):
        EntryPoint("", reference, "").load()
    seconds = time.perf_counter() - begun
    modules = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
    return {"ms": 1000 * seconds, "modules": modules, "printed": printed.getvalue().strip()}


def logits(folder: str, images: str) -> list[list[float]]:
    """Load a folder with weights; return the logits of images in an `.npy` file."""
    import numpy as np

    from rezoo.evaluation.forward import compiled_forward
    from rezoo.sources.load import load

    logits_of = compiled_forward(load(Path(folder)))
    return [[float(value) for value in row] for row in logits_of(np.load(images))]


def order(name: str) -> dict[str, str]:
    """Open a dataset; return a digest of keys and labels of each split."""
    from rezoo.data.datasets import open_splits
    from rezoo.testing.dataset_checks import digests

    return digests(open_splits(name))


if __name__ == "__main__":
    tasks: dict[str, Callable[..., Any]] = {
        "import": import_spec,
        "logits": logits,
        "order": order,
    }
    _, task, answer, *arguments = sys.argv
    Path(answer).write_text(json.dumps(tasks[task](*arguments)), "utf-8")
