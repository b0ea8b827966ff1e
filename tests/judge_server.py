"""A model server on 127.0.0.1 with both protocols, which misbehaves on request.

    with JudgeServer(reply=lambda prompt: '{"score": 50}') as server:
        server.script(Status(500), Drop())
        ...
        assert server.chats[1].body["options"]["temperature"] == 0

Scripted answers are given to the next chat requests, in order; `reply` answers all others.
"""

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DIGEST = "365c0bd3c000a25d28ddbf732fe1c6add414de7275464c4e4d1c3b5fcb5d8ad1"
VERSION = "0.11.4"
WARM_UP = "Name the opposite of hot."
"""Part of the warm-up's prompt and no other."""


@dataclass(frozen=True)
class Status:
    """An HTTP status and a body, as JSON if it is neither text nor bytes."""

    status: int
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Drop:
    """Close the connection without an answer."""


@dataclass(frozen=True)
class Slow:
    """Answer as usual, but not before so many seconds have passed."""

    seconds: float


@dataclass(frozen=True)
class Say:
    """Answer with this reply of the model."""

    text: str


@dataclass(frozen=True)
class Chat:
    """A chat request."""

    path: str
    body: dict[str, Any]
    headers: Message

    @property
    def prompt(self) -> str:
        return str(self.body["messages"][0]["content"])


class JudgeServer:
    """The server; runs in threads of this process from construction to `close`.

    Args:
        reply: The model's reply to a prompt, or the server's in its place.
        apis: The protocols.
        models: The names of the models, with tags for Ollama's protocol.
        forms: Values of OpenAI's `response_format` that are accepted; others are HTTP 400.
        key: Bearer key that OpenAI's protocol requires; None requires none.
        port: Port on 127.0.0.1; 0 for any.
    """

    def __init__(
        self,
        reply: Callable[[str], str | Status] = lambda _: '{"score": 50}',
        *,
        apis: tuple[str, ...] = ("ollama",),
        models: tuple[str, ...] = ("llama3:latest", "phi3:mini"),
        forms: tuple[str, ...] = ("json_schema", "json_object"),
        key: str | None = None,
        port: int = 0,
    ) -> None:
        self.reply, self.apis, self.models, self.forms, self.key = reply, apis, models, forms, key
        self.digest, self.version = DIGEST, VERSION
        self.chats: list[Chat] = []
        """Every chat request, in order."""
        self.gets: list[str] = []
        """The paths of all other requests, in order."""
        self.instead: dict[str, Status] = {}
        """Answers to GET requests by path, in place of the usual ones."""
        self.most_at_once = 0
        """The largest number of chat requests that were under way at one time."""
        self._script: list[Status | Drop | Slow | Say] = []
        self._under_way = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.site = self
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def __enter__(self) -> "JudgeServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop, cutting short what is slow."""
        if not self._closing.is_set():
            self._closing.set()
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def script(self, *manners: Status | Drop | Slow | Say, after_warm_up: bool = False) -> None:
        """Set the answers to the next chat requests, the warm-up's before the others."""
        self._script += [Say("")] * after_warm_up + list(manners)

    @property
    def measured(self) -> list[Chat]:
        """The chat requests except the warm-up's."""
        return [chat for chat in self.chats if WARM_UP not in chat.prompt]

    def look_up(self, path: str) -> Status:
        """The answer to a GET."""
        with self._lock:
            self.gets.append(path)
        if path in self.instead:
            return self.instead[path]
        if path == "/api/version" and "ollama" in self.apis:
            return Status(200, {"version": self.version})
        if path == "/api/tags" and "ollama" in self.apis:
            entries = [{"name": name, "digest": self.digest} for name in self.models]
            return Status(200, {"models": entries})
        if path == "/v1/models" and "openai" in self.apis:
            return Status(200, {"data": [{"id": name} for name in self.models]})
        return Status(404, {"error": "not found"})

    def answer(self, chat: Chat) -> Status | Drop:
        """The answer to a chat request, after its time."""
        with self._lock:
            self.chats.append(chat)
            manner = self._script.pop(0) if self._script else None
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            if isinstance(manner, Slow):
                self._closing.wait(manner.seconds)
            else:
                time.sleep(0.01)  # so that requests which may overlap do
        finally:
            with self._lock:
                self._under_way -= 1
        if isinstance(manner, Status | Drop):
            return manner
        text = manner.text if isinstance(manner, Say) else self.reply(chat.prompt)
        if isinstance(text, Status):
            return text
        if chat.path == "/api/chat" and "ollama" in self.apis:
            return Status(200, {"message": {"role": "assistant", "content": text}, "done": True})
        if chat.path != "/v1/chat/completions" or "openai" not in self.apis:
            return Status(404, {"error": "not found"})
        form = chat.body.get("response_format", {"type": "none"})["type"]
        if form not in (*self.forms, "none"):
            return Status(400, {"error": {"message": f"response_format {form} is unknown"}})
        choice = {"message": {"role": "assistant", "content": text}}
        return Status(200, {"choices": [choice], "system_fingerprint": "b1234"})


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    site: JudgeServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up are what these tests are about


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    server: _Server

    def do_GET(self) -> None:
        self._send(self._refused() or self.server.site.look_up(self.path))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self._refused() or self.server.site.answer(Chat(self.path, body, self.headers))
        if isinstance(answer, Drop):
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            self._send(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _refused(self) -> Status | None:
        key = self.server.site.key
        given = self.headers.get("Authorization")
        if key is None or not self.path.startswith("/v1") or given == f"Bearer {key}":
            return None
        return Status(401, {"error": {"message": f"wrong key: {given}"}})

    def _send(self, answer: Status) -> None:
        is_text = isinstance(answer.body, str | bytes)
        text = str(answer.body) if is_text else json.dumps(answer.body)
        content = answer.body if isinstance(answer.body, bytes) else text.encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
