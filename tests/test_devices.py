"""Several devices and hosts compute what one does: processes on this machine play the hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rezoo
from rezoo.data.dataset_references import dataset_spec
from rezoo.errors import SpecError
from rezoo.launching.messages import free_port
from rezoo.models.devices import ONE, Devices
from rezoo.recipes import resolve_recipe
from rezoo.specs import Preprocessing
from rezoo.training.agreement import Agreement, Wishes
from rezoo.training.network import check_batch
from rezoo.training.step import Outcome
from same_bits import different, state
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

EVERYTHING = {
    "model": NETWORK, "dataset": "digits", "batch_size": 64, "image_size": 8, "epochs": 2,
    "warmup_epochs": 0.5, "learning_rate": 0.002, "auto_augment": "ta_wide", "color_jitter": 0.4,
    "random_erase": 0.3, "mixup_alpha": 0.2, "cutmix_alpha": 1.0, "repeated_augmentation": 2,
    "label_smoothing": 0.1, "ema_decay": 0.99, "accumulation": 2, "clip_norm": 1.0,
    "precision": "float32",
}  # fmt: skip
PLAYER = Path(__file__).with_name("on_devices.py")
IN_RELATION = 1e-6


def start(job: dict, *, devices: int = 1) -> subprocess.Popen:
    """Start a process that plays a host with so many devices."""
    site = next(p for p in sys.path if (Path(p) / "tiny-1.dist-info").exists())
    # most of the time is XLA's, which compiles faster what it optimizes less
    flags = f"--xla_force_host_platform_device_count={devices} {os.environ.get('XLA_FLAGS', '')}"
    flags += " --xla_backend_optimization_level=0"
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(PLAYER), json.dumps({"site": site, **job})],
        env={**os.environ, "XLA_FLAGS": flags, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait(processes: list[subprocess.Popen], code: int | None = 0) -> None:
    for process in processes:
        text, _ = process.communicate(timeout=500)
        assert code is None or process.returncode == code, text[-3000:]


def lines(trace: Path) -> list[dict]:
    return [json.loads(line) for line in trace.read_text().splitlines()]


def train(folder: Path, *, hosts: int = 1, devices: int = 1, code: int | None = 0, **keys) -> list:
    """Train on hosts of so many devices, and return what each has traced."""
    folder.mkdir(exist_ok=True)
    traces = [
        folder / f"trace{keys.get('seed', '')}.{host}.{hosts}x{devices}" for host in range(hosts)
    ]
    special = {key: keys.pop(key) for key in ("die_at",) if key in keys}
    keys = {**EVERYTHING, "output": str(folder / "run"), "devices": devices, **keys}
    port, processes = free_port(), []
    for host, trace in enumerate(traces):
        if hosts > 1:
            keys["hosts"] = f"127.0.0.1:{port},{hosts},{host}"
        job = {"what": "train", "keys": keys, "trace": str(trace), **special}
        processes.append(start(job, devices=devices))
    wait(processes, code)
    return [lines(trace) for trace in traces]


def losses(trace: list[dict]) -> dict[tuple[int, int], float]:
    return {(x["epoch"], x["step"]): x["loss"] for x in trace if "loss" in x}


def examples(traces: list[list[dict]]) -> dict[tuple[int, int], list[int]]:
    """Return the examples of each step, those of the hosts put together in each micro-batch."""
    of_hosts = [
        {(x["epoch"], x["step"]): x["examples"] for x in trace if "examples" in x}
        for trace in traces
    ]
    return {
        at: [i for parts in zip(*(found[at] for found in of_hosts), strict=True) for part in parts
             for i in part]
        for at in of_hosts[0]
    }  # fmt: skip


def close(found: dict, wanted: dict) -> None:
    assert found.keys() == wanted.keys()
    for at, loss in wanted.items():
        assert abs(found[at] - loss) <= IN_RELATION * abs(loss), at


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder and the trace of a run on one device, with JAX."""
    folder = tmp_path_factory.mktemp("alone")
    (trace,) = train(folder)
    return folder, trace


@pytest.mark.slow
def test_each_step_on_several_devices_is_that_on_one(tmp_path):
    """30 steps, and one step from each of the 30 states of a single device."""
    trace, count = tmp_path / "trace", 30
    keys = {**EVERYTHING, "batch_size": 32, "stochastic_depth": 0.0}
    job = {"what": "steps", "keys": keys, "trace": str(trace), "devices": [2, 4], "steps": count}
    wait([start(job, devices=4)])
    found = json.loads(trace.read_text())
    one = found.pop("1")["losses"]
    assert found.keys() == {"2", "4"}
    assert len(one) == count
    for several in found.values():
        close(dict(enumerate(several["losses"])), dict(enumerate(one)))
        assert len(several["differences"]) == count
        # rounding: half of them are below 4e-7, and one in 60 is above 1e-6
        assert np.median(several["differences"]) <= IN_RELATION
        assert max(several["differences"]) <= 2 * IN_RELATION


@pytest.mark.ci
def test_two_hosts_train_as_one(alone, tmp_path):
    _, one = alone
    first, second = train(tmp_path, hosts=2, devices=2)
    close(losses(first), losses(one))
    assert examples([first, second]) == examples([one])
    states = [[x["state"] for x in trace if "state" in x] for trace in (first, second)]
    assert states[0] == states[1]
    assert len(states[0]) == EVERYTHING["epochs"]
    wanted, found = (trace[-1]["metrics"] for trace in (one, first))
    assert {k: v for k, v in found.items() if k != "loss"} == {
        k: v for k, v in wanted.items() if k != "loss"
    }
    assert second[-1]["metrics"] is None  # the second one writes nothing
    assert rezoo.evaluate(tmp_path / "run", split="val").scores.count == found["count"]


