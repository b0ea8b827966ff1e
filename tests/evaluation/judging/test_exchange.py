import gzip
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from judge_server import Drop, JudgeServer, Slow, Status
from loopback import blackhole

from llm_lightning import network
from llm_lightning.evaluation.judging import answers, exchange
from llm_lightning.evaluation.judging.exchange import (
    Exchange,
    NoServer,
    RequestRefused,
    ServerFailed,
    Stopped,
)

CHAT = "/api/chat"
BODY = {"messages": [{"content": "hello"}]}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BACKOFF_S", 0.01)


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer() as running:
        yield running


def unused_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def test_json_goes_there_and_back(server: JudgeServer) -> None:
    answer = Exchange(server.url, 2.0, 0).post(CHAT, BODY)
    assert answer["message"]["content"] == '{"score": 50}'
    assert server.chats[0].body == BODY


@pytest.mark.parametrize(
    "trouble",
    [
        Status(500, {"error": "boom"}),
        Status(503),
        Status(429, {"error": "busy"}),
        Status(200, "<html>no JSON</html>"),
        Status(200, {"error": {"message": "slow down", "code": 429}}),
        Status(200, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}),
        Status(200, {"error": {"message": "boom", "status": "503"}}),
        Status(200, "[" * 100_000),
        Drop(),
        Slow(5),
    ],
    ids=str,
)
def test_passing_trouble_is_waited_out(server: JudgeServer, trouble: Status | Drop | Slow) -> None:
    server.script(trouble, trouble)
    assert Exchange(server.url, 0.5, 2).post(CHAT, BODY)["done"]
    assert len(server.chats) == 3


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (Status(500, {"error": "boom"}), "HTTP 500: boom"),
        (Status(502, {"error": {"message": "no\nway"}}), "HTTP 502: no way"),
        (Status(500), "HTTP 500: Internal Server Error"),
        (Status(200, "<html>"), "not JSON: '<html>'"),
        (Status(200, "[" * 100_000), "not JSON"),
        (Status(200, {"error": {"message": "slow", "code": 429}}), "HTTP 200 with error 429: slow"),
        (Drop(), "disconnected"),
        (Slow(5), r"no answer within 0\.4 s"),
    ],
    ids=str,
)
def test_lasting_trouble_is_named(
    server: JudgeServer, trouble: Status | Drop | Slow, message: str
) -> None:
    server.script(trouble, trouble)
    with pytest.raises(ServerFailed, match=rf"{server.url} was asked 2 times; last: .*{message}"):
        Exchange(server.url, 0.4, 1).post(CHAT, BODY)
    assert len(server.chats) == 2


def test_pauses_double(server: JudgeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(exchange, "BACKOFF_S", 0.5)
    monkeypatch.setattr(Exchange, "_sleep", lambda self, seconds: pauses.append(seconds))
    server.script(*[Status(500)] * 3)
    Exchange(server.url, 2.0, 3).post(CHAT, BODY)
    assert pauses == [0.5, 1, 2]


def test_pauses_are_waited_out(server: JudgeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BACKOFF_S", 0.1)
    server.script(Status(500))
    started = time.monotonic()
    Exchange(server.url, 2.0, 1).post(CHAT, BODY)
    assert 0.1 <= time.monotonic() - started < 3


def test_pause_is_the_servers_retry_after(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Exchange, "_sleep", lambda self, seconds: pauses.append(seconds))
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=60), usegmt=True)
    headers = [{"Retry-After": value} for value in ("7", soon, past, "120", "in a while")]
    server.script(*(Status(429, headers=header) for header in headers))
    Exchange(server.url, 2.0, 5).post(CHAT, BODY)
    assert pauses[0] == 7
    assert 50 < pauses[1] <= 60
    assert pauses[2:] == [0, 120, exchange.BACKOFF_S * 2**4], "unclear ones are ignored"


def test_too_long_a_pause_is_not_waited_for(server: JudgeServer) -> None:
    server.script(Status(429, {"error": "quota"}, {"Retry-After": "3600"}))
    with pytest.raises(ServerFailed, match="HTTP 429: quota; retry only after 3600 s"):
        Exchange(server.url, 2.0, 3).post(CHAT, BODY)
    assert len(server.chats) == 1


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (Status(400, {"error": "bad seed"}), "HTTP 400: bad seed"),
        (Status(404, "<html>nothing</html>"), "HTTP 404: <html>nothing"),
        (Status(200, {"error": {"message": "no m", "code": 404}}), "HTTP 200 with error 404: no m"),
        (Status(200, {"error": "gone"}), "HTTP 200 with an error: gone"),
        (Status(308, headers={"Location": "https://there"}), "redirects to https://there: give"),
    ],
)
def test_refusal_is_not_repeated(server: JudgeServer, refusal: Status, message: str) -> None:
    server.script(refusal)
    with pytest.raises(RequestRefused, match=message) as caught:
        Exchange(server.url, 2.0, 3).post(CHAT, BODY)
    named = {"no m": 404, "gone": 0}
    assert caught.value.status == named.get(caught.value.said, refusal.status)
    assert len(server.chats) == 1


