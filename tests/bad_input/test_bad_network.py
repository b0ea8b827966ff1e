"""Servers that want to be left alone, or send a byte at a time, are given up within limits."""

import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hub_process import in_new_process
from loopback import Loopback

from llm_lightning import network
from llm_lightning.data.download import fetch
from llm_lightning.network import Reachability, Stalled, Unavailable, while_moving
from llm_lightning.run_format import status
from llm_lightning.run_format.redaction import without_secrets


@contextmanager
def server(respond: Any) -> Iterator[str]:
    """An HTTP server whose requests are answered by a function of the handler."""

    class Handler(http.server.BaseHTTPRequestHandler):
        do_GET = do_HEAD = lambda self: respond(self)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        listening.block_on_close = False
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}"
        finally:
            listening.shutdown()
            thread.join()


def too_many_requests(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(429)
    handler.send_header("Retry-After", "3601")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def test_a_server_that_wants_to_be_left_alone_is_unavailable_at_once() -> None:
    with server(too_many_requests) as url:
        started = time.monotonic()
        problem = Reachability(url).problem()
        host = url.removeprefix("http://")
        assert problem == (f"{host} has had too many requests (HTTP 429), and asks to wait 3,601 s")
        assert time.monotonic() - started < 3


def test_users_and_passwords_are_not_shown() -> None:
    problem = Reachability("http://me:secret-word@127.0.0.1:9/x", 1.0).problem()
    assert problem is not None
    assert problem.startswith("127.0.0.1:9: ")
    assert "secret-word" not in problem


def test_a_download_that_moves_may_take_its_time() -> None:
    received = 0

    def download() -> str:
        nonlocal received
        for _ in range(6):
            time.sleep(0.05)
            received += 100
        return "all"

    assert while_moving(download, lambda: received, within_s=0.15, least_bytes=100) == "all"


def test_a_download_that_hardly_moves_is_given_up() -> None:
    received = 0
    stop = threading.Event()

    def download() -> None:
        nonlocal received
        while not stop.wait(0.02):
            received += 1

    started = time.monotonic()
    with pytest.raises(Stalled, match=r"only \d+ bytes arrived within 0.2 s, fewer than 100"):
        while_moving(download, lambda: received, within_s=0.2, least_bytes=100)
    assert time.monotonic() - started < 2
    stop.set()


def test_an_error_of_a_download_comes_out() -> None:
    def download() -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        while_moving(download, lambda: 0, within_s=5.0)


LEFT_BEHIND = """
import time
from concurrent.futures import ThreadPoolExecutor
from llm_lightning.network import Stalled, while_moving

def download():  # as the Hub's client does where there are several files
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(time.sleep, [300, 300]))

try:
    while_moving(download, lambda: 0, within_s=0.1)
except Stalled:
    print("given up")
"""


@pytest.mark.slow
def test_what_was_given_up_does_not_keep_the_process_from_ending() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT_BEHIND], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "given up\n"), done.stderr


