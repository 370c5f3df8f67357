"""Requests to the Hub through huggingface_hub, whose errors become those of rezoo.

Timeouts and retries are the client's own. `HF_HUB_ETAG_TIMEOUT` and `HF_HUB_DOWNLOAD_TIMEOUT`
(10 s if not set) bound how long a connection may be silent. Downloads and the requests of
`file_metadata` are retried up to five times; the client logs each retry as a warning. Only a first
request that finds no connection at all is not: waiting would not help.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from rezoo.errors import (
    AccessError,
    IncompatibleError,
    NetworkError,
    NotFoundError,
    RateLimitError,
    RezooError,
    writing,
)
from rezoo.sources.hub_address import Address

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.file_download import HfFileMetadata

_ANSWER_TIMEOUT_S = 60.0  # for requests to which the client gives no timeout: commits and uploads
_TEMPORARY = (408, 429, 500, 502, 503, 504)  # answers after which a request is repeated
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}")
_LOGIN = "log in with `hf auth login`, or set HF_TOKEN to a token that has access."
_CACHE_HINT = "set HF_HOME to a writable folder with free space."
_PATIENCE = "check the network and try again; HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT "
_PATIENCE += "set how many seconds to wait for an answer."


def identity() -> dict[str, Any]:
    """Return the library's name and version, which every request states."""
    return {"library_name": "rezoo", "library_version": version("rezoo")}


def open_api() -> HfApi:
    """Return the client's API, in a session where every request has a timeout."""
    import httpx2
    from huggingface_hub import HfApi, get_session

    session = get_session()
    if session.timeout == httpx2.Timeout(None):
        session.timeout = httpx2.Timeout(_ANSWER_TIMEOUT_S)
    return HfApi(**identity())


def repository(address: Address, *, sizes: bool = False) -> Any:
    """Return the client's information about a repository at a revision; see `hub_errors`.

    With `sizes`, it includes the size and the hashes of each file.
    """
    from huggingface_hub import constants

    with hub_errors(str(address)):
        return open_api().repo_info(
            address.repo,
            repo_type=address.kind,
            revision=address.revision,
            files_metadata=sizes,
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
        )


def file_metadata(address: Address, name: str, *, retry: bool = True) -> HfFileMetadata:
    """Return the commit, ETag and size of a file at any revision; see `hub_errors`.

    With `retry`, a failure that may be temporary is tried again; to be without a network is not.
    """
    import httpx2
    from huggingface_hub import constants, errors, get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(address.repo, name, repo_type=address.kind, revision=address.revision)
    options = {"timeout": constants.HF_HUB_ETAG_TIMEOUT, **identity()}
    with hub_errors(f"{address} {name}"):
        try:
            return get_hf_file_metadata(url, retry_on_errors=False, **options)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            raise
        except httpx2.TransportError:
            if not retry:
                raise
        except errors.HfHubHTTPError as error:
            if not retry or error.response.status_code not in _TEMPORARY:
                raise
        return get_hf_file_metadata(url, retry_on_errors=True, **options)


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Turn errors of the client, also wrapped ones, into those of rezoo.

    Args:
        what: The reference that is requested, and possibly a file of it, for messages.

    Raises:
        NetworkError: The Hub was not reached, or its answer is broken.
        AccessError: The Hub refuses access.
        RateLimitError: Too many requests.
        NotFoundError: No such repository, revision or file.
        IncompatibleError: The repository was changed by someone else.
        ResourceError: The cache cannot be written.
    """
    try:
        yield
    except RezooError:
        raise
    except Exception as error:
        for cause in causes(error):
            if explained := _explain(what, cause):
                raise explained from error
            if isinstance(cause, OSError) and cause.errno is not None:
                with writing("the Hub's cache", hint=_CACHE_HINT):
                    raise cause from cause.__cause__
        raise


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, its cause, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__


def endpoint() -> str:
    """Return the URL of the Hub."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def host() -> str:
    """Return the URL of the Hub without `https://`."""
    return endpoint().rpartition("://")[2]


def _explain(what: str, error: BaseException) -> RezooError | None:
    """Return the error of rezoo for one of the client; None for any other exception."""
    import httpx2
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return NetworkError(
            f"{what} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it",
            hint="run this once with a network and HF_HUB_OFFLINE=0.",
        )
    if isinstance(error, errors.HfHubHTTPError):
        return _explain_status(what, error)
    if isinstance(error, httpx2.HTTPError):
        line = _first_line(error)
        return NetworkError(f"{host()} was not reached for {what}: {line}", hint=_PATIENCE)
    if isinstance(error, (errors.FileMetadataError, json.JSONDecodeError)):
        return NetworkError(
            f"the answer of {host()} for {what} is not that of a Hub",
            hint="a proxy or mirror may have sent it; try again, or unset HF_ENDPOINT.",
        )
    if type(error) is OSError and error.errno is None:  # the client's check of the length
        return NetworkError(f"{what}: {_first_line(error)}", hint="try again.")
    return None


def _explain_status(what: str, error: Any) -> RezooError:
    from huggingface_hub import errors

    status = error.response.status_code
    repo = what.partition(" ")[0]  # the name of a file follows
    if isinstance(error, errors.GatedRepoError):
        page = f"{endpoint()}/{repo.removeprefix('hf://').partition('@')[0]}"
        return AccessError(
            f"{repo} is gated: its owners decide who may read it",
            hint=f"ask for access at {page}, then {_LOGIN}",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return NotFoundError(f"{repo}: the repository has no such revision")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return NotFoundError(f"{what}: the repository has no such file")
    if status == 401:
        return AccessError(
            f"{repo} is private, or does not exist, or the token has expired (401)",
            hint=f"check the name; {_LOGIN}",
        )
    if status == 403:
        return AccessError(f"{what}: {host()} refuses access (403)", hint=_LOGIN)
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return NotFoundError(f"{repo}: there is no such repository at {host()}")
    if status == 429:
        return RateLimitError(
            f"{host()} limits the rate of requests (429), again in {_wait(error.response)}",
            hint=f"wait; a token raises the limit: {_LOGIN}",
        )
    if status in (409, 412):
        return IncompatibleError(
            f"{what} was changed by someone else in the meantime ({status})",
            hint="look at the changes, then try again.",
        )
    return NetworkError(f"{host()} answers {status} for {what}: {_first_line(error)}")


def _wait(response: Any) -> str:
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    limit = parse_ratelimit_headers(response.headers)
    seconds = limit.reset_in_seconds if limit else response.headers.get("Retry-After")
    return f"{seconds} s" if seconds else "a while"


def _first_line(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _TOKEN.sub("hf_…", text)
