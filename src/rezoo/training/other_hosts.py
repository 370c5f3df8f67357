"""What the other hosts of a run receive from the first one, which alone has the run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rezoo.artifacts.run_files import ENVIRONMENT, LOCAL, RECIPE
from rezoo.errors import IncompatibleError
from rezoo.models.devices import Devices
from rezoo.sources.references import Reference
from rezoo.utils.files import write_bytes

if TYPE_CHECKING:
    from rezoo.data.identity import Identity

_RECORDS = (LOCAL, RECIPE, ENVIRONMENT)  # what a run was started with


def records_for_others(devices: Devices, folder: Path, *, resume: bool) -> None:
    """Send the records of the run that is resumed to the other hosts; none of a new run.

    `folder_of_host` receives them there.
    """
    names = [name for name in _RECORDS if resume and (folder / name).exists()]
    devices.from_first({name: (folder / name).read_text("utf-8") for name in names})


@contextmanager
def folder_of_host(
    devices: Devices, resume: bool | Reference, output: str | Path | None
) -> Iterator[tuple[bool | Reference, str | Path | None]]:
    """Give each host but the first a folder of its own, with the first one's records of the run.

    No disk is shared, and nothing of that folder is kept.

    Args:
        devices: Of the run.
        resume: Of `rezoo.train`.
        output: Likewise.

    Returns:
        `resume` and `output` of this host.
    """
    if devices.is_first:
        yield resume, output
        return
    records: dict[str, str] = devices.from_first(None)
    with TemporaryDirectory(prefix="rezoo-") as temporary:
        folder = Path(temporary, "run")
        for name, content in records.items():
            os.makedirs((folder / name).parent, exist_ok=True)
            write_bytes(folder / name, content.encode())
        yield (resume if isinstance(resume, bool) else folder), folder


def check_same_data(identity: Identity, devices: Devices) -> None:
    """Check that all hosts have the same images with the same labels.

    Raises:
        IncompatibleError: One has others than the first.
    """
    found: list[dict[str, Any]] = devices.exchange(
        {split: part.sha256 for split, part in identity.splits.items()}
    )
    for host, splits in enumerate(found):
        if wrong := sorted(s for s in splits.keys() | found[0] if splits.get(s) != found[0].get(s)):
            raise IncompatibleError(
                f"host {host} has other images or labels than host 0 in {', '.join(wrong)}",
                hint="all hosts need the same files with the same names: copy or prepare them "
                "from one source.",
            )
