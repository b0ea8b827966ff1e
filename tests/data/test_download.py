"""Facts about downloads that are decided here, not by the libraries underneath."""

import contextlib
import errno
import os
import pickle
import random
import resource
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock
from loopback import Loopback, blackhole

from llm_lightning.data import download
from llm_lightning.data.download import fetch
from llm_lightning.network import Unavailable, cache_dir
from llm_lightning.run_format.file_digest import file_sha256

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
ADVICE = "Give the path of a copy with data.path=..."


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as running:
        yield running


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("LLM_LIGHTNING_OFFLINE", raising=False)
    monkeypatch.setattr(download, "_BACKOFF_S", 0.01)


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "collection.zip"


def get(destination: Path, *urls: str, **options: object) -> Path:
    options = {"advice": ADVICE, "reach_timeout_s": 2.0, "read_timeout_s": 2.0} | options
    return fetch("the collection", urls, destination, **options)  # type: ignore[arg-type]


def expect_content(path: Path) -> None:
    if path.read_bytes() != CONTENT:
        raise ValueError("checksum is not the expected one")


def files_beside(destination: Path) -> list[str]:
    # Some versions of filelock leave the empty lock file, which is harmless.
    return sorted(p.name for p in destination.parent.iterdir() if p.suffix != ".lock")


# --- what is downloaded ---------------------------------------------------------------------------


def test_redirect_is_followed_and_only_the_file_remains(
    server: Loopback, destination: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    address = server.redirect("/moved.zip", server.serve("/collection.zip", CONTENT))
    assert get(destination, address, verify=expect_content) == destination
    assert destination.read_bytes() == CONTENT
    assert files_beside(destination) == ["collection.zip"]
    assert server.paths() == ["/moved.zip", "/collection.zip"]
    assert capfd.readouterr() == ("", ""), "no progress bar if stderr is not a terminal"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(destination.stat().st_mode) == 0o666 & ~umask, "a cache can be shared"


def test_a_valid_file_needs_no_request_and_a_damaged_one_is_replaced(
    server: Loopback, destination: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.serve("/collection.zip", CONTENT)
    get(destination, url)
    digest = file_sha256(destination)
    server.requests.clear()
    get(destination, url, known_hash=digest, verify=expect_content)
    assert server.requests == []
    for check in ({"known_hash": digest}, {"verify": expect_content}):
        destination.write_bytes(OTHER)
        get(destination, url, **check)
        assert destination.read_bytes() == CONTENT
    assert [f"{destination} must be downloaded again: " in text for text in caplog.messages] == [
        True,
        True,
    ]


@pytest.mark.parametrize("fault", [{"drops": 2, "drop_after": 200_000}, {"failures": 2}])
def test_lost_connections_and_busy_servers_are_tried_again(
    server: Loopback, destination: Path, fault: dict[str, int]
) -> None:
    url = server.serve("/collection.zip", CONTENT, **fault)
    # The request that asks whether the server can be reached gets the first 503.
    assert get(destination, url, retries=2).read_bytes() == CONTENT


def test_number_of_attempts_is_limited_and_reported(server: Loopback, destination: Path) -> None:
    broken = server.serve("/a.zip", CONTENT, drops=9, drop_after=200_000)
    busy = server.serve("/b.zip", CONTENT, failures=9)
    with pytest.raises(Unavailable) as caught:
        get(destination, broken, busy, retries=1)
    first, second = caught.value.reason.splitlines()
    assert first.startswith(f"{broken}: ")
    assert first.endswith("(received 200000 bytes, expected 300000) (2 attempts)")
    assert second == f"{busy}: HTTP 503 Service Unavailable (2 attempts)"
    assert server.paths("GET") == ["/a.zip"] * 2 + ["/b.zip"] * 2
    assert files_beside(destination) == [], "no part of a file under any name"


def test_best_mirror_is_used_and_the_next_one_if_its_content_is_wrong(
    server: Loopback, destination: Path
) -> None:
    wrong = server.serve("/wrong.zip", OTHER)
    mirror = server.serve("/mirror.zip", CONTENT)
    get(destination, wrong, mirror, verify=expect_content)
    assert destination.read_bytes() == CONTENT
    assert server.paths() == ["/wrong.zip", "/mirror.zip"]
    destination.unlink()
    get(destination, mirror, wrong, verify=expect_content)
    assert server.paths()[2:] == ["/mirror.zip"]


def test_mirror_is_used_if_the_first_host_drops_packets(
    server: Loopback, destination: Path
) -> None:
    mirror = server.serve("/mirror.zip", CONTENT)
    with blackhole() as first:
        get(destination, f"{first}/a.zip", mirror, reach_timeout_s=0.3)
    assert destination.read_bytes() == CONTENT


def test_proxy_of_the_environment_is_used(
    server: Loopback, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    server.serve("/collection.zip", CONTENT)
    # No resolver knows .invalid: only the proxy can respond for it.
    get(destination, "http://uci.invalid/collection.zip", verify=expect_content)
    assert server.requests[0].headers["Host"] == "uci.invalid"


# --- what cannot be downloaded --------------------------------------------------------------------


def test_error_lists_each_address_and_http_404_is_not_tried_again(
    server: Loopback, destination: Path
) -> None:
    urls = [f"{server.url}/collection.zip", f"{server.url}/mirror.zip"]
    with pytest.raises(Unavailable) as caught:
        get(destination, *urls)
    assert server.paths("GET") == ["/collection.zip", "/mirror.zip"]
    assert str(caught.value).splitlines() == [
        "the collection could not be downloaded:",
        f"  {urls[0]}: HTTP 404 Not Found",
        f"  {urls[1]}: HTTP 404 Not Found",
        f"What to do: {ADVICE}",
    ]
    assert not destination.exists()


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"verify": expect_content}, "checksum is not the expected one"),
        ({"known_hash": "0" * 64}, "does not match the known hash: expected 0000.* but got "),
    ],
)
def test_wrong_content_is_named_and_leaves_no_file(
    server: Loopback, destination: Path, check: dict[str, object], message: str
) -> None:
    with pytest.raises(Unavailable, match=message):
        get(destination, server.serve("/collection.zip", OTHER), **check)
    assert files_beside(destination) == []


