"""`--hosts`: what is read from the text and from the environment of clusters."""

from __future__ import annotations

import json

import pytest

from conftest import fails
from rezoo.errors import SpecError
from rezoo.utils.hosts import Hosts, Worker

SLURM = {
    "SLURM_JOB_ID": "1234567",
    "SLURM_NTASKS": "5",
    "SLURM_PROCID": "3",
    "SLURM_STEP_NODELIST": "gpu[01-03,07],login",
}
TPU = {"TPU_WORKER_ID": "1", "TPU_WORKER_HOSTNAMES": "10.0.0.1,10.0.0.2"}
JOB = {"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "4", "JOB_FIRST_HOST": "train-0.train"}


def tf_config(kind: str, index: int, **cluster: list[str]) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def auto(environment: dict[str, str]) -> tuple[object, ...]:
    hosts = Hosts.parse("auto", environment)
    return hosts.address, hosts.port, hosts.count, hosts.index


@pytest.mark.parametrize(
    ("text", "address", "port", "count", "index"),
    [
        ("10.0.0.1:29400,4,0", "10.0.0.1", 29400, 4, 0),
        (" node-7.cluster:1,1,0 ", "node-7.cluster", 1, 1, 0),
        ("[fe80::1]:29400,2,1", "fe80::1", 29400, 2, 1),
    ],
)
def test_hosts_are_read_from_the_text(text, address, port, count, index):
    expected = Hosts(address=address, port=port, count=count, index=index)
    assert Hosts.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not ADDRESS:PORT,N,INDEX"),
        ("node", "is not ADDRESS:PORT,N,INDEX"),
        ("node:1,2", "is not ADDRESS:PORT,N,INDEX"),
        ("node:x,2,0", "is not ADDRESS:PORT,N,INDEX"),
        ("node:0,2,0", "PORT is 0; it must be from 1 to 65535"),
        ("node:65536,2,0", "PORT is 65536"),
        ("node:1,0,0", "N is 0; it must be from 1 to"),
        ("node:1,2,2", "INDEX is 2; it must be from 0 to 1"),
        ("::1:29400,2,0", "an IPv6 address stands in brackets"),
        ("[node]:29400,2,0", "'node' is not an address"),
        ("[::g]:29400,2,0", "'::g' is not an address"),
        ("a b:29400,2,0", "'a b' is not an address"),
        ("x;rm:29400,2,0", "'x;rm' is not an address"),
    ],
)
def test_a_text_of_another_form_is_refused(text, words):
    with pytest.raises(SpecError, match="--hosts") as caught:
        Hosts.parse(text)
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


def test_slurm_names_its_nodes():
    assert auto(SLURM) == ("gpu01", 61440 + 1234567 % 4000, 5, 3)
    assert Hosts.parse("auto", SLURM).names == ("gpu01", "gpu02", "gpu03", "gpu07", "login")
    several = {**SLURM, "SLURM_STEP_NODELIST": "r[1-2]n[08-09],x"}
    assert Hosts.parse("auto", several).names == ("r1n08", "r1n09", "r2n08", "r2n09", "x")
    assert auto({**SLURM, "SLURM_STEP_ID": "2"})[1] == auto(SLURM)[1] + 2


def test_tpu_kubernetes_and_tf_config_name_the_first_host():
    assert auto(TPU) == ("10.0.0.1", 29400, 2, 1)
    assert auto(JOB) == ("train-0.train", 29400, 4, 2)
    workers = ["a:2222", "b:2223"]
    assert auto(tf_config("worker", 1, worker=workers)) == ("a", 2222, 2, 1)
    assert auto(tf_config("worker", 1, worker=workers, chief=["c:1"])) == ("c", 1, 3, 2)
    assert auto(tf_config("chief", 0, worker=workers, chief=["c:1"])) == ("c", 1, 3, 0)
    assert auto(tf_config("worker", 0, worker=["[::1]:5"])) == ("::1", 5, 1, 0)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "there are no variables of SLURM"),
        ({**SLURM, "SLURM_NTASKS": "10"}, "started 10 tasks on 5 nodes"),
        ({**SLURM, "SLURM_STEP_NODELIST": ""}, "SLURM_STEP_NODELIST is not set"),
        ({**SLURM, "SLURM_STEP_NODELIST": "gpu[01-"}, "not names of nodes"),
        ({**SLURM, "SLURM_STEP_NODELIST": "gpu[3-1]"}, "not names of nodes"),
        ({**SLURM, "SLURM_STEP_NODELIST": "gpu[0-999999999]"}, "not names of nodes"),
        ({**SLURM, "SLURM_PROCID": "5"}, "INDEX is 5; it must be from 0 to 4"),
        ({**SLURM, "SLURM_NTASKS": "many"}, "SLURM_NTASKS is 'many'"),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, "TPU_WORKER_ID is ''"),
        ({"JOB_COMPLETION_INDEX": "0"}, "JOB_COMPLETIONS and JOB_FIRST_HOST must be set"),
        ({**JOB, "JOB_FIRST_HOST": "a b"}, "'a b' is not an address"),
        ({"TF_CONFIG": "{"}, "TF_CONFIG is not valid JSON"),
        ({"TF_CONFIG": "{}"}, "key cluster is missing"),
        (tf_config("ps", 0, worker=["a:1"]), "task type 'ps'"),
        (tf_config("worker", 1, worker=["a:1"]), "INDEX is 1; it must be from 0 to 0"),
        (tf_config("worker", 0, worker=["a"]), "it must be host:port"),
    ],
)
def test_a_missing_or_wrong_variable_is_named(environment, words):
    with pytest.raises(SpecError, match="--hosts auto: ") as caught:
        Hosts.parse("auto", environment)
    assert words in str(caught.value)


def test_the_worker_reads_what_its_supervisor_wrote():
    worker = Worker(coordinator="a:1", hosts=2, host=1, restarted=True, stderr=5)
    assert Worker.of_environment(worker.to_environment()) == worker
    assert Worker.of_environment({}) is None
    assert Hosts.parse(worker.place) == Hosts(address="a", port=1, count=2, index=1)
    given = {"coordinator": "a:1", "hosts": 2, "host": 1, "restarted": False}
    assert Worker.of_environment({"REZOO_WORKER": json.dumps(given)}) == Worker(**given)
    for wrong in (
        "{",
        "[]",
        "{}",
        json.dumps({**given, "host": 2}),
        json.dumps({**given, "host": "1"}),
    ):
        with pytest.raises(SpecError, match="REZOO_WORKER"):
            Worker.of_environment({"REZOO_WORKER": wrong})


def test_the_command_line_refuses_what_cannot_run_on_hosts(call, monkeypatch):
    monkeypatch.delenv("REZOO_START_TIMEOUT", raising=False)
    fails(call("train", "resnet18", "--hosts", "a:1,2"), 2, "is not ADDRESS:PORT,N,INDEX")
    fails(call("eval", "resnet18", "--hosts", "auto"), 2, "there are no variables")
    fails(call("predict", "resnet18", "a.jpg", "--restarts", "1"), 2, "give --hosts")
    fails(call("launch", "2", "--", "info", "resnet18"), 2, "launch cannot run 'info'")
    fails(call("launch", "2", "--", "train", "--nosuch"), 2, "No such option '--nosuch'")
    hosts = ("--hosts", "a:1,2,0")
    fails(call("launch", "2", "--", "train", "resnet18", *hosts), 2, "leave launch out")
    monkeypatch.setenv("REZOO_START_TIMEOUT", "soon")
    fails(call("train", "resnet18", *hosts), 2, "REZOO_START_TIMEOUT='soon' is not a duration")
