"""Calls of the Hub's client, bounded in time, with errors that say what happened.

The client goes on for minutes where a host hangs, and its errors have no common base. `ask`
runs a call in a thread, gives it up when nothing has moved for `REZOO_HUB_TIMEOUT` seconds
(60 if not set), and turns whatever comes out into an error of rezoo.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, TypeVar

from rezoo.errors import (
    AccessError,
    HubNote,
    IncompatibleError,
    NetworkError,
    NotFoundError,
    RateLimitError,
    RezooError,
    SpecError,
    writing,
)

TIMEOUT_VARIABLE = "REZOO_HUB_TIMEOUT"
NOTE_AFTER_S = 3.0
_TIMEOUT_S = 60.0
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}")
_LOGIN = "log in with `hf auth login`, or set HF_TOKEN to a token that may."
RETRY_WAITS_S = (1.0, 2.0, 4.0, 8.0)
_LONGEST_WAIT_S = 20.0
_PASSING = (408, 429, 500, 502, 503, 504)
_CACHE_HINT = "set HF_HOME to a folder that you may write to and that has room."

Result = TypeVar("Result")


def identity() -> dict[str, Any]:
    """Return what every call tells the Hub about who asks."""
    return {"library_name": "rezoo", "library_version": version("rezoo")}


def timeout_s() -> float:
    """Return how long a call may go without progress."""
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        value = float(text or _TIMEOUT_S)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise SpecError(f"{TIMEOUT_VARIABLE}: {text!r}; it must be seconds, above 0")
    return value


def ask(
    what: str,
    call: Callable[[], Result],
    *,
    moved: Callable[[], int] = lambda: 0,
    longest_s: float = 0.0,
    retries: Sequence[float] = (0.0,),
    given_up: Callable[[], None] = lambda: None,
) -> Result:
    """Run a call of the Hub's client.

    Args:
        what: What is asked for, for messages: a reference, or a file of one.
        call: The call.
        moved: Returns a number that grows while there is progress.
        longest_s: Seconds that it may take without progress, where that is more than usual.
        retries: Seconds to wait before each further try. At 0 only a connection that was closed
            under the call is tried again: all calls share one session, and the client closes
            it whenever any of them cannot connect. After a wait, whatever may pass.
        given_up: Called where the call is left to itself: too slow, or Ctrl-C.

    Raises:
        NetworkError: No answer, a broken one, or none within the time.
        AccessError: The Hub refuses.
        RateLimitError: Too many requests.
        NotFoundError: No such repository, revision or file.
        IncompatibleError: It changed since it was looked at.
        ResourceError: The cache cannot be written.
    """
    outcome: list[Any] = []
    done, left = threading.Event(), threading.Event()

    def run() -> None:
        try:
            outcome.append((_try(call, retries, left), None))
        except BaseException as error:  # handed over to the caller
            outcome.append((None, error))
        finally:
            done.set()

    # a daemon: a call that never returns must not keep the process alive
    threading.Thread(target=run, name="rezoo-hub", daemon=True).start()
    try:
        _await(what, done, moved, max(timeout_s(), longest_s))
    except BaseException:
        left.set()
        given_up()
        raise
    result, error = outcome[0]
    if error is not None:
        with writing("the Hub's cache", hint=_CACHE_HINT):
            raise _explain(what, error) from error
    return result


def _try(call: Callable[[], Result], waits: Sequence[float], given_up: threading.Event) -> Result:
    """Do a call again where its failure may pass, until nobody waits for it any more.

    The client can do so itself, but would go on after the call was given up.
    """
    for wait in waits:
        try:
            return call()
        except Exception as error:
            asked = _seconds_until_retry(error, wait)
            if asked is None or given_up.wait(asked):
                raise
    return call()


def _seconds_until_retry(error: Exception, wait: float) -> float | None:
    """Return how long to wait before the next try; None where it would not help."""
    import httpx2

    if isinstance(error, (httpx2.ReadError, httpx2.WriteError, httpx2.CloseError)):
        return wait
    if not wait:
        return None
    if isinstance(error, httpx2.TransportError):
        return wait
    response = getattr(error, "response", None)
    if response is None or response.status_code not in _PASSING:
        return None
    told = _told_to_wait(response)
    asked = max(wait, float(told) + 1 if told.isdecimal() else 0.0)
    return asked if asked <= _LONGEST_WAIT_S else None


def _await(what: str, done: threading.Event, moved: Callable[[], int], limit: float) -> None:
    last, last_moved, noted = time.monotonic(), moved(), False
    while not done.wait(0.05):
        now = time.monotonic()
        if (count := moved()) != last_moved:
            last, last_moved = now, count
        if now - last > limit:
            raise NetworkError(
                f"could not reach {_host()} for {what}: no answer in {limit:g} s",
                hint=f"check the network; {TIMEOUT_VARIABLE} sets how long rezoo waits.",
            )
        if not noted and now - last > NOTE_AFTER_S:
            noted = True
            text = f"no answer from {_host()} for {NOTE_AFTER_S:g} s; waiting up to {limit:.0f} s."
            warnings.warn(HubNote(text), stacklevel=4)


def _explain(what: str, error: BaseException) -> BaseException:
    """Return the error of rezoo for what the client raised; what is none of its is returned."""
    import httpx2
    from huggingface_hub import errors

    if isinstance(error, (RezooError, KeyboardInterrupt)):
        return error
    if isinstance(error, errors.OfflineModeIsEnabled):
        return offline(what)
    if isinstance(error, (errors.LocalEntryNotFoundError, RuntimeError)):
        if error.__cause__ is not None:  # what the client wraps says more
            return _explain(what, error.__cause__)
        if isinstance(error, RuntimeError):
            return error
        return NetworkError(f"{what} is not in the cache, and {_host()} was not reached")
    if isinstance(error, errors.HfHubHTTPError):
        return _of_status(what, error)
    if isinstance(error, (errors.FileMetadataError, json.JSONDecodeError)):
        return NetworkError(
            f"the answer of {_host()} for {what} lacks what makes it a Hub's",
            hint="a proxy or mirror may stand between; try again, or unset HF_ENDPOINT.",
        )
    if isinstance(error, errors.HFValidationError):
        return SpecError(f"{what}: {_first_line(error)}")
    if isinstance(error, httpx2.HTTPError):
        return NetworkError(
            f"the connection to {_host()} broke off for {what}: {_first_line(error)}",
            hint="check the network and try again; what was complete stays in the cache.",
        )
    if isinstance(error, OSError) and error.errno is None:  # the client's check of the length
        return NetworkError(f"{what}: {_first_line(error)}", hint="try again.")
    return error


def offline(what: str) -> NetworkError:
    """Return the error for what is not in the cache where the network may not be used."""
    return NetworkError(
        f"{what} is not in the Hub's cache, and HF_HUB_OFFLINE forbids to fetch it",
        hint=f"with a network: HF_HUB_OFFLINE=0 rezoo verify {what.partition(' ')[0]}",
    )


def _of_status(what: str, error: Any) -> RezooError:
    from huggingface_hub import errors

    response = getattr(error, "response", None)
    status = 0 if response is None else response.status_code
    if isinstance(error, errors.GatedRepoError):
        page = f"{endpoint()}/{what.partition(' ')[0].removeprefix('hf://').partition('@')[0]}"
        return AccessError(
            f"{what} is gated: its owners decide who may read it",
            hint=f"ask for access at {page}, then {_LOGIN}",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return NotFoundError(f"{what}: the repository has no such revision")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return NotFoundError(f"{what}: the repository has no such file")
    if status == 401:
        return AccessError(
            f"{what} is private, or does not exist, or the token has expired (401)",
            hint=f"check the name; {_LOGIN}",
        )
    if status == 403:
        return AccessError(f"{what}: {_host()} refuses (403)", hint=_LOGIN)
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return NotFoundError(f"{what}: there is no such repository at {_host()}")
    if status == 429:
        seconds = _told_to_wait(response)
        wait = f"{seconds} s" if seconds else "a while"
        return RateLimitError(
            f"{_host()} limits the rate of requests (429), again in {wait}",
            hint=f"wait; a token raises the limit: {_LOGIN}",
        )
    if status in (409, 412):
        return IncompatibleError(
            f"{what} was changed by someone else in the meantime ({status})",
            hint="look at what changed, and do it again.",
        )
    said = _first_line(error)
    return NetworkError(f"{_host()} answers {status or 'nothing'} for {what}: {said}")


def _told_to_wait(response: Any) -> str:
    found = re.search(r"t=(\d+)", response.headers.get("RateLimit", ""))
    return found.group(1) if found else str(response.headers.get("Retry-After", ""))


def _first_line(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _TOKEN.sub("hf_…", text)


def endpoint() -> str:
    """Return the address of the Hub that is used."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _host() -> str:
    return endpoint().partition("://")[2] or endpoint()