@pytest.mark.parametrize("packing", ["identity", "gzip", "deflate"])
def test_answer_without_end_is_not_read(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    """Nor one that is small until it is unpacked."""
    monkeypatch.setattr(answers, "MAX_ANSWER_BYTES", 2**20)
    pack = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[packing]
    content = pack(b'{"message": "' + b" " * 2**21)
    headers = {} if packing == "identity" else {"Content-Encoding": packing}
    server.script(Status(200, content, headers))
    with pytest.raises(ServerFailed, match="answer is larger than 1 MiB: not read"):
        Exchange(server.url, 5.0, 3).post(CHAT, BODY)
    assert len(server.chats) == 1, "it would be as large again"


def test_packed_answer_of_usual_size_is_unpacked(server: JudgeServer) -> None:
    for packing, pack in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        server.script(Status(200, pack(b'{"a": 1}'), {"Content-Encoding": packing}))
        assert Exchange(server.url, 2.0, 0).post(CHAT, BODY) == {"a": 1}
    for packing, content in (("br", b"x"), ("gzip, gzip", b"x"), ("gzip", b"no gzip")):
        server.script(Status(200, content, {"Content-Encoding": packing}))
        with pytest.raises(ServerFailed, match=packing):
            Exchange(server.url, 2.0, 0).post(CHAT, BODY)


def test_nobody_there_is_known_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(NoServer, match="Connection refused"):
        Exchange(f"http://127.0.0.1:{unused_port()}", 60.0, 9).get("/api/version")
    assert time.monotonic() - started < 4


def test_host_that_swallows_packets_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "ANSWER_TIMEOUT_S", 0.3)
    with blackhole() as url, pytest.raises(NoServer, match=r"no answer within 0\.3 s"):
        Exchange(url, 60.0, 9).get("/api/version")
    assert network.ANSWER_TIMEOUT_S < 10


def test_lookup_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.delenv("LLM_LIGHTNING_OFFLINE")
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait() and [])
    try:
        with pytest.raises(NoServer, match=r"no answer within 0\.2 s"):
            Exchange("http://judge.invalid:11434", 60.0, 9).get("/api/version")
    finally:
        released.set()


def test_server_that_answers_badly_is_there(server: JudgeServer) -> None:
    server.apis = ()
    with pytest.raises(RequestRefused, match="HTTP 404"):
        Exchange(server.url, 2.0, 0).get("/api/version")


@pytest.mark.parametrize("waiting_for", ["an answer", "the next attempt"])
def test_stop_ends_all_waiting(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch, waiting_for: str
) -> None:
    monkeypatch.setattr(exchange, "BACKOFF_S", 60.0)
    server.script(Slow(30) if waiting_for == "an answer" else Status(500))
    talk = Exchange(server.url, 60.0, 3)
    threading.Timer(0.2, talk.stop).start()
    started = time.monotonic()
    with pytest.raises(Stopped):
        talk.post(CHAT, BODY)
    with pytest.raises(Stopped):
        talk.post(CHAT, BODY)
    assert time.monotonic() - started < 10


def test_key_is_sent_and_never_shown(server: JudgeServer) -> None:
    server.apis, server.key = ("openai",), "sk-right"
    with pytest.raises(RequestRefused, match=r"HTTP 401: wrong key: Bearer \*\*\*") as caught:
        Exchange(server.url, 2.0, 0, key="sk-wrong").get("/v1/models")
    assert "sk-wrong" not in str(caught.value)
    assert Exchange(server.url, 2.0, 0, key="sk-right").get("/v1/models")["data"]


def test_key_that_cannot_be_sent_is_refused_unshown() -> None:
    with pytest.raises(ValueError, match="OPENAI_API_KEY contains a line end") as caught:
        Exchange("http://localhost:1", 1.0, 0, key="sk-a\nsk-b")
    assert "sk-a" not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:11434", "ftp://host", "http://", "judge"])
def test_address_is_checked(url: str) -> None:
    with pytest.raises(ValueError, match="--url must look like"):
        Exchange(url, 1.0, 0)


@pytest.mark.parametrize("url", ["http://me:secret@localhost:1", "http://localhost:1/?key=secret"])
def test_secrets_do_not_belong_into_the_address(url: str) -> None:
    with pytest.raises(ValueError, match="OPENAI_API_KEY") as caught:
        Exchange(url, 1.0, 0)
    assert "secret" not in str(caught.value)


def test_offline_forbids_other_machines_only(server: JudgeServer) -> None:
    with pytest.raises(NoServer, match="LLM_LIGHTNING_OFFLINE=1 forbids"):
        Exchange("https://api.openai.com", 1.0, 0)
    for host in ("127.0.0.1", "localhost"):
        url = f"http://{host}:{server.port}"
        assert Exchange(url, 2.0, 0).get("/api/version")["version"]


def test_proxy_is_not_asked_for_this_machine(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert Exchange(server.url, 2.0, 0).get("/api/version")["version"]
