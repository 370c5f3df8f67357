"""The stand-in of the Hub against the real client."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import huggingface_hub as client
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, constants
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hub_stand_in import WEB_PAGE, Fault, StandIn, leave_out_waits, point_client_at

# the client passes files to its HTTP library by an argument that has another name by now
pytestmark = [
    pytest.mark.ci,
    pytest.mark.filterwarnings("ignore:Use 'content=':DeprecationWarning"),
]

REPO = "ns/net"
WEIGHTS = bytes(range(250)) * 40
FILES = {"config.json": b'{"architecture": "net"}', "model.safetensors": WEIGHTS}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with StandIn() as hub:
        point_client_at(monkeypatch, hub, tmp_path)
        monkeypatch.setenv("HF_TOKEN", "writes")
        hub.tokens = {"writes": "write", "reads": "read"}
        yield hub


@pytest.fixture
def net(hub) -> str:
    """The commit of a repository with two files."""
    return hub.add(REPO, FILES)


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The waits of the client, which take no time."""
    return leave_out_waits(monkeypatch)


def download(name: str = "model.safetensors", **options) -> bytes:
    return Path(client.hf_hub_download(REPO, name, **options)).read_bytes()


def push(files: dict[str, bytes] = FILES, *, deletes: tuple[str, ...] = (), **options) -> str:
    changes = [CommitOperationAdd(name, data) for name, data in files.items()]
    changes += [CommitOperationDelete(name) for name in deletes]
    return client.create_commit(REPO, changes, commit_message="Push", **options).oid


def methods(hub: StandIn) -> list[str]:
    return [request.method for request in hub.requests]


def test_downloads_are_equal_and_a_pinned_one_is_not_asked_for_again(hub, net):
    for name, data in FILES.items():
        assert download(name) == data
    assert methods(hub) == ["HEAD", "GET"] * 2
    hub.requests.clear()
    for name, data in FILES.items():
        assert download(name, revision=net) == data
    assert hub.requests == []
    assert download() == WEIGHTS
    assert methods(hub) == ["HEAD"]


def test_etags_are_those_of_git_and_lfs(hub, net, tmp_path):
    client.snapshot_download(REPO)
    config = FILES["config.json"]
    git = hashlib.sha1(b"blob %d\0" % len(config) + config).hexdigest()
    blobs = {blob.name for blob in tmp_path.glob("hub/models--ns--net/blobs/*")}
    assert blobs == {git, hashlib.sha256(WEIGHTS).hexdigest()}
    checked = client.HfApi().verify_repo_checksums(REPO)
    assert (checked.checked_count, checked.mismatches) == (2, [])


def test_what_is_said_of_a_model(hub, net):
    later = hub.add(REPO, {"README.md": b"# Net\n"}, message="Add the card")
    info = client.model_info(REPO, files_metadata=True, revision=net)
    assert (info.id, info.sha, info.private) == (REPO, net, False)
    assert info.last_modified is not None
    config, weights = info.siblings
    assert (config.rfilename, config.size, config.lfs) == ("config.json", 23, None)
    assert (weights.size, weights.lfs.size) == (len(WEIGHTS), len(WEIGHTS))
    assert weights.lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    info = client.model_info(REPO)
    assert (info.sha, len(info.siblings), info.siblings[0].size) == (later, 3, None)


def test_branches_and_tags_move(hub, net):
    later = hub.add(REPO, {"config.json": b"{}"})
    hub.move(REPO, "v1.0", net)
    assert download("config.json", revision="v1.0") == FILES["config.json"]
    assert download("config.json") == b"{}"
    assert hub.commit_of(REPO) == later
    hub.move(REPO, "main", net)
    assert download("config.json") == FILES["config.json"]


def test_main_moves_within_a_download(hub, net):
    other = {"model.safetensors": WEIGHTS[::-1]}
    hub.faults = [Fault("then", action=lambda: hub.add(REPO, other), method="HEAD", times=1)]
    path = client.hf_hub_download(REPO, "model.safetensors")
    assert net in path  # the bytes of another commit, and the client does not see it
    assert Path(path).read_bytes() == WEIGHTS[::-1]


