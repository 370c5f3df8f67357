"""The exceptions of rezoo and the exit codes of its commands.

```
RezooError                        1   any other known error
├── UnknownNameError (LookupError)    2   no such model, dataset, recipe, option; near names
├── SpecError (ValueError)            2   a value that is not allowed
├── NotFoundError (FileNotFoundError) 3   a path, split, run folder that is not there
├── NetworkError (OSError)            4   the network is needed and not reached
│   ├── AccessError                   4   the Hub wants a token, or another one
│   └── RateLimitError                4   the Hub wants fewer requests
├── IntegrityError (OSError)          5   damaged bytes, wrong hash, too many bad images
│   └── UnsafeFileError               5   a file that rezoo refuses to open at all
├── IncompatibleError (OSError)       6   does not fit together: tensors, classes, formats
├── MissingExtraError (ImportError)   6   an optional dependency is not installed
├── PluginError (ImportError)         7   a plugin fails to import, clashes, breaks the contract
├── DivergedError (ArithmeticError)   8   the loss is not finite
├── ResourceError (OSError)           9   memory or disk
└── Interrupted                       130 Ctrl-C (143: SIGTERM), after the checkpoint is written
```

Every message has up to three beats: what is wrong (with the value received), what is
allowed, and, as `hint`, what to do next.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RezooError(Exception):
    """Base of all errors that rezoo raises on purpose.

    Attributes:
        hint: What the user can do next; empty where nothing is to be added.
        exit_code: The exit status of the command line for this error.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message alone: OSError and KeyError would decorate it."""
        return self.message


class UnknownNameError(RezooError, LookupError):
    """A name that nothing is registered under."""

    exit_code = 2


class SpecError(RezooError, ValueError):
    """A value or key that a specification does not allow."""

    exit_code = 2


class NotFoundError(RezooError, FileNotFoundError):
    """A path, split or run that is not there or cannot be read."""

    exit_code = 3


class NetworkError(RezooError, OSError):
    """Something must be fetched and the network does not answer."""

    exit_code = 4


class AccessError(NetworkError):
    """The Hub refuses: no token, one that has expired, or one without the right."""


class RateLimitError(NetworkError):
    """The Hub answers that too many requests came; the hint says when to try again."""


class IntegrityError(RezooError, OSError):
    """Bytes that are damaged or are not what they should be."""

    exit_code = 5


class UnsafeFileError(IntegrityError):
    """A file of a kind that rezoo never opens (pickle, HDF5, code)."""


class IncompatibleError(RezooError, OSError):
    """Two things that are each valid and do not fit together."""

    exit_code = 6


class MissingExtraError(RezooError, ImportError):
    """An optional dependency is missing; the hint names the install command."""

    exit_code = 6


class PluginError(RezooError, ImportError):
    """A plugin that fails to import, clashes with another or breaks the contract."""

    exit_code = 7


class DivergedError(RezooError, ArithmeticError):
    """Training produced a loss that is not finite."""

    exit_code = 8


class ResourceError(RezooError, OSError):
    """Memory or disk space ran out, or a folder cannot be written."""

    exit_code = 9


class Interrupted(RezooError):  # noqa: N818 - it is a request, not a fault
    """The user or the system asked to stop; the state has been saved first."""

    exit_code = 130

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 130) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class RezooWarning(UserWarning):
    """Base of the warnings of rezoo."""


class PluginWarning(RezooWarning):
    """A plugin that was left out, and why."""


class HubWarning(RezooWarning):
    """Something about the Hub, or weights from it, that the user should know."""


class HubNote(HubWarning):
    """What was found out at the Hub: nothing to worry about, and worth knowing."""


class DataWarning(RezooWarning):
    """Something about the data that the user should know."""


_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def writing(path: Path | str, *, hint: str = "") -> Iterator[None]:
    """Turn the operating system's failures to write below `path` into a `ResourceError`.

    `hint` replaces what is said where the place cannot be written.
    """
    try:
        yield
    except RezooError:
        raise
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise ResourceError(
                f"no space left while writing {path}",
                hint="free some space or choose another folder; what was saved before is intact.",
            ) from error
        if error.errno in (*_NO_WRITE, errno.EIO, errno.ENOTDIR, errno.EEXIST):
            raise ResourceError(
                f"cannot write {path}: {error.strerror}",
                hint=hint or "choose a folder that you may write to.",
            ) from error
        raise
