"""The devices that compute together, on one host or several, on JAX.

A host is a process that computes on all devices of its machine. Each device computes its part of
the batch. All variables are the same on all devices, so each host has the whole state of a run.
What is computed does not depend on the number of devices, but for rounding: batch statistics are
those of the whole batch.

Loads without Keras.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rezoo.errors import LostHostError, SpecError
from rezoo.models.settings import choose_jax
from rezoo.utils.hosts import Hosts, join

if TYPE_CHECKING:
    import numpy as np

_AXIS = "batch"  # Keras's name
_HEARTBEAT_S = 10
_START_S = 300  # from the first host to the last
_CHUNK = 1 << 26  # bytes that one message has at most
# in errors of JAX if a process of the run has ended, or is not reached
_LOST = ("Gloo", "NCCL", "coordination service", "Connection closed by peer", "DEADLINE_EXCEEDED")


@dataclass(frozen=True, kw_only=True)
class Devices:
    """The devices that compute together, as one of their hosts sees them.

    Attributes:
        host: Number of this host, from 0.
        hosts: Number of hosts.
        count: Number of devices of all hosts.
        mesh: Of JAX, all devices in the order of hosts; None for a single device.
    """

    host: int = 0
    hosts: int = 1
    count: int = 1
    mesh: Any = None

    def __str__(self) -> str:
        on = f" on {self.hosts} hosts" if self.hosts > 1 else ""
        return f"{self.count} devices{on}, each with its part of the batch; they compute with JAX"

    @property
    def is_first(self) -> bool:
        """Whether this host writes files and prints."""
        return self.host == 0

    def sharding(self, *, divided: bool) -> Any:
        """Return JAX's sharding of arrays: divided by their first axis, or the same everywhere."""
        import jax

        axes = (_AXIS,) if divided else ()
        return jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec(*axes))

    def whole(self, part: Any) -> Any:
        """Return an array of all hosts, of which `part` is this one's; B divides by its devices.

        Args:
            part: `(B, …)`, in the memory of the host or on a device.
        """
        if self.mesh is None:
            return part
        import jax
        import numpy as np

        divided = self.sharding(divided=True)
        if isinstance(part, jax.Array) and part.sharding == divided:
            return part
        return jax.make_array_from_process_local_data(divided, np.asarray(part))

    def part(self, whole: Any) -> np.ndarray:
        """Return this host's part of an array that `whole` returned, or of one of its own."""
        import numpy as np

        if getattr(whole, "is_fully_addressable", True):
            return np.asarray(whole)
        shards = sorted(whole.addressable_shards, key=lambda shard: shard.index[0].start or 0)
        return np.concatenate([np.asarray(shard.data) for shard in shards])

    def share(self, count: int) -> np.ndarray:
        """Return which of so many images this host has: consecutive indices, int64."""
        import numpy as np

        return np.array_split(np.arange(count), self.hosts)[self.host]

    def gather(self, values: np.ndarray) -> np.ndarray:
        """Return the arrays of all hosts in their order, joined along the first axis.

        All hosts must call it. Lengths may differ.
        """
        import numpy as np

        if self.hosts == 1:
            return values
        values = np.ascontiguousarray(values)
        parts = [np.frombuffer(x, values.dtype) for x in _all_bytes(values.tobytes())]
        return np.concatenate([x.reshape(-1, *values.shape[1:]) for x in parts])

    def exchange(self, value: Any) -> list[Any]:
        """Return the values of all hosts in their order; they are JSON values."""
        if self.hosts == 1:
            return [value]
        return [json.loads(content) for content in _all_bytes(json.dumps(value).encode())]

    def from_first(self, value: Any) -> Any:
        """Return the first host's value, a JSON value; the others' are not used."""
        if self.hosts == 1:
            return value
        return json.loads(_first_bytes(json.dumps(value if self.is_first else None).encode()))

    def arrays_from_first(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the first host's arrays, to the bit; the others' have the same shapes."""
        import numpy as np

        if self.hosts == 1:
            return dict(values)
        content = _first_bytes(b"".join(value.tobytes() for value in values.values()))
        found, begin = {}, 0
        for name, value in values.items():
            part = np.frombuffer(content, value.dtype, value.size, begin)
            found[name], begin = part.reshape(value.shape), begin + value.nbytes
        return found


ONE = Devices()
"""One device, with any backend."""


@contextmanager
def joined(devices: int | str | None, hosts: str | None) -> Iterator[Devices]:
    """Let networks be built on several devices inside the block; other hosts are waited for.

    Args:
        devices: Of this host: a number, or `"all"`. None for one if there is one host, else all.
        hosts: All hosts, and which of them this process is: `"ADDRESS:PORT,N,INDEX"`.

    Raises:
        SpecError: There are not so many devices, or Keras computes on TensorFlow already.
        LostHostError: Another host did not come, or was lost inside the block.
    """
    others = None if hosts is None else Hosts.parse(hosts)
    devices = (1 if others is None else "all") if devices is None else devices
    if others is not None and others.count == 1:
        others = None
    if others is None and devices == 1:
        yield ONE
        return
    choose_jax()
    import jax
    import keras

    with lost_hosts():
        if others is not None and not jax.distributed.is_initialized():
            _connect(others)
        found = _chosen(devices, jax.devices(), others.count if others else 1)
        if len(found) == 1:
            yield ONE
            return
        before = keras.distribution.distribution()
        names = [f"{device.platform}:{device.id}" for device in found]
        data_parallel = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
        keras.distribution.set_distribution(data_parallel)
        try:
            yield Devices(
                host=jax.process_index(),
                hosts=jax.process_count(),
                count=len(found),
                mesh=data_parallel.device_mesh.backend_mesh,
            )
        finally:
            keras.distribution.set_distribution(before)


def leave() -> None:
    """End the connection to other hosts; all of them must call it.

    Networks that are built later are this host's alone.
    """
    import jax
    import keras

    keras.distribution.set_distribution(None)
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()


def on_this_host(same: Any) -> Any:
    """Return an array of JAX that is the same on all devices, on those of this host alone."""
    if same.is_fully_addressable:  # there is no other host
        return same
    import jax

    shards = same.addressable_shards
    if len(shards) == 1:
        return shards[0].data
    mesh = jax.sharding.Mesh([shard.device for shard in shards], (_AXIS,))
    here = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    arrays = [shard.data for shard in shards]
    return jax.make_array_from_single_device_arrays(same.shape, here, arrays)


def divided(images: np.ndarray, same: Any) -> Any:
    """Return images divided between the devices of a sharding of JAX; each has as many."""
    import jax

    if not isinstance(same, jax.sharding.NamedSharding):
        return images
    by_images = jax.sharding.PartitionSpec(*same.mesh.axis_names)
    return jax.device_put(images, jax.sharding.NamedSharding(same.mesh, by_images))


@contextmanager
def lost_hosts() -> Iterator[None]:
    """Report a lost connection to another host inside the block as a `LostHostError`."""
    try:
        yield
    except RuntimeError as error:
        first = (str(error).strip().splitlines() or [""])[0]
        if not any(word in str(error) for word in _LOST):
            raise
        raise LostHostError(
            f"another host of the run has ended, or is not reached: {first}",
            hint="see its own message; --resume continues the run from its last checkpoint.",
        ) from error


def _connect(hosts: Hosts) -> None:
    import jax

    jax.config.update("jax_enable_preemption_service", False)  # it replaces SIGTERM's handler
    jax.distributed.initialize(
        join(hosts.address, hosts.port),
        hosts.count,
        hosts.index,
        initialization_timeout=_START_S,
        heartbeat_timeout_seconds=_HEARTBEAT_S,
        shutdown_timeout_seconds=_START_S,
    )


def _chosen(devices: int | str, there: list[Any], hosts: int) -> list[Any]:
    """Return the devices that are used: of each host as many, in the order of hosts."""
    of_hosts = [[d for d in there if d.process_index == host] for host in range(hosts)]
    numbers = [len(found) for found in of_hosts]
    wanted = max(numbers) if devices == "all" else devices
    if isinstance(wanted, int) and 1 <= wanted <= min(numbers):
        return [device for found in of_hosts for device in found[:wanted]]
    kinds = ", ".join(dict.fromkeys(str(device.device_kind) for device in there))
    shown = ", ".join(f"{n} on host {host}" for host, n in enumerate(numbers))
    raise SpecError(
        f"devices: {devices}; JAX has {shown if hosts > 1 else numbers[0]} ({kinds})",
        hint=f"choose a number from 1 to {min(numbers)}: all hosts use as many.",
    )


def _all_bytes(content: bytes) -> list[bytes]:
    """Return the contents of all hosts in their order."""
    import numpy as np
    from jax.experimental.multihost_utils import process_allgather

    sizes = process_allgather(np.asarray(len(content), np.int32)).tolist()
    found = [bytearray() for _ in sizes]
    for chunk in _chunks(content, max(sizes)):
        for whole, part in zip(found, process_allgather(chunk), strict=True):
            whole += part.tobytes()
    return [bytes(whole[:size]) for whole, size in zip(found, sizes, strict=True)]


def _first_bytes(content: bytes) -> bytes:
    """Return the content of the first host."""
    import numpy as np
    from jax.experimental.multihost_utils import broadcast_one_to_all

    size = int(broadcast_one_to_all(np.asarray(len(content), np.int32)))
    chunks = (broadcast_one_to_all(chunk) for chunk in _chunks(content, size))
    return b"".join(np.asarray(chunk).tobytes() for chunk in chunks)


def _chunks(content: bytes, size: int) -> Iterator[np.ndarray]:
    """Yield a content as uint8 arrays, filled up with zeros to a size: all hosts send as many."""
    import numpy as np

    for begin in range(0, size, _CHUNK):
        length = min(_CHUNK, size - begin)
        chunk = np.frombuffer(content[begin : begin + length], np.uint8)
        yield np.pad(chunk, (0, length - len(chunk)))
