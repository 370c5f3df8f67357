"""The hosts of a run: where they meet, how many they are, and which of them this one is.

A host is a machine that runs one process, on all of its devices. Loads without NumPy.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from rezoo.errors import RezooError, SpecError
from rezoo.utils.documents import parse_json, short
from rezoo.utils.schemas import FLAG, conform, integer, optional, text

WORKER_VARIABLE = "REZOO_WORKER"
PEERS_LOST = 75  # exit code of a worker that lost the other hosts; its supervisor names the cause
MAX_HOSTS = 4096
_PORT = 29400  # where neither the user nor the environment names one
_FORM = "write ADDRESS:PORT,N,INDEX (10.0.0.1:29400,4,0: the first of 4 hosts), or auto."
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?")
_WORKER = {
    "coordinator": text(300),
    "hosts": integer(1, MAX_HOSTS),
    "host": integer(0, MAX_HOSTS - 1),
    "restarted": FLAG,
    "stdout?": optional(integer(0, 1 << 20)),
    "stderr?": optional(integer(0, 1 << 20)),
    "supervisor?": optional(integer(0, 1 << 20)),
}


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """All hosts of a run, as one of them sees them.

    Attributes:
        address: Name or IP address of the first host.
        port: Port at which the first host listens.
        count: Number of hosts.
        index: Number of this host, from 0.
        names: Names of all hosts in their order, or empty.
    """

    address: str
    port: int
    count: int
    index: int
    names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, given: str, environment: Mapping[str, str] = os.environ) -> Hosts:
        """Return the hosts of `ADDRESS:PORT,N,INDEX`, or of the environment for `auto`.

        Args:
            given: The text. An IPv6 address stands in brackets.
            environment: Variables of SLURM, Cloud TPU, TF_CONFIG or a Kubernetes Job.

        Raises:
            SpecError: The text has another form, or a variable is missing or not allowed.
        """
        if given.strip() == "auto":
            return _from_environment(environment)
        found = re.fullmatch(r"(.+):([0-9]{1,5}),([0-9]{1,5}),([0-9]{1,5})", given.strip())
        if not found:
            raise SpecError(f"--hosts {short(given)} is not ADDRESS:PORT,N,INDEX", hint=_FORM)
        address, *sizes = found.groups()
        port, count, index = map(int, sizes)
        inside = re.fullmatch(r"\[(.*)\]", address)
        address = inside[1] if inside else address
        hosts = cls(address=address, port=port, count=count, index=index)
        return hosts._checked(f"--hosts {short(given)}", bracketed=bool(inside))

    def _checked(self, origin: str, *, bracketed: bool) -> Hosts:
        if not (_is_ipv6(self.address) if bracketed else _NAME.fullmatch(self.address)):
            brackets = "; an IPv6 address stands in brackets" if ":" in self.address else ""
            raise SpecError(f"{origin}: {short(self.address)} is not an address{brackets}")
        for name, value, low, high in (
            ("PORT", self.port, 1, 65535),
            ("N", self.count, 1, MAX_HOSTS),
            ("INDEX", self.index, 0, self.count - 1),
        ):
            if not low <= value <= high:
                raise SpecError(f"{origin}: {name} is {value}; it must be from {low} to {high}")
        return self

    def named(self, index: int) -> str:
        """Return the number of a host, with its name if that is known."""
        return f"{index} ({self.names[index]})" if self.names else str(index)


@dataclass(frozen=True, kw_only=True)
class Worker:
    """What a supervisor gives to the process that it starts, in `REZOO_WORKER`.

    Attributes:
        coordinator: `address:port` at which the processes of JAX meet; the first one listens.
        hosts: Number of hosts.
        host: Number of this host, from 0.
        restarted: The run was begun before, and continues from its last checkpoint.
        stdout: File descriptor for what is printed; None if it is not shown.
        stderr: The same for what is printed on stderr.
        supervisor: File descriptor that can be read once the supervisor has ended; None if the
            worker has none.
    """

    coordinator: str
    hosts: int
    host: int
    restarted: bool = False
    stdout: int | None = None
    stderr: int | None = None
    supervisor: int | None = None

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """Return the value of `REZOO_WORKER`; None if this process is not a worker.

        Raises:
            SpecError: The value is not valid.
        """
        content = environment.get(WORKER_VARIABLE)
        if not content:
            return None
        try:
            values = parse_json(content, WORKER_VARIABLE, most=2000)
            conform(values, _WORKER, WORKER_VARIABLE)
        except RezooError as error:
            raise SpecError(error.message, hint="a supervisor sets it: give --hosts.") from error
        worker = cls(**{key: values[key] for key in cls.__dataclass_fields__ if key in values})
        if worker.host >= worker.hosts:
            raise SpecError(f"{WORKER_VARIABLE}: host {worker.host} is not one of {worker.hosts}")
        return worker

    @property
    def place(self) -> str:
        """The text that `Hosts.parse` reads: the first process of JAX, and this one's number."""
        return f"{self.coordinator},{self.hosts},{self.host}"

    @property
    def is_first(self) -> bool:
        """Whether this host writes files and prints."""
        return self.host == 0

    def to_environment(self) -> dict[str, str]:
        """Return the variable."""
        return {WORKER_VARIABLE: json.dumps(vars(self))}

    def keeps(self, words: str) -> None:
        """Leave a hint that the first host shows if a host fails: what is kept, how to continue."""
        os.write(2, f"{KEPT}{words}\n".encode(errors="replace"))


