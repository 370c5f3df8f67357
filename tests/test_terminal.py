"""What a terminal shows: spinners, bars and the lines between them."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

WARNS = """
import time, warnings
from rezoo.cli import console, main
from rezoo.errors import DataWarning
warnings.showwarning = main._show_warning
with console.status("opening"):
    time.sleep(0.3)  # until the spinner is drawn
    warnings.warn(DataWarning("the first"))
with console.counter("evaluating") as progress:
    progress(3, 10)
    warnings.warn(DataWarning("the second"))
"""


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
def test_a_warning_does_not_share_its_line_with_a_spinner_or_a_bar():
    leader, follower = os.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    subprocess.run([sys.executable, "-c", WARNS], stderr=follower, env=env, check=True, timeout=60)
    os.close(follower)
    shown = b""
    while chunk := _read(leader):
        shown += chunk
    os.close(leader)
    for text in (b"Warning: the first", b"Warning: the second"):
        line = re.split(rb"[\r\n]", shown.partition(text)[0])[-1]
        assert text in shown
        assert re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", line) == b""
    assert b"opening" in shown.partition(b"Warning")[0]


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # nobody writes any more
        return b""