def test_push_is_one_commit_and_reads_back_equal(hub):
    assert client.create_repo(REPO, private=True) == f"{hub.url}/{REPO}"
    assert push() == hub.commit_of(REPO)
    assert [commit.message for commit in hub.commits(REPO)] == ["initial commit", "Push"]
    assert FILES.items() <= hub.files(REPO).items()
    assert {name: download(name) for name in FILES} == FILES
    assert client.model_info(REPO).private
    (put,) = [request for request in hub.requests if request.method == "PUT"]
    assert put.body == WEIGHTS
    assert "authorization" not in put.headers


def test_push_of_equal_files_is_no_commit(hub, net):
    assert push() == net
    assert len(hub.commits(REPO)) == 1
    assert "PUT" not in methods(hub)
    changed = push({"config.json": b"{}"}, deletes=("model.safetensors",))
    assert hub.files(REPO, changed) == {"config.json": b"{}"}
    assert len(hub.commits(REPO)) == 2


def test_push_with_a_card(hub, net, tmp_path):
    (tmp_path / "net").mkdir()
    for name, data in {**FILES, "README.md": b"---\nlicense: mit\n---\n"}.items():
        (tmp_path / "net" / name).write_bytes(data)
    made = client.upload_folder(repo_id=REPO, folder_path=tmp_path / "net", create_pr=True)
    assert made.pr_revision == "refs/pr/1"
    assert len(hub.files(REPO)) == 2
    assert len(hub.files(REPO, "refs/pr/1")) == 3


def test_push_conflicts_with_a_later_commit(hub, net):
    hub.add(REPO, {"README.md": b"# Net\n"})
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as caught:
        push({"config.json": b"{}"}, parent_commit=net)
    assert caught.value.response.status_code == 412
    assert push({"config.json": b"{}"}, parent_commit=hub.commit_of(REPO)[:7])


def test_push_goes_on_with_what_was_uploaded(hub):
    client.create_repo(REPO)
    hub.faults = [Fault("drop", match="/commit/", times=1)]
    with pytest.raises(httpx2.RemoteProtocolError):
        push()
    assert len(hub.commits(REPO)) == 1
    push()
    assert methods(hub).count("PUT") == 1
    assert len(hub.commits(REPO)) == 2


def test_create_repo_twice(hub):
    client.create_repo(REPO)
    assert client.create_repo(REPO, exist_ok=True) == f"{hub.url}/{REPO}"
    with pytest.raises(HfHubHTTPError, match="409"):
        client.create_repo(REPO)


def test_tokens(hub):
    hub.add(REPO, FILES, private=True)
    assert client.whoami()["name"] == "tester"
    assert client.whoami("reads")["auth"]["accessToken"]["role"] == "read"
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        client.whoami("unknown")
    assert download(token="reads") == WEIGHTS
    for token in (False, "unknown"):
        with pytest.raises(RepositoryNotFoundError, match="401"):
            download("config.json", token=token)
    with pytest.raises(HfHubHTTPError, match="403"):
        push({"config.json": b"{}"}, token="reads")
    hub.remove(REPO)
    with pytest.raises(RepositoryNotFoundError, match="404"):
        download("config.json")
    assert {request.headers.get("authorization") for request in hub.requests} == {
        None,
        *(f"Bearer {token}" for token in ("writes", "reads", "unknown")),
    }


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.status(401, "RepoNotFound"), RepositoryNotFoundError),
        (Fault.status(404, "RepoNotFound"), RepositoryNotFoundError),
        (Fault.gated(), GatedRepoError),
        (Fault.status(404, "RevisionNotFound"), RevisionNotFoundError),
        (Fault.status(404, "EntryNotFound"), RemoteEntryNotFoundError),
        (Fault.status(401), HfHubHTTPError),
        (Fault.bad_token(), HfHubHTTPError),
    ],
    ids=lambda value: None if isinstance(value, type) else str(value.headers or value.code),
)
def test_refusals(hub, net, fault, error):
    hub.faults = [fault]
    with pytest.raises(HfHubHTTPError) as caught:
        download()
    assert type(caught.value) is error
    assert methods(hub) == ["HEAD"]


