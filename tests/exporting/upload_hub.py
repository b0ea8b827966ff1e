"""The Hub on 127.0.0.1, which also takes uploads: the protocol of `upload_folder` without Xet."""

import base64
import json
import re
from typing import Any
from urllib.parse import urlsplit

from loopback import Loopback, Request, _Handler

TOKEN = "secret"
COMMIT = "c" * 40


class UploadHub(Loopback):
    """A Hub where one token may write to the repositories of `me`."""

    def __init__(self) -> None:
        super().__init__()
        self._server.RequestHandlerClass = _UploadHandler
        self.created: list[dict[str, Any]] = []
        """Bodies of the requests that made repositories."""
        self.files: dict[str, bytes] = {}
        """What was committed, by path."""
        self.stuck_at: str | None = None
        """Part of a method and path, such as `PUT /lfs`, that are never answered in full."""
        self.trickles = ""
        """Whether it then sends the `headers` or the `body` a byte at a time, or nothing."""
        self._stored: dict[str, bytes] = {}  # large files by their digest

    def answer(self, method: str, path: str, token: str | None, body: bytes) -> tuple[int, Any]:
        """Status and JSON for a request that writes."""
        if method == "PUT":
            self._stored[path.removeprefix("/lfs/")] = body
            return 200, {}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            asked = json.loads(body)
            if asked["organization"] != "me":
                return 403, {"error": "You don't have the rights to create a model there"}
            self.created.append(asked)
            return 200, {"url": f"{self.url}/{asked['organization']}/{asked['name']}"}
        if re.fullmatch(r"/api/models/.+/preupload/main", path):
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": name, "shouldIgnore": False, "oid": None,
                      "uploadMode": "lfs" if name.endswith(".safetensors") else "regular"}
                     for name in names]  # fmt: skip
            return 200, {"files": modes}
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.url}/lfs/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return 200, {"transfer": "basic", "objects": objects}
        if found := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            self._commit(found[1], [json.loads(line) for line in body.splitlines()])
            url = f"{self.url}/{found[1]}/commit/{COMMIT}"
            return 200, {"commitUrl": url, "commitOid": COMMIT, "success": True}
        return 404, {"error": f"{method} {path}"}

    def _commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self._stored[value["oid"]]
        for path, content in self.files.items():
            self.hub_file(repo, path, content, revision=COMMIT, large=False)


class _UploadHandler(_Handler):
    def do_POST(self) -> None:
        self._write()

    def do_PUT(self) -> None:
        self._write()

    def _write(self) -> None:
        site: Any = self.server.site
        path = urlsplit(self.path).path
        site.requests.append(Request(self.command, path, self.headers))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        if site.stuck_at and site.stuck_at in f"{self.command} {path}":
            self._stick(site)
            return
        status, content = site.answer(self.command, path, self.headers["authorization"], body)
        answer = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _stick(self, site: Any) -> None:
        self.close_connection = True
        head = b"HTTP/1.1 200 OK\r\n"
        if site.trickles == "body":
            head += b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
        self.wfile.write(head if site.trickles else b"")
        while not site._closing.wait(0.02):
            if site.trickles:
                self.wfile.write(b"a")

    def _chunks(self) -> bytes:
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole
