"""A web server on 127.0.0.1 that misbehaves on request, for tests of downloads.

    with Loopback() as server:
        url = server.serve("/a.zip", content, drops=1, drop_after=100_000)
        ...
        assert server.requests[1].headers["Range"] == "bytes=65536-"

It also answers as the Hugging Face Hub does for `hf_hub_download(..., endpoint=server.url)`, and
`blackhole` lends an address where connections neither succeed nor fail.
"""

import hashlib
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
    """What a client asked."""

    method: str
    path: str
    headers: Message
    """Case-insensitive: `headers["range"]` is `headers["Range"]`; None where absent."""


@dataclass
class _Route:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ranges: bool = False
    drops: int = 0
    """Answers with a body, from now on, whose connection is closed after `drop_after` bytes."""
    drop_after: int = 0
    failures: int = 0
    """Answers, from now on, that are 503."""
    silent: bool = False


class Loopback:
    """The server; runs in threads of this process from construction to `close`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        """Everything that was asked, in order."""
        self.ignore_if_range = False
        """Send the range that is asked for even of a file that changed, as sloppy servers do."""
        self._routes: dict[str, _Route] = {}
        self._repos: dict[str, set[str]] = {}
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.site = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        # The default poll of 0.5 s is what closing would cost every test.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def __enter__(self) -> "Loopback":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop, having waited for the answers under way; those of `vanish` end here."""
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def paths(self, method: str = "GET") -> list[str]:
        """The paths asked with one method, in order."""
        return [request.path for request in self.requests if request.method == method]

    def serve(
        self,
        path: str,
        body: bytes,
        *,
        etag: str | None = "from the body",
        ranges: bool = True,
        drops: int = 0,
        drop_after: int = 0,
        failures: int = 0,
    ) -> str:
        """Put a file at a path, or other content or manners in place of what is there.

        Args:
            path: Path on the server.
            body: Content of the file.
            etag: Entity tag without quotes; None sends none.
            ranges: Whether Range and If-Range are heeded.
            drops: How many answers are cut after `drop_after` bytes of the body.
            drop_after: Bytes of the body that a cut answer holds.
            failures: How many answers are 503, ahead of all others.

        Returns:
            The address.
        """
        headers = {"Content-Type": "application/octet-stream"}
        if etag is not None:
            headers["ETag"] = f'"{_etag(body) if etag == "from the body" else etag}"'
        self._routes[path] = _Route(
            headers=headers,
            body=body,
            ranges=ranges,
            drops=drops,
            drop_after=drop_after,
            failures=failures,
        )
        return self.url + path

    def redirect(self, path: str, target: str) -> str:
        """Answer 302 to `target` at a path; returns the address."""
        self._routes[path] = _Route(status=302, headers={"Location": target})
        return self.url + path

    def vanish(self, path: str) -> str:
        """Accept requests for a path and never answer them; returns the address."""
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
        **manners: Any,
    ) -> str:
        """Put a file into a repository of the Hub at one commit, also known as `main`.

        Args:
            repo: Repository, e.g. "openai-community/gpt2".
            filename: Path in the repository.
            body: Content.
            revision: Commit, 40 hexadecimal digits.
            etag: What the Hub claims is the content's SHA-256; None for the true one.
            large: Whether the file is in large storage: a redirect, as for weights.
            **manners: `drops`, `drop_after`, `failures` of the bytes, as in `serve`.

        Returns:
            The address that answers with the bytes.
        """
        etag = etag or hashlib.sha256(body).hexdigest()
        commit = {"X-Repo-Commit": revision}
        names = (revision, "main")
        self._repos.setdefault(repo, set()).update(names)
        paths = [f"/{repo}/resolve/{name}/{filename}" for name in names]
        if not large:
            for path in paths:
                self.serve(path, body, etag=etag, **manners)
                self._routes[path].headers |= commit
            return self.url + paths[0]
        path = f"/cdn/{repo}/{revision}/{filename}"
        # By another name: a redirect to its own origin the client follows as if it were the Hub.
        address = self.serve(path, body, etag=etag, **manners).replace("127.0.0.1", "localhost")
        linked = {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(body))}
        for path in paths:
            headers = {"Location": address, "ETag": f'"{_etag(path.encode())}"'}
            self._routes[path] = _Route(status=302, headers=headers | commit | linked)
        return address

    def _answer(self, request: Request) -> tuple[_Route, int | None]:
        """The route for a request and the number of body bytes after which to hang up, if any."""
        with self._lock:
            self.requests.append(request)
            route = self._routes.get(request.path)
            if route is None:
                return self._not_found(request.path), None
            if route.failures:
                route.failures -= 1
                return _Route(status=503), None
            if request.method == "GET" and route.drops:
                route.drops -= 1
                return route, route.drop_after
            return route, None

    def _not_found(self, path: str) -> _Route:
        hub = re.fullmatch(r"/(.+)/resolve/([^/]+)/.+", path)
        if hub is None:
            return _Route(status=404)
        known = self._repos.get(hub[1])
        if known is None:
            code = "RepoNotFound"
        else:
            code = "EntryNotFound" if hub[2] in known else "RevisionNotFound"
        headers = {"X-Error-Code": code, "X-Error-Message": code}
        return _Route(status=404, headers=headers | {"X-Repo-Commit": "c" * 40})


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


class _Server(ThreadingHTTPServer):
    # Joined by server_close(): no socket is left to the garbage collector, which would warn.
    daemon_threads = False
    site: Loopback

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that hang up are what these tests are about.
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    """Silence of a client after which its thread ends, in seconds."""
    server: _Server

    def do_HEAD(self) -> None:
        self._respond()

    def do_GET(self) -> None:
        self._respond()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _respond(self) -> None:
        # As a proxy the server is asked for a whole address, of which it looks at the path only.
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
        if self.command == "GET":
            self.wfile.write(body[:hang_up_after])

    def _select(self, route: _Route) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and further headers, with regard to Range and If-Range."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not route.ranges:
            return route.status, route.body, {}
        condition = None if self.server.site.ignore_if_range else self.headers.get("If-Range")
        if asked is None or (condition and condition != route.headers.get("ETag")):
            return route.status, route.body, {"Accept-Ranges": "bytes"}
        size = len(route.body)
        start = int(asked[1])
        if start >= size:
            return 416, b"", {"Content-Range": f"bytes */{size}"}
        stop = min(int(asked[2]) + 1, size) if asked[2] else size
        return 206, route.body[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}


@contextmanager
def blackhole() -> Iterator[str]:
    """Lend the address of a port on 127.0.0.1 to which connections hang until they time out.

    On Linux a listener whose queue of unaccepted connections is full drops every further SYN,
    which to a client looks like a firewall that drops packets.
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
