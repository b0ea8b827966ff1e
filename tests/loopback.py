"""A web server on 127.0.0.1 that misbehaves on request, for tests of downloads.

    with Loopback() as server:
        url = server.serve("/a.zip", content, drops=1, drop_after=100_000)
        ...
        assert server.paths("GET") == ["/a.zip", "/a.zip"]

It also behaves like the Hugging Face Hub for `hf_hub_download` and `snapshot_download`, and
`blackhole` provides an address where connections neither succeed nor fail.
"""

import hashlib
import json
import re
import select
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """A request that the server received."""

    method: str
    path: str
    headers: Message
    """Case-insensitive: `headers["range"]` is `headers["Range"]`; None where absent."""


@dataclass
class _Route:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    drops: int = 0
    """Number of next responses whose connection is closed after `drop_after` bytes of the body."""
    drop_after: int = 0
    failures: int = 0
    """Number of next responses that are HTTP 503."""
    silent: bool = False
    trickle_s: float = 0.0
    """Pause after each byte of the body, in seconds."""
    retry_after: int | None = None
    """Downloads are HTTP 429 with this header, in seconds."""


class Loopback:
    """The server; runs in threads of this process from construction to `close`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        """All requests, in order."""
        self._routes: dict[str, _Route] = {}
        self._repos: dict[str, dict[str, str]] = {}  # repository -> revision -> commit
        self._files: dict[tuple[str, str], list[dict[str, Any]]] = {}  # by repository and commit
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.site = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        # With the default polling interval, closing would take every test 0.5 s.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def __enter__(self) -> "Loopback":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop after the responses in progress; those of `vanish` end here."""
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def paths(self, method: str = "GET") -> list[str]:
        """The requested paths of one method, in order."""
        return [request.path for request in self.requests if request.method == method]

    def serve(
        self,
        path: str,
        body: bytes,
        *,
        etag: str | None = None,
        drops: int = 0,
        drop_after: int = 0,
        failures: int = 0,
        trickle_s: float = 0.0,
        retry_after: int | None = None,
    ) -> str:
        """Serve a file at a path, in place of what was there.

        Args:
            path: Path on the server.
            body: Content of the file.
            etag: Entity tag without quotes; by default derived from the content.
            drops: How many responses end after `drop_after` bytes of the body.
            drop_after: Number of bytes of the body in such a response.
            failures: How many responses are HTTP 503, before all others.
            trickle_s: Pause after each byte of the body, in seconds.
            retry_after: Refuse downloads with HTTP 429, to be repeated after so many seconds.

        Returns:
            The address.
        """
        headers = {"Content-Type": "application/octet-stream", "ETag": f'"{etag or _etag(body)}"'}
        self._routes[path] = _Route(
            headers=headers,
            body=body,
            drops=drops,
            drop_after=drop_after,
            failures=failures,
            trickle_s=trickle_s,
            retry_after=retry_after,
        )
        return self.url + path

    def redirect(self, path: str, target: str) -> str:
        """Redirect (302) from a path to `target`; returns the address."""
        self._routes[path] = _Route(status=302, headers={"Location": target})
        return self.url + path

    def vanish(self, path: str) -> str:
        """Accept requests for a path and never respond; returns the address."""
        self._routes[path] = _Route(silent=True)
        return self.url + path

    def hub_file(
        self,
        repo: str,
        filename: str,
        body: bytes,
        *,
        revision: str = "c" * 40,
        etag: str | None = None,
        large: bool = True,
        **faults: Any,
    ) -> str:
        """Serve a file of a Hub repository at one commit, which is also `main`.

        Args:
            repo: Repository, e.g. "openai-community/gpt2".
            filename: Path in the repository.
            body: Content.
            revision: Commit, 40 hexadecimal digits.
            etag: SHA-256 that the Hub reports; by default the true one.
            large: Whether the file is in large-file storage, behind a redirect, as weights are.
            **faults: `drops`, `drop_after`, `failures` of the content, as in `serve`.

        Returns:
            The address that serves the content.
        """
        etag = etag or hashlib.sha256(body).hexdigest()
        self._list(repo, filename, len(body), etag, revision)
        commit = {"X-Repo-Commit": revision}
        names = (revision, "main")
        self._repos.setdefault(repo, {}).update(dict.fromkeys(names, revision))
        paths = [f"/{repo}/resolve/{name}/{filename}" for name in names]
        if not large:
            for path in paths:
                self.serve(path, body, etag=etag, **faults)
                self._routes[path].headers |= commit
            return self.url + paths[0]
        path = f"/cdn/{repo}/{revision}/{filename}"
        # Another host name: the client treats a redirect within the same host as part of the Hub.
        address = self.serve(path, body, etag=etag, **faults).replace("127.0.0.1", "localhost")
        linked = {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(body))}
        for path in paths:
            headers = {"Location": address, "ETag": f'"{_etag(path.encode())}"'}
            self._routes[path] = _Route(status=302, headers=headers | commit | linked)
        return address

    def _list(self, repo: str, filename: str, size: int, etag: str, revision: str) -> None:
        """Add a file to what the Hub says that a repository contains at a commit."""
        files = self._files.setdefault((repo, revision), [])
        files.append({"type": "file", "path": filename, "size": size, "oid": etag})
        siblings = [{"rfilename": file["path"]} for file in files]
        for name in (revision, "main"):
            self.serve(f"/api/models/{repo}/tree/{name}", json.dumps(files).encode())
            info = {"id": repo, "sha": revision, "siblings": siblings}
            self.serve(f"/api/models/{repo}/revision/{name}", json.dumps(info).encode())

    def _answer(self, request: Request) -> tuple[_Route, int | None]:
        """The route of a request, and after how many bytes of the body to hang up, if at all."""
        with self._lock:
            self.requests.append(request)
            route = self._routes.get(request.path)
            if route is None:
                return self._not_found(request.path), None
            if route.failures:
                route.failures -= 1
                return _Route(status=503), None
            if request.method == "GET" and route.retry_after is not None:
                return _Route(status=429, headers={"Retry-After": str(route.retry_after)}), None
            if request.method == "GET" and route.drops:
                route.drops -= 1
                return route, route.drop_after
            return route, None

    def _not_found(self, path: str) -> _Route:
        hub = re.fullmatch(r"/(.+)/resolve/([^/]+)/.+", path) or re.fullmatch(
            r"/api/models/(.+)/(?:tree|revision)/([^/]+)", path
        )
        if hub is None:
            return _Route(status=404)
        commits = self._repos.get(hub[1])
        if commits is None:
            headers = {"X-Error-Code": "RepoNotFound"}
        elif hub[2] not in commits:
            headers = {"X-Error-Code": "RevisionNotFound"}
        else:  # with another commit, the client would no longer find its cached files
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commits[hub[2]]}
        return _Route(status=404, headers=headers | {"X-Error-Message": headers["X-Error-Code"]})


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