KEPT = "Kept: "


def join(address: str, port: int) -> str:
    """Return `address:port`; an IPv6 address stands in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _is_ipv6(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 6
    except ValueError:
        return False


def _from_environment(env: Mapping[str, str]) -> Hosts:
    """Return the hosts from the first system that has set its variables."""
    for variable, read in (
        ("SLURM_PROCID", _of_slurm),
        ("TPU_WORKER_HOSTNAMES", _of_tpu),
        ("TF_CONFIG", _of_tf_config),
        ("JOB_COMPLETION_INDEX", _of_kubernetes),
    ):
        if env.get(variable):
            found = read(env)
            return found._checked("--hosts auto", bracketed=":" in found.address)
    systems = "SLURM, Cloud TPU, TF_CONFIG, or an Indexed Job of Kubernetes"
    raise SpecError(f"--hosts auto: there are no variables of {systems}", hint=_FORM)


def _of_slurm(env: Mapping[str, str]) -> Hosts:
    if not env.get("SLURM_STEP_NODELIST"):
        hint = "start it with srun --ntasks-per-node=1 rezoo …"
        raise SpecError("--hosts auto: SLURM_STEP_NODELIST is not set", hint=hint)
    names = tuple(_nodes(env["SLURM_STEP_NODELIST"]))
    tasks = _number(env, "SLURM_NTASKS", default=env.get("SLURM_STEP_NUM_TASKS"))
    if tasks != len(names):
        raise SpecError(
            f"--hosts auto: SLURM started {tasks} tasks on {len(names)} nodes; one process "
            "computes on all devices of its node",
            hint="use srun --ntasks-per-node=1.",
        )
    # the same for all tasks of a step, and above the ports that Linux gives to connections
    port = 61440 + (_number(env, "SLURM_JOB_ID") + _number(env, "SLURM_STEP_ID", "0")) % 4000
    index = _number(env, "SLURM_PROCID")
    return Hosts(address=names[0], port=port, count=tasks, index=index, names=names)


def _of_tpu(env: Mapping[str, str]) -> Hosts:
    names = tuple(name.strip() for name in env["TPU_WORKER_HOSTNAMES"].split(","))
    index = _number(env, "TPU_WORKER_ID")
    return Hosts(address=names[0], port=_PORT, count=len(names), index=index, names=names)


def _of_tf_config(env: Mapping[str, str]) -> Hosts:
    places = text(300, pattern=r"[^\s,]+:[0-9]{1,5}", words="host:port")
    schema = {
        "cluster": {"chief?": [places], "worker?": [places]},
        "task": {"type": text(20), "index": integer(0, MAX_HOSTS - 1)},
    }
    try:
        values = parse_json(env["TF_CONFIG"], "TF_CONFIG", most=1 << 20)
        conform(values, schema, "TF_CONFIG")
    except RezooError as error:
        raise SpecError(f"--hosts auto: {error.message}") from error
    cluster, task = values["cluster"], values["task"]
    chiefs, workers = cluster.get("chief", []), cluster.get("worker", [])
    if task["type"] not in ("chief", "worker") or not chiefs + workers:
        kind = short(task["type"])
        raise SpecError(f"--hosts auto: TF_CONFIG has task type {kind}; it must be worker or chief")
    names = tuple(place.rpartition(":")[0].strip("[]") for place in chiefs + workers)
    port = int((chiefs + workers)[0].rpartition(":")[2])
    index = task["index"] + (len(chiefs) if task["type"] == "worker" else 0)
    return Hosts(address=names[0], port=port, count=len(names), index=index, names=names)


def _of_kubernetes(env: Mapping[str, str]) -> Hosts:
    missing = [name for name in ("JOB_COMPLETIONS", "JOB_FIRST_HOST") if not env.get(name)]
    if missing:
        hint = "set them in the Job: its completions, and <job>-0.<service>, the first pod's name."
        raise SpecError(f"--hosts auto: {' and '.join(missing)} must be set, too", hint=hint)
    count, index = _number(env, "JOB_COMPLETIONS"), _number(env, "JOB_COMPLETION_INDEX")
    return Hosts(address=env["JOB_FIRST_HOST"], port=_PORT, count=count, index=index)


def _number(env: Mapping[str, str], name: str, default: str | None = None) -> int:
    value = env.get(name) or default or ""
    if not re.fullmatch("[0-9]{1,18}", value):
        raise SpecError(f"--hosts auto: {name} is {short(value)}; it must be a number")
    return int(value)


def _nodes(listed: str) -> Iterator[str]:
    """Return the names of SLURM's short form: `gpu[01-03,07],login` are five."""
    count = 0
    for part in re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+", listed):
        for name in _expanded(part):
            count += 1
            if count > MAX_HOSTS or not _NAME.fullmatch(name):
                shown = short(listed)
                raise SpecError(f"--hosts auto: SLURM_STEP_NODELIST is {shown}, not names of nodes")
            yield name


def _expanded(part: str) -> Iterator[str]:
    before, bracket, rest = part.partition("[")
    if not bracket:
        yield part
        return
    inside, _, after = rest.partition("]")
    for item in inside.split(","):
        found = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", item)
        first, last = found.groups() if found else ("", None)
        numbers = range(int(first), int(last or first) + 1) if first else range(0)
        if not numbers:
            yield part  # not a name: an error
        for number in numbers:
            yield from _expanded(f"{before}{number:0{len(first)}d}{after}")
