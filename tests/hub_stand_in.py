"""A stand-in of the Hugging Face Hub on 127.0.0.1: a Hub in memory, and faults to order.

    with StandIn() as hub:
        commit = hub.add("ns/net", {"config.json": b"{}", "model.safetensors": weights})
        hub.faults = [Fault("cut", match="model.safetensors", times=1), Fault.status(503)]

It answers the calls that huggingface_hub makes with Xet off; anything else is a 404.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import http.server
import json
import re
import secrets
import select
import socket
import socketserver
import threading
import time
import types
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

WEB_PAGE = b"<!DOCTYPE html>\n<html><body><h1>Sign in to the network</h1></body></html>\n"

# kind: (part of the path, method) of the requests that it meets unless told otherwise
KINDS = {
    "hang": ("", None),  # answer nothing until the client leaves or the server stops
    "drop": ("", None),  # close the connection: nothing is done, nothing answered
    "slow": ("", None),  # wait `seconds`, then answer well
    "status": ("", None),  # answer `code` with `headers`: see the constructors
    "then": ("", None),  # answer well, but call `action` before the answer goes out
    "stall": ("/resolve/", "GET"),  # send `after` bytes of the answer, then nothing
    "cut": ("/resolve/", "GET"),  # send `after` bytes, then close; what was asked is done
    "wrong_bytes": ("/resolve/", "GET"),  # the last byte is another one: weights still parse
    "ignore_range": ("/resolve/", "GET"),  # 200 and the whole file
    "gzip_no_length": ("/resolve/", "GET"),  # compressed, in chunks, without Content-Length
    "html": ("/resolve/", None),  # 200 and a web page, with the ETag and length of the page
    "lfs_pointer": ("/resolve/", None),  # the Git-LFS pointer to the file, likewise
    "no_etag": ("/resolve/", None),
    "etag_changes": ("/resolve/", None),  # another one in each answer
}


@dataclass(frozen=True, eq=False)
class Fault:
    """What goes wrong, where and how often; of several the first that meets a request counts.

    `times` counts requests (None: always), and a download is two of them, HEAD and GET.
    """

    kind: str
    match: str | None = None  # a part of the path
    method: str | None = None
    times: int | None = None
    after: int | None = None  # bytes; None: half of the answer
    seconds: float = 0
    code: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    action: Callable[[], object] | None = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r}; allowed: {', '.join(KINDS)}")

    @classmethod
    def status(cls, code: int, error: str = "", message: str = "", headers=(), **where) -> Fault:
        """Say no, for example `Fault.status(404, "EntryNotFound")`, or bare: `Fault.status(401)`.

        The client tells RepoNotFound, GatedRepo, RevisionNotFound and EntryNotFound apart.
        """
        said = {"X-Error-Code": error, "X-Error-Message": message, **dict(headers)}
        said = {name: text for name, text in said.items() if text}
        return cls("status", code=code, headers=said, **where)

    @classmethod
    def gated(cls, **where) -> Fault:
        return cls.status(403, "GatedRepo", "Access to this model is restricted", **where)

    @classmethod
    def bad_token(cls, **where) -> Fault:
        return cls.status(401, "", "Invalid credentials in Authorization header", **where)

    @classmethod
    def rate_limited(cls, seconds: int, **where) -> Fault:
        policy = '"fixed window";"resolve";q=5000;w=300'
        limit = {"RateLimit": f'"resolve";r=0;t={seconds}', "RateLimit-Policy": policy}
        return cls.status(429, headers=limit, **where)

    def meets(self, request: Request) -> bool:
        match, method = KINDS[self.kind]
        match, method = self.match or match, self.method or method
        return match in request.path and method in (None, request.method)


@dataclass(frozen=True)
class Request:
    method: str
    path: str  # with the query
    headers: dict[str, str]  # names in lower case
    body: bytes = field(repr=False)


@dataclass
class Reply:
    status: int
    body: bytes
    headers: dict[str, str]


def as_json(data: object, code: int = 200, headers: dict[str, str] | None = None) -> Reply:
    told = {"Content-Type": "application/json", **(headers or {})}
    return Reply(code, json.dumps(data).encode(), told)


def refusal(fault: Fault, **more: object) -> Reply:
    message = fault.headers.get("X-Error-Message", http.HTTPStatus(fault.code).phrase)
    return as_json({"error": message, **more}, fault.code, fault.headers)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def pointer(content: bytes) -> bytes:
    oid, size = sha256(content), len(content)
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()


def spoil(reply: Reply, kind: str, request: Request) -> Reply:
    """Return the answer as a fault makes it, cut to the range that was asked for."""
    headers = reply.headers
    if reply.status != 200:
        return reply
    if kind in ("html", "lfs_pointer"):
        page = WEB_PAGE if kind == "html" else pointer(reply.body)
        told = {name: text for name, text in headers.items() if name == "X-Repo-Commit"}
        told |= {"Content-Type": "text/html" if kind == "html" else "text/plain"}
        return Reply(200, page, told | {"ETag": f'"{git_id(page)}"'})
    if kind == "wrong_bytes":
        reply.body = reply.body[:-1] + bytes(byte ^ 1 for byte in reply.body[-1:])
    if kind in ("no_etag", "etag_changes"):
        kept = {name: text for name, text in headers.items() if not name.endswith(("Etag", "ETag"))}
        reply.headers = kept | ({} if kind == "no_etag" else {"ETag": f'"{secrets.token_hex(20)}"'})
    if kind == "gzip_no_length":
        packed = gzip.compress(reply.body)
        reply.body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
        headers |= {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}
    elif kind != "ignore_range" and "Accept-Ranges" in headers and request.method == "GET":
        return ranged(reply, request.headers.get("range", ""))
    return reply


def ranged(reply: Reply, asked: str) -> Reply:
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked)
    if not match:
        return reply
    (first, last), size = match.groups(), len(reply.body)
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size:
        return Reply(416, b"", {"Content-Range": f"bytes */{size}"})
    told = {**reply.headers, "Content-Range": f"bytes {start}-{end}/{size}"}
    return Reply(206, reply.body[start : end + 1], told)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # clients may leave at any time
            super().handle()

    def log_message(self, *args: object) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):  # do_GET, do_HEAD and so on
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        headers = {name.lower(): text for name, text in self.headers.items()}
        size = int(headers.get("content-length", 0))
        request = Request(self.command, self.path, headers, self.rfile.read(size))
        if len(request.body) < size:
            raise ConnectionAbortedError
        fault = self.server.hub.meet(request) or Fault("slow")
        if fault.kind == "hang":
            self.wait_for_the_end()
        if fault.kind in ("hang", "drop"):
            self.close_connection = True
            return
        self.server.stopping.wait(fault.seconds)
        known = fault.kind == "status"
        reply = refusal(fault) if known else self.server.hub.reply(request)
        if fault.action:
            fault.action()
        self.send(spoil(reply, fault.kind, request), fault)

    def send(self, reply: Reply, fault: Fault) -> None:
        self.send_response(reply.status)
        for header in reply.headers.items():
            self.send_header(*header)
        if "Transfer-Encoding" not in reply.headers:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        body = b"" if self.command == "HEAD" else reply.body
        if fault.kind in ("stall", "cut"):
            body = body[: len(body) // 2 if fault.after is None else fault.after]
            self.close_connection = True
        self.wfile.write(body)
        if fault.kind == "stall":
            self.wait_for_the_end()

    def wait_for_the_end(self) -> None:
        """Wait until the server stops or the client leaves, which makes its end readable."""
        while not self.server.stopping.wait(0.02):
            if select.select([self.connection], [], [], 0)[0]:
                return


class Server(http.server.ThreadingHTTPServer):
    """A server that ends at once, whatever its connections wait for."""

    request_queue_size = 128  # many processes may ask at once

    def __init__(self, hub: StandIn, port: int):
        self.hub, self.stopping, self.open = hub, threading.Event(), set()
        super().__init__(("127.0.0.1", port), Handler)
        self.loop = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.loop.start()

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's looks up the name of the host

    def get_request(self):
        connection, address = super().get_request()
        self.open.add(connection)
        return connection, address

    def shutdown_request(self, request) -> None:
        super().shutdown_request(request)
        self.open.discard(request)

    def end(self) -> None:
        self.stopping.set()
        self.shutdown()
        self.loop.join()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # its thread closes it
        self.server_close()


class RefusedError(Exception):
    """A request is refused; the argument is the fault that the Hub finds."""


@dataclass(frozen=True)
class Commit:
    id: str
    message: str
    files: dict[str, bytes] = field(repr=False)


@dataclass
class Repository:
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)


def is_lfs(name: str, size: int, sample: bytes) -> bool:
    """Say whether a file is kept with Git LFS; `sample` is its first 512 bytes."""
    binary = b"\0" in sample  # as git has it
    return size > 0 and (name.endswith(".safetensors") or size > 10_000_000 or binary)


def describe(name: str, content: bytes) -> dict:
    """Return what all the calls say of a file; the client takes what it knows."""
    size, blob = len(content), git_id(content)
    names = {"type": "file", "rfilename": name, "path": name, "size": size}
    if not is_lfs(name, size, content[:512]):
        return {**names, "blobId": blob, "oid": blob, "etag": blob}
    text, oid = pointer(content), sha256(content)
    lfs = {"sha256": oid, "oid": oid, "size": size, "pointerSize": len(text)}
    return {**names, "blobId": git_id(text), "oid": git_id(text), "etag": oid, "lfs": lfs}


class StandIn:
    """A Hub in memory; `with StandIn() as hub:` serves it.

    `tokens` maps a token to "read" or "write"; while it is empty every token may write. `objects`
    is the store of Git LFS, by sha256: an upload stays there, committed or not. `at_stop` are
    functions that `stop` calls last.
    """

    def __init__(self):
        self.url = ""
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.tokens: dict[str, str] = {}
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.at_stop: list[Callable[[], object]] = []
        self._lock = threading.RLock()
        self._hits: Counter[Fault] = Counter()
        self._server: Server | None = None

    def start(self, port: int | None = None) -> StandIn:
        """Serve at a port; without one at that of last time, so that `url` stays."""
        if self._server is None:
            self._server = Server(self, urlsplit(self.url).port or 0 if port is None else port)
            self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.end()
            self._server = None
        for act in self.at_stop:
            act()

    __enter__ = start

    def __exit__(self, *error: object) -> None:
        self.stop()

    def env(self, home: Path) -> dict[str, str]:
        """Return the variables that point a child process here, away from the user's folders."""
        flags = {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        places = {"HF_HOME": home, "HF_HUB_CACHE": home / "hub", "HF_TOKEN_PATH": home / "token"}
        tokens = {"HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": ""}
        direct = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        told = {"HF_ENDPOINT": self.url} | flags | places | tokens | direct
        return {name: str(value) for name, value in told.items()}

    def add(self, repo: str, files: dict[str, bytes], *, private=False, message="Add") -> str:
        """Commit files to main, beside those that are there; `private` counts for a new one."""
        with self._lock:
            found = self.repositories.setdefault(repo, Repository(private))
            before = self.files(repo) if found.refs else {}
            self.objects |= {sha256(data): data for data in files.values()}
            return self.record(found, "main", before | files, message)

    def record(self, found: Repository, ref: str, files: dict[str, bytes], message: str) -> str:
        told = [len(found.commits), message, [(name, git_id(files[name])) for name in files]]
        commit = hashlib.sha1(repr(told).encode()).hexdigest()
        found.commits[commit] = Commit(commit, message, files)
        found.refs[ref] = commit
        return commit

    def move(self, repo: str, branch: str, commit: str) -> None:
        """Let a branch or tag, which need not be there, point to a commit."""
        self.repositories[repo].refs[branch] = self.commit_of(repo, commit)

    def remove(self, repo: str) -> None:
        del self.repositories[repo]

    def commits(self, repo: str) -> list[Commit]:
        """Return all commits, the oldest first; `create_repo` makes one, as on the Hub."""
        return list(self.repositories[repo].commits.values())

    def commit_of(self, repo: str, revision: str = "main") -> str:
        found = self.repositories[repo]
        return found.commits[found.refs.get(revision, revision)].id

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        return dict(self.repositories[repo].commits[self.commit_of(repo, revision)].files)

    def role(self, request: Request) -> str | None:
        """Return what the token of a request may do; None without one that is known."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return self.tokens.get(token) if self.tokens or not token else "write"

    def read(self, request: Request, repo: str, revision: str) -> tuple[Repository, Commit]:
        """Find a repository and a commit, if the request may read them."""
        found, role = self.repositories.get(repo), self.role(request)
        if found is None or (found.private and role is None):
            told = (404 if role else 401, "RepoNotFound", "Repository not found")
            raise RefusedError(Fault.status(*told))
        commit = found.commits.get(found.refs.get(revision, revision))
        if commit is None:
            raise RefusedError(Fault.status(404, "RevisionNotFound", "Invalid rev id"))
        return found, commit

    def require_write(self, request: Request) -> None:
        role = self.role(request)
        if role is None:
            raise RefusedError(Fault.bad_token())
        if role != "write":
            raise RefusedError(Fault.status(403, "", "You must use a write token"))

    def meet(self, request: Request) -> Fault | None:
        """Note a request; return the fault that meets it."""
        with self._lock:
            self.requests.append(request)
            for fault in self.faults:
                used_up = fault.times is not None and self._hits[fault] >= fault.times
                if fault.meets(request) and not used_up:
                    self._hits[fault] += 1
                    return fault
        return None

    def reply(self, request: Request) -> Reply:
        method = request.method.replace("HEAD", "GET")
        for allowed, pattern, handler in ROUTES:
            match = re.fullmatch(pattern, urlsplit(request.path).path)
            if match and method == allowed:
                names = {name: unquote(text) for name, text in match.groupdict().items() if text}
                with self._lock:
                    try:
                        return handler(self, request, **names)
                    except RefusedError as refused:
                        return refusal(refused.args[0])
        return refusal(Fault.status(404))


def whoami(hub: StandIn, request: Request) -> Reply:
    role = hub.role(request)
    if role is None:
        raise RefusedError(Fault.bad_token())
    token = {"accessToken": {"displayName": "token", "role": role}, "type": "access_token"}
    return as_json({"type": "user", "name": "tester", "orgs": [], "auth": token})


def create(hub: StandIn, request: Request) -> Reply:
    hub.require_write(request)
    asked = json.loads(request.body)
    repo = f"{asked.get('organization') or 'tester'}/{asked['name']}"
    url = f"{hub.url}/{repo}"
    if repo in hub.repositories:
        return refusal(Fault.status(409, "", "You already created this model repo"), url=url)
    files = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
    private = asked.get("visibility") == "private" or bool(asked.get("private"))
    hub.add(repo, files, private=private, message="initial commit")
    return as_json({"url": url})


def info(hub: StandIn, request: Request, repo: str, revision: str = "main") -> Reply:
    found, commit = hub.read(request, repo, revision)
    siblings = [describe(name, data) for name, data in sorted(commit.files.items())]
    if "blobs=true" not in request.path.lower():
        siblings = [{"rfilename": told["rfilename"]} for told in siblings]
    told = {"id": repo, "sha": commit.id, "private": found.private, "gated": False, "tags": []}
    return as_json({**told, "lastModified": "2026-01-02T03:04:05.000Z", "siblings": siblings})


def tree(hub: StandIn, request: Request, repo: str, revision: str) -> Reply:
    files = hub.read(request, repo, revision)[1].files
    return as_json([describe(name, data) for name, data in sorted(files.items())])


def resolve(hub: StandIn, request: Request, repo: str, revision: str, file: str) -> Reply:
    commit = hub.read(request, repo, revision)[1]
    told = {"X-Repo-Commit": commit.id}
    if file not in commit.files:
        raise RefusedError(Fault.status(404, "EntryNotFound", "Entry not found", told))
    known = describe(file, commit.files[file])
    told |= {"ETag": f'"{known["etag"]}"', "Accept-Ranges": "bytes"}
    if "lfs" in known:
        told |= {"X-Linked-Etag": told["ETag"], "X-Linked-Size": str(known["size"])}
    return Reply(200, commit.files[file], told)


def preupload(hub: StandIn, request: Request, repo: str, revision: str) -> Reply:
    hub.require_write(request)
    there = hub.read(request, repo, revision)[1].files
    files = []
    for asked in json.loads(request.body)["files"]:
        name = asked["path"]
        lfs = is_lfs(name, asked["size"], base64.b64decode(asked["sample"]))
        told = {"path": name, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
        files.append(told | ({"oid": describe(name, there[name])["etag"]} if name in there else {}))
    return as_json({"files": files})


def batch(hub: StandIn, request: Request, repo: str) -> Reply:
    hub.require_write(request)
    hub.read(request, repo, "main")
    objects = json.loads(request.body)["objects"]
    for wanted in objects:
        if wanted["oid"] not in hub.objects:
            href = f"{hub.url}/lfs/{wanted['oid']}"
            wanted["actions"] = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
    return as_json({"transfer": "basic", "objects": objects})


def store(hub: StandIn, request: Request, oid: str) -> Reply:
    if sha256(request.body) != oid:
        raise RefusedError(Fault.status(400, "", "The upload is not what was announced"))
    hub.objects[oid] = request.body
    return as_json({})


def verify(hub: StandIn, request: Request, oid: str) -> Reply:
    hub.require_write(request)
    return as_json({}) if oid in hub.objects else refusal(Fault.status(404))


def commit(hub: StandIn, request: Request, repo: str, revision: str) -> Reply:
    hub.require_write(request)
    found, head = hub.read(request, repo, revision)
    header, *changes = [json.loads(line) for line in request.body.splitlines()]
    if not head.id.startswith(header["value"].get("parentCommit", "")):
        message = "A commit has happened since. Please refresh and try again."
        raise RefusedError(Fault.status(412, "", message))
    files = dict(head.files)
    for change in changes:
        apply(hub, files, change["key"], **change["value"])
    ref, told = revision, {}
    if "create_pr=1" in request.path:
        number = 1 + sum(name.startswith("refs/pr/") for name in found.refs)
        ref = f"refs/pr/{number}"
        told["pullRequestUrl"] = f"{hub.url}/{repo}/discussions/{number}"
    made = hub.record(found, ref, files, header["value"]["summary"])
    return as_json({"commitOid": made, "commitUrl": f"{hub.url}/{repo}/commit/{made}", **told})


def apply(hub: StandIn, files: dict[str, bytes], key: str, path: str, oid="", content="", **_):
    """Make one change of a commit to `files`."""
    gone = [name for name in files if name == path or name.startswith(f"{path.rstrip('/')}/")]
    if key == "file":
        files[path] = base64.b64decode(content)
    elif key == "lfsFile" and oid in hub.objects:
        files[path] = hub.objects[oid]
    elif key in ("deletedFile", "deletedFolder") and gone:
        for name in gone:
            del files[name]
    else:
        raise RefusedError(Fault.status(404, "EntryNotFound", f"{key}: {path} is not there"))


REPO, REVISION = r"(?P<repo>[\w.-]+/[\w.-]+?)", r"(?P<revision>[^/]+)"
MODEL, OBJECT = f"/api/models/{REPO}", r"/lfs/(?P<oid>[0-9a-f]{64})"
ROUTES = (
    ("GET", "/api/whoami-v2", whoami),
    ("GET", f"{MODEL}(/revision/{REVISION})?", info),
    ("GET", f"{MODEL}/tree/{REVISION}", tree),
    ("GET", f"/{REPO}/resolve/{REVISION}/(?P<file>.+)", resolve),
    ("POST", "/api/repos/create", create),
    ("POST", "/api/validate-yaml", lambda hub, request: as_json({"errors": [], "warnings": []})),
    ("POST", f"{MODEL}/preupload/{REVISION}", preupload),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", batch),
    ("PUT", OBJECT, store),
    ("POST", f"{OBJECT}/verify", verify),
    ("POST", f"{MODEL}/commit/{REVISION}", commit),
)


def point_client_at(monkeypatch, hub: StandIn, home: Path) -> None:
    """Let huggingface_hub in this process use the stand-in, and the folder `home`.

    It read its variables when it was imported, so its constants are changed; the functions of its
    top level keep the endpoint that one `HfApi` had then.
    """
    from huggingface_hub import constants, hf_api
    from huggingface_hub.utils import close_session

    changes = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
    }
    for name, value in changes.items():
        monkeypatch.setattr(constants, name, value)
    for name, value in {"endpoint": hub.url, "token": None, "_whoami_cache": {}}.items():
        monkeypatch.setattr(hf_api.api, name, value)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    close_session()  # a new one reads NO_PROXY
    hub.at_stop.append(close_session)


def leave_out_waits(monkeypatch) -> list[float]:
    """Let the client wait no time before it asks again; return the list of its waits, in seconds.

    Only the client's modules get another `time`: threads of others may sleep.
    """
    waits: list[float] = []
    clock = types.SimpleNamespace(**{**vars(time), "sleep": waits.append})
    for module in ("file_download", "utils._http"):
        monkeypatch.setattr(f"huggingface_hub.{module}.time", clock)
    return waits