@pytest.mark.slow
@pytest.mark.parametrize(("hosts", "devices"), [(1, 2), (1, 4), (2, 1), (4, 1)])
def test_hosts_and_devices_train_as_one(alone, tmp_path, hosts, devices):
    traces = train(tmp_path, hosts=hosts, devices=devices)
    close(losses(traces[0]), losses(alone[1]))
    assert examples(traces) == examples([alone[1]])


@pytest.mark.slow
def test_two_hosts_that_were_killed_go_on_to_the_same_bits(tmp_path):
    train(tmp_path / "whole", hosts=2)
    often = {"checkpoint_every": "3steps"}
    train(tmp_path / "killed", hosts=2, die_at=[0, 8], code=None, **often)
    assert not (tmp_path / "killed/run/metrics.json").exists()
    train(tmp_path / "killed", hosts=2, die_at=[1, 12], code=None, resume=True, **often)
    train(tmp_path / "killed", hosts=2, resume=True, **often)
    assert different(tmp_path / "killed/run", tmp_path / "whole/run") == set()
    train(tmp_path / "seed", hosts=2, seed=1)
    assert different(tmp_path / "seed/run", tmp_path / "whole/run")


@pytest.mark.slow
def test_a_run_goes_from_one_host_to_two_and_back_with_the_same_examples(alone, tmp_path):
    wanted, found = examples([alone[1]]), {}
    often = {"checkpoint_every": "3steps"}
    for hosts, die_at in ((1, [0, 8]), (2, [1, 9]), (1, None)):
        stop = {"die_at": die_at} if die_at else {"code": 0}
        found.update(
            examples(
                train(
                    tmp_path,
                    hosts=hosts,
                    resume=hosts > 1 or not die_at,
                    **{"code": None, **stop, **often},
                )
            )
        )
    assert found == wanted


@pytest.mark.slow
def test_a_checkpoint_crosses_over_between_tensorflow_and_two_devices_of_jax(tmp_path):
    keys = {**EVERYTHING, "epochs": 1, "schedule": "constant", "verbose": 0}
    folder = tmp_path / "run"
    rezoo.train(**keys, output=folder)
    train(tmp_path, devices=2, resume=True, epochs=2, schedule="constant", allow_change=True)
    _, position = state(folder)
    assert position["epoch"] == 2
    run = rezoo.train(**{**keys, "epochs": 3}, output=folder, resume=True, allow_change=True)
    assert run.metrics["epochs"] == 3
    texts = json.loads((folder / "environment.json").read_text())["changes"]
    assert "backend" in json.dumps(texts)


@pytest.mark.slow
@pytest.mark.parametrize("hosts", [2, 3, 4])
def test_hosts_evaluate_each_image_once(alone, tmp_path, hosts):
    folder = alone[0] / "run"
    wanted = rezoo.evaluate(folder, split="val").scores
    port, processes, traces = free_port(), [], [tmp_path / str(host) for host in range(hosts)]
    for host, trace in enumerate(traces):
        keys = {"model": str(folder), "split": "val", "hosts": f"127.0.0.1:{port},{hosts},{host}"}
        processes.append(start({"what": "evaluate", "keys": keys, "trace": str(trace)}))
    wait(processes)
    for trace in traces:
        found = json.loads(trace.read_text())
        assert found["count"] == wanted.count == 143
        assert found["top1"] == wanted.top1
        assert found["top1_interval"] == list(wanted.top1_interval)
        assert found["confusions"] == [list(x) for x in wanted.confusions]
        assert found["loss"] == pytest.approx(wanted.loss, rel=1e-6)


# without other processes


def test_a_batch_that_does_not_divide_names_the_next_sizes():
    recipe, _ = resolve_recipe(
        "quick", dataset_spec("digits"), {"batch_size": 100}, preprocessing=Preprocessing()
    )
    check_batch(recipe, ONE)
    check_batch(recipe, Devices(hosts=2, count=4))
    with pytest.raises(SpecError, match="a batch of 100 cannot be divided between 8 devices") as e:
        check_batch(recipe, Devices(count=8))
    assert "--batch-size 96 or 104" in e.value.hint


def test_a_host_that_is_alone_does_at_once_what_it_wishes():
    agreement, wishes = Agreement(ONE), Wishes(signal=15, save=1)
    assert agreement.pass_on(wishes) == Wishes()
    assert agreement.after(Outcome(np.zeros(4)), wishes) == wishes


def test_hosts_do_what_one_of_them_wishes_one_step_late():
    agreement = Agreement(Devices(hosts=2, count=2))
    assert agreement.pass_on(Wishes(save=1)) == Wishes(save=1)
    assert agreement.after(Outcome(np.float32([1, 2, 3, 1, 15, 1])), Wishes()) == Wishes()
    assert agreement.pass_on(Wishes(save=1)) == Wishes()  # it is on its way
    now = agreement.after(Outcome(np.float32([1, 2, 3, 1, 0, 0])), Wishes())
    assert now == Wishes(signal=15, save=1)


def test_only_the_first_host_wishes_to_save():
    agreement = Agreement(Devices(host=1, hosts=2, count=2))
    assert agreement.pass_on(Wishes(signal=2, save=1)) == Wishes(signal=2)


def test_images_are_divided_so_that_each_is_in_one_share():
    shares = [Devices(host=host, hosts=3, count=3).share(143) for host in range(3)]
    assert np.concatenate(shares).tolist() == list(range(143))


def test_several_devices_are_refused_where_keras_computes_on_tensorflow(tmp_path):
    with pytest.raises(SpecError, match="Keras computes on tensorflow already") as caught:
        rezoo.train(NETWORK, "digits", devices=2, output=tmp_path / "run")
    assert "KERAS_BACKEND=jax" in caught.value.hint
