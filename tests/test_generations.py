"""Two generations of a run's state: kills inside a save, flipped bits, cuts, foreign files."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from rezoo.artifacts.safetensors import check_digest
from rezoo.errors import IntegrityError, ResourceError, RunWarning
from rezoo.training import old_run
from rezoo.training.generations import Content, Generations, read_whole

VALUES = {
    "model.1": np.arange(6, dtype=np.float32).reshape(2, 3),
    "model.0": np.arange(5, dtype=np.uint8),
    "half": np.array([1, -2], ml_dtypes.bfloat16),
    "empty": np.zeros((0, 3), np.float32),
    "seed": np.array([7, 2**32 - 1], np.uint32),
    "steps": np.array(12, np.int64),
}


def content(number: int) -> Content:
    """A state that is known by its number."""
    return Content({**VALUES, "steps": np.array(number)}, {"rezoo": f'{{"é": {number}}}'})


def number(found: Content, path: Path | None = None) -> int:
    assert found.metadata["rezoo"] == f'{{"é": {found.values["steps"]}}}'
    return int(found.values["steps"])


def two(folder: Path) -> Generations:
    files = Generations(folder)
    files.write(content(1))
    files.write(content(2))
    return files


def test_a_file_is_read_by_the_library_and_ends_in_its_hash(tmp_path):
    files = two(tmp_path)
    check_digest(files.last)
    found = safetensors.numpy.load_file(files.last)
    assert len(found.pop("sha256")) == 32
    expected = content(2).values
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
        assert found[name].tobytes() == value.tobytes()
    assert number(read_whole(files.previous)) == 1


def damaged(folder: Path, change) -> bytes:
    """Change the bytes of `last` and expect that `previous` is used, with one warning."""
    files = Generations(folder)
    good = files.last.read_bytes()
    files.last.write_bytes(change(good))
    with pytest.warns(RunWarning, match="The checkpoint before it is used: .*previous") as caught:
        assert files.read(number) == 1
    assert len(caught) == 1
    files.last.write_bytes(good)


def flipped(content: bytes, bit: int) -> bytes:
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


def flip_bits(folder: Path, count: int) -> None:
    """Flip bits in turn, among them each of the length's, and of the first and the last bytes."""
    size = 8 * two(folder).last.stat().st_size
    drawn = random.Random(0).sample(range(size), count)
    for bit in [*range(0, 80, 7), *range(size - 16, size), *drawn]:
        damaged(folder, lambda good, bit=bit: flipped(good, bit))


def test_a_flipped_bit_is_noticed_anywhere(tmp_path):
    flip_bits(tmp_path, 30)


@pytest.mark.slow
def test_200_flipped_bits_and_every_cut_are_noticed(tmp_path):
    """`python -m pytest -m slow tests/test_generations.py -k flipped` takes about 10 s."""
    flip_bits(tmp_path, 200)
    for length in range(two(tmp_path).last.stat().st_size):
        damaged(tmp_path, lambda good, length=length: good[:length])


@pytest.mark.parametrize("length", [0, 7, 8, 31, 32, 33, 200, -33, -32, -1])
def test_a_cut_is_noticed(tmp_path, length):
    two(tmp_path)
    damaged(tmp_path, lambda good: good[:length])


def test_other_files_in_its_place_are_not_used(tmp_path):
    files = two(tmp_path)
    damaged(tmp_path, lambda good: good + b"\0")
    damaged(tmp_path, lambda good: safetensors.numpy.save({"a": np.zeros(3)}))
    damaged(tmp_path, lambda good: b"\x80\x04pickle" * 10)
    files.last.unlink()
    for put in (files.last.mkdir, lambda: os.mkfifo(files.last), lambda: None):
        put()
        with pytest.warns(RunWarning, match="last"):
            assert files.read(number) == 1
        if files.last.is_dir():
            files.last.rmdir()
        files.last.unlink(missing_ok=True)


def test_of_two_damaged_files_none_is_used(tmp_path):
    files = two(tmp_path)
    for path in (files.last, files.previous):
        path.write_bytes(flipped(path.read_bytes(), 999))
    with pytest.raises(IntegrityError, match=r"last\.safet.* damaged.*previous\.safet.* damaged"):
        files.read(number)
    files.previous.unlink()
    with pytest.raises(IntegrityError, match=r"last\.safetensors is damaged") as caught:
        files.read(number)
    assert "--overwrite" in caught.value.hint
    files.last.unlink()
    assert files.read(number) is None


def test_a_damaged_file_does_not_replace_the_good_one_before_it(tmp_path):
    files = two(tmp_path)
    files.last.write_bytes(b"damaged")
    with pytest.warns(RunWarning):
        assert files.read(number) == 1
    files.write(content(3))
    assert number(read_whole(files.last)) == 3
    assert number(read_whole(files.previous)) == 1
    files.write(content(4))
    assert number(read_whole(files.previous)) == 3


def test_a_full_disk_leaves_both_generations(full_disk):
    files = two(full_disk)
    large = Content({"a": np.ones(10**6)}, {})
    with pytest.raises(ResourceError, match="no space left while writing"):
        files.write(large)
    assert number(read_whole(files.last)) == 2
    assert number(read_whole(files.previous)) == 1
    assert not list(full_disk.rglob("*.tmp"))


def test_left_over_files_are_removed(tmp_path):
    two(tmp_path)
    names = ["checkpoints/.last.safetensors.0a1b2c3d.tmp", ".model.safetensors.0a1b2c3d.tmp"]
    mine = ["checkpoints/.mine.0a1b2c3d.tmp", "notes.tmp"]
    for name in names + mine:
        (tmp_path / name).write_bytes(b"half")
    old_run.remove_partial(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.tmp")}
    assert left == set(mine)


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from rezoo.training.generations import Content, Generations, read_whole

def content(number):
    return Content({"a": np.full(1000, number), "n": np.array(number)}, {})

CALLS = {"mkdir", "stat", "open", "write", "flush", "fileno", "fsync", "__exit__", "close"}
CALLS |= {"rename", "replace", "unlink"}

def kill_at(call):
    left, names = call, []
    def profile(frame, event, function):
        nonlocal left
        if event == "c_call" and function.__name__ in CALLS:
            names.append(function.__name__)
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
    sys.setprofile(profile)
    return names

for call in range(10_000):
    folder = Path(sys.argv[1], str(call))
    Generations(folder).write(content(1))
    Generations(folder).write(content(2))
    child = os.fork()
    if not child:
        names = kill_at(call)
        Generations(folder).write(content(3))
        sys.setprofile(None)
        print(*names, flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    number = Generations(folder).read(lambda found, path: int(found.values["n"]))
    there = [p for p in Generations(folder).last.parent.iterdir() if p.suffix == ".safetensors"]
    for path in there:
        read_whole(path)
    print(call, number, len(there), flush=True)
    if os.waitstatus_to_exitcode(status) == 0:
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_a_kill_between_any_two_system_calls_leaves_a_whole_state(tmp_path):
    """The process is killed before each call in turn."""
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    *lines, calls, last = done.stdout.splitlines()
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == sorted(numbers)
    assert set(numbers) == {2, 3}  # the state before the save, or the new one
    assert {line.split()[2] for line in lines} == {"1", "2"}  # once between the two renames
    assert last.split()[1:] == ["3", "2"]
    assert [name for name in calls.split() if name in ("fsync", "replace")] == [
        *("fsync", "replace", "replace", "fsync")
    ]
    assert len(numbers) >= 15, calls
