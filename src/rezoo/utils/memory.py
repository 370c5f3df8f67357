"""Out of memory, of the host or of a device, however a library reports it. Loads without NumPy.

NumPy and Python raise a MemoryError, TensorFlow a ResourceExhaustedError, JAX a RuntimeError that
begins with RESOURCE_EXHAUSTED. A thread of C++ that lacks memory ends the process (std::bad_alloc);
it then ends with a message and the same exit code. Linux may also kill a process that takes too
much (SIGKILL), which no process can catch: the exit code is 137 then, and there is no message.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rezoo.errors import ResourceError

_TENSORFLOW, _JAX = "ResourceExhaustedError", ("JaxRuntimeError", "XlaRuntimeError")
# in messages of errors that have no type of their own
_WORDS = (
    "std::bad_alloc",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "Failed to allocate memory",  # ONNX Runtime
    "failed to allocate memory",  # TensorFlow
)
# TensorFlow's error for these, too
_OF_FILES = tuple(
    os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
)
_BAD_ALLOC = (b"St9bad_alloc", b"St20bad_array_new_length")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory of the host or of a device is exhausted."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error)
    names = {kind.__name__ for kind in type(error).__mro__}
    if _TENSORFLOW in names:
        return not any(words in text for words in _OF_FILES)
    if names.intersection(_JAX) and "RESOURCE_EXHAUSTED" in text:
        return True
    # `InternalError` of TensorFlow, `RuntimeException` of ONNX Runtime
    return isinstance(error, (RuntimeError, *_internal_errors())) and any(
        words in text for words in _WORDS
    )


def _internal_errors() -> tuple[type[Exception], ...]:
    tensorflow = sys.modules.get("tensorflow")
    return (tensorflow.errors.OpError,) if tensorflow is not None else ()


def oom_kills(root: Path = Path("/")) -> int:
    """Return how many processes Linux has killed for lack of memory: of this cgroup, if known.

    Args:
        root: The folder of `proc` and `sys`.
    """
    groups = root / "sys/fs/cgroup"
    files = [groups / "memory.events", groups / "memory/memory.oom_control"]  # of a container
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            own = path.lstrip("/")
            if not controllers:
                files.insert(0, groups / own / "memory.events")
            elif "memory" in controllers.split(","):
                files.insert(0, groups / "memory" / own / "memory.oom_control")
    for file in (*files, root / "proc/vmstat"):
        with contextlib.suppress(OSError):
            for line in file.read_text("utf-8").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


@contextmanager
def memory_errors(what: str, *, hint: str) -> Iterator[None]:
    """Report exhausted memory inside the block as a `ResourceError`.

    If a thread of C++ lacks memory, which ends the process, it ends with the same message and
    exit code.

    Args:
        what: What was computed, with its size: "training with batch 256".
        hint: What needs less memory.
    """
    message = f"out of memory: {what}"
    try:
        with _bad_alloc_said(f"Error: {message}\nHint: {hint}\n"):
            yield
    except Exception as error:
        if isinstance(error, ResourceError) or not is_out_of_memory(error):
            raise
        raise ResourceError(message, hint=hint) from error


@contextmanager
def _bad_alloc_said(text: str) -> Iterator[None]:
    """Print a text and end with exit code 9 if std::bad_alloc would abort the process."""
    library = _standard_library()
    if library is None:
        yield
        return
    handler_type = ctypes.CFUNCTYPE(None)
    content = text.encode(errors="replace")
    before: Any = None

    def ended() -> None:
        name = _name_of_exception(library)
        if name in _BAD_ALLOC:
            os.write(2, content)
            os._exit(ResourceError.exit_code)
        if before:
            handler_type(before)()

    handler = handler_type(ended)
    replace = library._ZSt13set_terminatePFvvE
    replace.restype, replace.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    before = replace(ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    finally:
        replace(before)


def _standard_library() -> Any:
    """Return the standard library of C++ that TensorFlow and JAX use; None outside Linux."""
    if not sys.platform.startswith("linux"):
        return None
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libstdc++.so.6")
        _ = library._ZSt13set_terminatePFvvE, library.__cxa_current_exception_type
        return library
    return None


def _name_of_exception(library: Any) -> bytes:
    """Return the mangled name of the type of the C++ exception that ends the process."""
    current = library.__cxa_current_exception_type
    current.restype = ctypes.c_void_p
    address = current()
    if not address:
        return b""
    # a type_info: the address of its virtual table, then that of its name
    pointers = ctypes.cast(address, ctypes.POINTER(ctypes.c_void_p))
    name = ctypes.cast(pointers[1] or 0, ctypes.c_char_p).value or b""
    return name.removeprefix(b"*")
