"""The exceptions of rezoo and the exit codes of its commands.

```
RezooError                        1   any other known error
├── RunLockedError                    1   another process uses the folder
├── CallbackError                     1   a callback of a run fails
├── UnknownNameError (LookupError)    2   no such model, dataset, recipe, option; near names
├── SpecError (ValueError)            2   a value that is not allowed
├── NotFoundError (FileNotFoundError) 3   a path, split or run folder that does not exist
├── NetworkError (OSError)            4   the network is needed and cannot be reached
│   ├── LostHostError                 4   another host of a run is not reached
│   ├── AccessError                   4   the Hub requires a token, or another one
│   └── RateLimitError                4   the Hub received too many requests
├── IntegrityError (OSError)          5   damaged bytes, wrong hash, too many bad images
│   └── UnsafeFileError               5   a kind of file that rezoo never opens
├── IncompatibleError (OSError)       6   tensors, classes or formats that do not match
├── MissingExtraError (ImportError)   6   an optional dependency is not installed
├── PluginError (ImportError)         7   a plugin fails to import, clashes, breaks the contract
├── DivergedError (ArithmeticError)   8   the loss is not finite
├── ResourceError (OSError)           9   memory or disk
├── WorkerError                       1-9 a host of a run on several failed: its code
└── Interrupted                       130 Ctrl-C (143: SIGTERM), after the checkpoint is written
```

A message has up to three parts: what is wrong (with the value received), what is allowed, and,
as `hint`, what to do next.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RezooError(Exception):
    """Base class of the errors that rezoo raises.

    Attributes:
        hint: What the user can do next; may be empty.
        exit_code: The exit status of the command line for this error.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message alone; OSError would add an error number."""
        return self.message


class RunLockedError(RezooError):
    """Another process changes the folder; the message names process, host and start."""


class CallbackError(RezooError):
    """A callback of a run fails; the message names it and its error."""


class UnknownNameError(RezooError, LookupError):
    """A name that is not registered."""

    exit_code = 2


class SpecError(RezooError, ValueError):
    """A value or key that a specification does not allow."""

    exit_code = 2


class NotFoundError(RezooError, FileNotFoundError):
    """A path, split or run that does not exist or cannot be read."""

    exit_code = 3


class NetworkError(RezooError, OSError):
    """A download is needed and the network does not answer."""

    exit_code = 4


class LostHostError(NetworkError):
    """Another host of a run has ended, or is not reached."""


class AccessError(NetworkError):
    """The Hub refuses access: no token, an expired one, or one without permission."""


class RateLimitError(NetworkError):
    """The Hub received too many requests; the hint says when to try again."""


class IntegrityError(RezooError, OSError):
    """Bytes that are damaged or differ from their record."""

    exit_code = 5


class UnsafeFileError(IntegrityError):
    """A file of a kind that rezoo never opens (pickle, HDF5, code)."""


class IncompatibleError(RezooError, OSError):
    """Two valid things that do not match each other."""

    exit_code = 6


class MissingExtraError(RezooError, ImportError):
    """An optional dependency is missing; the hint names the install command."""

    exit_code = 6


class PluginError(RezooError, ImportError):
    """A plugin that fails to import, clashes with another or breaks the contract."""

    exit_code = 7


class DivergedError(RezooError, ArithmeticError):
    """The loss of a training run is not finite."""

    exit_code = 8


class ResourceError(RezooError, OSError):
    """Memory or disk space ran out, or a folder cannot be written."""

    exit_code = 9


class WorkerError(RezooError):
    """A host of a run on several has failed; the exit code is that of its failure."""

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class Interrupted(RezooError):  # noqa: N818 - it is a request, not a fault
    """The user or the system asked to stop; the state has been saved first."""

    exit_code = 130

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 130) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class RezooWarning(UserWarning):
    """Base of the warnings of rezoo."""


class PluginWarning(RezooWarning):
    """A plugin was left out; the message says why."""


class HubWarning(RezooWarning):
    """A possible problem with the Hub or with weights from it."""


class HubNote(HubWarning):
    """Information from the Hub that needs no action."""


class RunWarning(RezooWarning):
    """Information about a run folder, such as a lock that a killed process has left."""


class DeviceWarning(RezooWarning):
    """A GPU that is not used, or that the installed libraries are not built for."""


class DataWarning(RezooWarning):
    """A possible problem with the data."""


_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def writing(path: Path | str, *, hint: str = "") -> Iterator[None]:
    """Turn the operating system's errors on writing below `path` into a `ResourceError`.

    `hint` replaces the usual hint for a folder that cannot be written.
    """
    try:
        yield
    except RezooError:
        raise
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise ResourceError(
                f"no space left while writing {path}",
                hint="free some space or choose another folder; files saved earlier are intact.",
            ) from error
        if error.errno in (*_NO_WRITE, errno.EIO, errno.ENOTDIR, errno.EEXIST):
            raise ResourceError(
                f"cannot write {path}: {error.strerror}",
                hint=hint or "choose a folder that you may write to.",
            ) from error
        raise