def test_what_is_not_there(hub, net):
    with pytest.raises(RemoteEntryNotFoundError) as caught:
        download("x.json")
    assert caught.value.response.headers["X-Repo-Commit"] == net
    with pytest.raises(RevisionNotFoundError):
        download(revision="v2")
    with pytest.raises(HfHubHTTPError, match="404"):
        client.list_repo_refs(REPO)  # a call that the stand-in does not know


@pytest.mark.parametrize(
    ("fault", "cause", "waited"),
    [
        (Fault.rate_limited(3), HfHubHTTPError, [4.0] * 5),
        (Fault.status(503), HfHubHTTPError, [1, 2, 4, 8, 8]),
        (Fault("no_etag"), FileMetadataError, []),
    ],
    ids=["429", "503", "no ETag"],
)
def test_the_client_gives_up(hub, net, waits, fault, cause, waited):
    hub.faults = [fault]
    with pytest.raises(LocalEntryNotFoundError) as caught:
        download()
    assert isinstance(caught.value.__cause__, cause)
    assert waits == waited
    hub.faults = []
    assert download() == WEIGHTS
    hub.faults = [fault]
    assert download() == WEIGHTS  # from the cache


@pytest.mark.parametrize("kind", ["cut", "stall"])
def test_a_broken_body_is_asked_for_again(hub, net, waits, monkeypatch, kind):
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    hub.faults = [Fault(kind, times=1)]
    assert download() == WEIGHTS
    assert methods(hub) == ["HEAD", "GET", "GET"]
    assert waits == [1]


@pytest.mark.parametrize("ignored", [False, True])
def test_ranges(hub, net, waits, monkeypatch, ignored):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.faults = [Fault("cut", after=2500, times=1), *([Fault("ignore_range")] if ignored else [])]
    assert download() == WEIGHTS
    assert hub.requests[-1].headers["range"] == "bytes=2000-"


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (Fault("wrong_bytes"), WEIGHTS[:-1] + b"\xf8"),
        (Fault("html"), WEB_PAGE),
        (Fault("gzip_no_length"), WEIGHTS),
        (Fault("etag_changes"), WEIGHTS),
        (Fault("slow", seconds=0.05), WEIGHTS),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_what_the_client_takes_for_the_file(hub, net, fault, found):
    hub.faults = [fault]
    assert download() == found


def test_lfs_pointer(hub, net):
    hub.faults = [Fault("lfs_pointer")]
    oid = hashlib.sha256(WEIGHTS).hexdigest()
    head = "version https://git-lfs.github.com/spec/v1"
    assert download().decode() == f"{head}\noid sha256:{oid}\nsize 10000\n"


def test_a_page_in_place_of_the_body_only(hub, net):
    hub.faults = [Fault("html", method="GET")]
    with pytest.raises(OSError, match="Consistency check failed"):
        download()


def test_a_hanging_hub(hub, net, monkeypatch):
    assert download() == WEIGHTS
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
    hub.faults = [Fault("hang")]
    assert download() == WEIGHTS
    assert methods(hub) == ["HEAD", "GET", "HEAD"]


def test_the_cache_works_without_a_hub(hub, net):
    url = hub.url
    assert download() == WEIGHTS
    hub.stop()
    assert download() == WEIGHTS
    hub.start()
    assert hub.url == url
    assert download("config.json") == FILES["config.json"]


def test_stops_at_once(hub, net):
    hub.faults = [Fault("hang")]
    caught = []

    def ask():  # the client sets no limit of time for this call
        with pytest.raises(httpx2.TransportError) as error:
            client.model_info(REPO)
        caught.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while not hub.requests:
        time.sleep(0.01)
    start = time.monotonic()
    hub.stop()
    asking.join(5)
    assert time.monotonic() - start < 3
    assert len(caught) == 1


def test_a_fault_must_be_known():
    with pytest.raises(ValueError, match="kind='cuts'"):
        Fault("cuts")


def test_a_child_process(hub, net, tmp_path):
    code = f"import huggingface_hub as h; print(h.hf_hub_download({REPO!r}, 'config.json'))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **hub.env(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    path = Path(run.stdout.strip())
    assert path.read_bytes() == FILES["config.json"]
    assert path.is_relative_to(tmp_path / "hub")
    assert methods(hub) == ["HEAD", "GET"]
    assert "authorization" not in hub.requests[0].headers