class _Server(ThreadingHTTPServer):
    # Joined by server_close(): no socket is left to the garbage collector, which would warn.
    daemon_threads = False
    site: Loopback

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that hang up are part of these tests.
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    """Time without a request after which a connection is closed, in seconds."""
    server: _Server

    def do_HEAD(self) -> None:
        self._respond()

    def do_GET(self) -> None:
        self._respond()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _respond(self) -> None:
        # Requests to a proxy have a full address, of which only the path matters here.
        path = urlsplit(self.path).path
        site = self.server.site
        route, hang_up_after = site._answer(Request(self.command, path, self.headers))
        if route.silent:
            site._closing.wait()
            self.close_connection = True
            return
        status, body, extra = self._select(route)
        self.send_response(status)
        for name, value in (route.headers | extra).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "GET":
            return
        if not route.trickle_s:
            self.wfile.write(body[:hang_up_after])
            return
        for byte in body:
            self.wfile.write(bytes([byte]))
            if site._closing.wait(route.trickle_s):
                return

    def _select(self, route: _Route) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and further headers; the Hub client resumes with Range requests."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None or route.status != 200:
            return route.status, route.body, {"Accept-Ranges": "bytes"}
        size = len(route.body)
        start = int(asked[1])
        if start >= size:
            return 416, b"", {"Content-Range": f"bytes */{size}"}
        stop = min(int(asked[2]) + 1, size) if asked[2] else size
        return 206, route.body[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}


@contextmanager
def blackhole() -> Iterator[str]:
    """Provide the address of a port on 127.0.0.1 to which connections hang until they time out.

    On Linux a listener whose queue of unaccepted connections is full drops every further SYN: to a
    client it looks like a firewall that drops packets.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(16):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            if not select.select([], [filler], [], 0.1)[1]:
                break
        else:
            raise OSError("the queue of the listener does not fill up: is this not Linux?")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