def test_headers_that_trickle_end_a_download_within_its_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's time-outs are of single reads, which a byte now and then never exceeds."""
    stop = threading.Event()

    def trickle(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.command == "HEAD":  # asks whether the server is there
            handler.send_response(200)
            handler.end_headers()
            return
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not stop.wait(0.02):
            handler.wfile.write(b"a")

    monkeypatch.delenv("LLM_LIGHTNING_OFFLINE")
    with server(trickle) as url:
        started = time.monotonic()
        with pytest.raises(Unavailable, match=r"only 0 bytes arrived within 0\.3 s"):
            fetch(
                "the data", [f"{url}/a.zip"], tmp_path / "cache" / "a.zip", advice="wait",
                slow_after_s=0.2, read_timeout_s=0.1,
            )  # fmt: skip
        assert time.monotonic() - started < 3
        stop.set()
    time.sleep(0.1)  # what was left behind ends, and writes nothing
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["a.zip.lock"]


LOCATE = """
import sys, time
from llm_lightning import network
from llm_lightning.data.download import fetch
from llm_lightning.backbone.families import locate
from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.backbone.weights import ModelConfig
network.STALLED_AFTER_S, network.LEAST_BYTES = 0.5, 1000
for model in (ModelConfig(hub_id="org/gpt2", revision="main"), HubModel(hub_id="org/bert")):
    started = time.monotonic()
    try:
        print("got", locate(model))
    except network.Unavailable as error:
        print(f"{time.monotonic() - started:.1f}", str(error.reason).splitlines()[0], flush=True)
"""


def locate_in_new_process(endpoint: str, hf_home: Path) -> list[tuple[float, str]]:
    done = in_new_process(LOCATE, endpoint, hf_home, HF_TOKEN="hf_abcdefghijklmnopqrstuvwxyz")
    assert "hf_abcdefgh" not in done.stdout + done.stderr
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    return [(float(seconds), reason) for seconds, _, reason in lines]


@pytest.mark.slow
def test_a_hub_that_sends_a_byte_at_a_time_is_given_up(tmp_path: Path) -> None:
    """Both ways to the Hub: one file of GPT-2, and a whole repository."""
    with Loopback() as hub:
        for repo in ("org/gpt2", "org/bert"):
            hub.hub_file(repo, "config.json", b"{}", large=False)
            hub.hub_file(repo, "model.safetensors", b"W" * 5000, trickle_s=0.1)
        found = locate_in_new_process(hub.url, tmp_path)
    assert len(found) == 2
    for seconds, reason in found:
        assert "Stalled: only" in reason
        assert "bytes arrived within 0.5 s, fewer than 1,000" in reason
        assert seconds < 10


@pytest.mark.slow
def test_a_hub_that_asks_to_wait_an_hour_is_given_up(tmp_path: Path) -> None:
    """Its first answer is good, and then it refuses the download itself."""
    with Loopback() as hub:
        for repo in ("org/gpt2", "org/bert"):
            hub.hub_file(repo, "config.json", b"{}", large=False)
            hub.hub_file(repo, "model.safetensors", b"W" * 5000, retry_after=3601)
        found = locate_in_new_process(hub.url, tmp_path)
    assert len(found) == 2
    for seconds, reason in found:
        assert "Stalled: only" in reason
        assert seconds < 10


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://me:pass@host/x failed", "GET https://***@host/x failed"),
        ("https://token@host/", "https://***@host/"),
        ("http://h/f.json?token=abc&page=2", "http://h/f.json?token=***&page=2"),
        ("http://h/f?X-Amz-Signature=0f0f&a=1", "http://h/f?X-Amz-Signature=***&a=1"),
        ("http://h/f?access_key='", "http://h/f?access_key='"),
        ("key hf_abcdefghijklmnopqrst is wrong", "key *** is wrong"),
        ("Bearer sk-proj-abcdefghijklmnop0123", "Bearer ***"),
        ("a@b.c and x = 3 ? token", "a@b.c and x = 3 ? token"),
        ("risk-assessment-of-something-long", "risk-assessment-of-something-long"),
        ("https://host/path@1234567", "https://host/path@1234567"),
    ],
)
def test_secrets_in_texts_are_hidden(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_secrets_of_the_environment_never_reach_errors_or_run_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "0123456789-token")
    monkeypatch.setenv("OPENAI_API_KEY", "9876543210-key")
    reason = "https://huggingface.co: 401 for Bearer 0123456789-token"
    error = Unavailable("the model x", reason, "connect")
    assert "0123456789" not in str(error)
    assert "401 for Bearer ***" in str(error)
    status.write(tmp_path, "failed", error=f"{reason}, and 9876543210-key")
    status.refuse(tmp_path, f"{reason}, and 9876543210-key")
    written = (tmp_path / "status.json").read_text()
    assert "0123456789" not in written
    assert "9876543210" not in written
    monkeypatch.setenv("HF_TOKEN", "short")
    assert without_secrets("a short text") == "a short text"


def test_the_limits_are_as_documented() -> None:
    assert (network.STALLED_AFTER_S, network.LEAST_BYTES) == (60.0, 256 * 1024)