def test_unavailable_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(Unavailable("it", "why", "do this")))
    assert (error.what, error.reason, error.advice) == ("it", "why", "do this")


def test_hosts_that_drop_packets_share_one_timeout(destination: Path) -> None:
    with blackhole() as one, blackhole() as two:
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            get(destination, f"{one}/a.zip", f"{two}/a.zip", reach_timeout_s=0.7)
    assert time.monotonic() - started < 1.3, "0.7 s for all hosts, not for each"
    for line, host in zip(caught.value.reason.splitlines(), (one, two), strict=True):
        assert line == f"{host.removeprefix('http://')} did not answer within 0.7 s"
    assert not destination.parent.exists(), "without a network no folder is made"


def test_unreachable_proxy_is_like_an_unreachable_host(
    destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with blackhole() as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        with pytest.raises(Unavailable, match=r"uci\.invalid did not answer within 0\.2 s"):
            get(destination, "http://uci.invalid/collection.zip", reach_timeout_s=0.2)


@pytest.mark.parametrize("where", ["the address", "the target of a redirect"])
def test_name_resolution_that_hangs_is_abandoned(
    server: Loopback, destination: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    released = threading.Event()
    lookup = socket.getaddrinfo

    def hang(host: object, *args: object, **kwargs: object) -> object:
        if host in ("127.0.0.1", b"127.0.0.1"):
            return lookup(host, *args, **kwargs)  # type: ignore[arg-type]
        released.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    url = "http://uci.invalid/collection.zip"
    if where == "the target of a redirect":
        url = server.redirect("/moved.zip", url)
    started = time.monotonic()
    try:
        with pytest.raises(Unavailable, match=r"did not answer within 0\.3 s"):
            get(destination, url, reach_timeout_s=0.3)
        assert time.monotonic() - started < 1.5
    finally:
        released.set()


def test_server_that_accepts_and_never_responds_is_abandoned(
    server: Loopback, destination: Path
) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"did not answer within 0\.3 s"):
        get(destination, server.vanish("/collection.zip"), reach_timeout_s=0.3)
    assert time.monotonic() - started < 1.5


def test_refused_connection_is_named(destination: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{port}: Connection refused"):
            get(destination, f"http://127.0.0.1:{port}/collection.zip")


def test_offline_switch_touches_no_network(
    server: Loopback, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_LIGHTNING_OFFLINE", "1")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("looked up a name"))
    with pytest.raises(Unavailable, match="LLM_LIGHTNING_OFFLINE=1"):
        get(destination, server.serve("/collection.zip", CONTENT))
    assert server.requests == []


@pytest.mark.parametrize(
    ("url", "proxy", "message"),
    [
        ("file:///etc/hosts", "", "missing an 'http://' or 'https://' protocol"),
        ("http://uci.invalid/a.zip", "gopher://127.0.0.1", "gopher"),
    ],
)
def test_unusable_addresses_and_proxies_are_named(
    destination: Path, monkeypatch: pytest.MonkeyPatch, url: str, proxy: str, message: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(Unavailable, match=message):
        get(destination, url)


class _Endless(BaseHTTPRequestHandler):
    """Sends a byte, or a block, every few milliseconds until the client hangs up."""

    block = b"x"
    announced: int | None = None

    def do_GET(self) -> None:
        self.send_response(200)
        if self.announced is not None:
            self.send_header("Content-Length", str(self.announced))
        self.end_headers()
        if self.command == "HEAD":
            return
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(self.block)
                time.sleep(0.005)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("sends", "options", "message"),
    [
        ({}, {"total_timeout_s": 0.3}, r"given up after 0\.3 s, with \d+ bytes received"),
        (
            {}, {"slow_after_s": 0.3},
            r"given up: only \d+ bytes in 0 s, less than 1,000 a second",
        ),
        ({"block": bytes(100_000)}, {"max_bytes": 10**6}, "the file has more than 1,000,000 bytes"),
        (
            {"announced": 10**12}, {"max_bytes": 10**6, "total_timeout_s": 0.3},
            "the file has more than 1,000,000 bytes",
        ),
    ],
)  # fmt: skip
def test_a_download_that_does_not_end_is_given_up(
    destination: Path, sends: dict, options: dict, message: str
) -> None:
    handler = type("Handler", (_Endless,), sends)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    started = time.monotonic()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/a.zip"
        with pytest.raises(Unavailable, match=message):
            get(destination, url, **options)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert time.monotonic() - started < 5
    assert files_beside(destination) == []


def test_a_cache_on_a_full_disk_is_an_error_of_the_disk(
    server: Loopback, destination: Path
) -> None:
    url = server.serve("/collection.zip", CONTENT)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # writing fails half-way
    try:
        with pytest.raises(OSError) as caught:  # noqa: PT011
            get(destination, url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert files_beside(destination) == []
    assert get(destination, url).read_bytes() == CONTENT


# --- several at once ------------------------------------------------------------------------------


def test_threads_download_one_file_once(server: Loopback, destination: Path) -> None:
    url = server.serve("/collection.zip", CONTENT)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: get(destination, url, verify=expect_content), range(4)))
    assert paths == [destination] * 4
    assert server.paths() == ["/collection.zip"]
    assert files_beside(destination) == ["collection.zip"]


def test_download_of_another_process_is_waited_for(server: Loopback, destination: Path) -> None:
    url = server.serve("/collection.zip", CONTENT)
    script = (
        "import sys; from pathlib import Path; from llm_lightning.data.download import fetch; "
        "fetch('it', [sys.argv[1]], Path(sys.argv[2]), advice='')"
    )
    command = [sys.executable, "-W", "error", "-c", script, url, str(destination)]
    destination.parent.mkdir()
    with FileLock(f"{destination}.lock"):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while not server.requests:  # the process is about to wait for the lock
            time.sleep(0.01)
        destination.write_bytes(CONTENT)
    _, messages = process.communicate(timeout=60)
    assert (process.returncode, server.paths("GET")) == (0, [])
    assert messages in ("", "waiting for another process that is downloading it\n")


# --- small things ---------------------------------------------------------------------------------


def test_cache_dir_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LLM_LIGHTNING_CACHE", raising=False)
    assert cache_dir() == tmp_path / ".cache" / "llm_lightning"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "llm_lightning"
    monkeypatch.setenv("LLM_LIGHTNING_CACHE", "~/own")
    assert cache_dir() == tmp_path / "own"
    assert list(tmp_path.iterdir()) == []
