import pickle
import random
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from loopback import Loopback, Request, blackhole

from llm_lightning.data import transfer
from llm_lightning.data.download import Unavailable, cache_dir, extract_member, fetch, sha256

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
    monkeypatch.setattr(transfer, "_BACKOFF_S", 0.01)


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "collection.zip"


def get(destination: Path, *urls: str, **options: object) -> Path:
    options = {"advice": ADVICE, "reach_timeout_s": 2.0, "read_timeout_s": 2.0} | options
    return fetch("the collection", urls, destination, **options)  # type: ignore[arg-type]


def expect_content(path: Path) -> None:
    if path.read_bytes() != CONTENT:
        raise ValueError("checksum is not the expected one")


def gets(server: Loopback) -> list[Request]:
    """The downloads, without the probes before them."""
    return [request for request in server.requests if request.method == "GET"]


def files_beside(destination: Path) -> list[str]:
    # Some versions of filelock leave the empty lock file, which is harmless.
    return sorted(p.name for p in destination.parent.iterdir() if p.suffix != ".lock")


# --- what arrives ---------------------------------------------------------------------------------


def test_redirect_is_followed_and_only_the_file_remains(
    server: Loopback, destination: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    address = server.redirect("/moved.zip", server.serve("/collection.zip", CONTENT))
    assert get(destination, address, verify=expect_content) == destination
    assert destination.read_bytes() == CONTENT
    assert files_beside(destination) == ["collection.zip"]
    assert server.paths() == ["/moved.zip", "/collection.zip"]
    assert capfd.readouterr() == ("", ""), "no progress bar where stderr is not a terminal"


def test_second_call_makes_no_request(server: Loopback, destination: Path) -> None:
    url = server.serve("/collection.zip", CONTENT)
    get(destination, url)
    server.requests.clear()
    get(destination, url)
    assert server.requests == []


def test_empty_file_is_a_file(server: Loopback, destination: Path) -> None:
    url = server.serve("/empty.txt", b"")
    assert get(destination, url).read_bytes() == b""


def test_dropped_connection_is_resumed_where_it_broke(server: Loopback, destination: Path) -> None:
    url = server.serve("/collection.zip", CONTENT, drops=1, drop_after=200_000)
    get(destination, url, verify=expect_content)
    first, second = gets(server)
    assert first.headers["Range"] is None
    done = int(second.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < done <= 200_000
    assert second.headers["If-Range"].startswith('"')
    assert destination.read_bytes() == CONTENT


def test_resume_goes_through_a_redirect(server: Loopback, destination: Path) -> None:
    target = server.serve("/collection.zip", CONTENT, drops=1, drop_after=200_000)
    get(destination, server.redirect("/moved.zip", target), verify=expect_content)
    assert gets(server)[-1].headers["Range"] is not None


def test_later_process_resumes_what_an_earlier_one_left(
    server: Loopback, destination: Path
) -> None:
    url = server.serve("/collection.zip", CONTENT, drops=1, drop_after=200_000)
    with pytest.raises(Unavailable, match=r"connection lost after [\d,]+ of 300,000 bytes"):
        get(destination, url, retries=0)
    assert files_beside(destination) == ["collection.zip.part", "collection.zip.part.json"]
    get(destination, url, retries=0)
    assert gets(server)[-1].headers["Range"] is not None
    assert destination.read_bytes() == CONTENT
    assert files_beside(destination) == ["collection.zip"]


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_file_changed_between_attempts_is_not_spliced(
    server: Loopback, destination: Path, heeds_if_range: bool
) -> None:
    url = server.serve("/collection.zip", OTHER, drops=1, drop_after=200_000)
    with pytest.raises(Unavailable):
        get(destination, url, retries=0)
    server.serve("/collection.zip", CONTENT)
    server.ignore_if_range = not heeds_if_range
    get(destination, url, retries=0)
    assert destination.read_bytes() == CONTENT
    ranges = [request.headers["Range"] is not None for request in gets(server)]
    assert ranges == ([False, True] if heeds_if_range else [False, True, False])


def test_server_without_ranges_is_read_from_the_start(server: Loopback, destination: Path) -> None:
    url = server.serve("/collection.zip", CONTENT, ranges=False, drops=2, drop_after=200_000)
    assert get(destination, url).read_bytes() == CONTENT


def test_server_without_etag_or_date_is_never_asked_for_a_range(
    server: Loopback, destination: Path
) -> None:
    url = server.serve("/collection.zip", CONTENT, etag=None, drops=1, drop_after=200_000)
    assert get(destination, url).read_bytes() == CONTENT
    assert [request.headers["Range"] for request in gets(server)] == [None, None]


def test_part_longer_than_the_file_is_thrown_away(server: Loopback, destination: Path) -> None:
    url = server.serve("/collection.zip", CONTENT, drops=1, drop_after=200_000)
    with pytest.raises(Unavailable):
        get(destination, url, retries=0)
    destination.with_name("collection.zip.part").write_bytes(CONTENT + b"more")
    assert get(destination, url, retries=0).read_bytes() == CONTENT


def test_damage_in_what_an_earlier_process_left_costs_one_fresh_download(
    server: Loopback, destination: Path
) -> None:
    url = server.serve("/collection.zip", CONTENT, drops=1, drop_after=200_000)
    with pytest.raises(Unavailable):
        get(destination, url, retries=0)
    part = destination.with_name("collection.zip.part")
    part.write_bytes(bytes(part.stat().st_size))
    get(destination, url, retries=0, verify=expect_content)
    assert destination.read_bytes() == CONTENT
    assert [request.headers["Range"] is not None for request in gets(server)[1:]] == [
        True,
        False,
    ]


def test_busy_server_is_asked_again(server: Loopback, destination: Path) -> None:
    url = server.serve("/collection.zip", CONTENT, failures=2)
    assert get(destination, url).read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_wrong_checksum_falls_to_the_mirror(server: Loopback, destination: Path) -> None:
    wrong = server.serve("/collection.zip", OTHER)
    mirror = server.serve("/mirror.zip", CONTENT)
    get(destination, wrong, mirror, verify=expect_content)
    assert destination.read_bytes() == CONTENT
    assert server.paths() == ["/collection.zip", "/mirror.zip"]
    assert server.requests[1].headers["Range"] is None


def test_mirror_does_not_continue_the_bytes_of_another_address(
    server: Loopback, destination: Path
) -> None:
    flaky = server.serve("/collection.zip", OTHER, drops=2, drop_after=100_000)
    mirror = server.serve("/mirror.zip", CONTENT)
    assert get(destination, flaky, mirror, retries=1).read_bytes() == CONTENT
    assert gets(server)[-1].headers["Range"] is None


def test_proxy_of_the_environment_is_probed_and_used(
    server: Loopback, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    server.serve("/collection.zip", CONTENT)
    # No resolver knows .invalid: only the proxy can answer for it.
    get(destination, "http://uci.invalid/collection.zip", verify=expect_content)
    assert server.requests[0].headers["Host"] == "uci.invalid"


# --- what cannot be had ---------------------------------------------------------------------------


def test_missing_everywhere_lists_each_address_and_does_not_insist(
    server: Loopback, destination: Path
) -> None:
    urls = [f"{server.url}/collection.zip", f"{server.url}/mirror.zip"]
    with pytest.raises(Unavailable) as caught:
        get(destination, *urls)
    assert caught.value.reason.splitlines() == [f"{url}: HTTP 404 Not Found" for url in urls]
    assert server.paths("GET") == ["/collection.zip", "/mirror.zip"]
    assert str(caught.value).splitlines() == [
        "the collection could not be downloaded:",
        f"  {urls[0]}: HTTP 404 Not Found",
        f"  {urls[1]}: HTTP 404 Not Found",
        f"What to do: {ADVICE}",
    ]
    assert not destination.exists()


def test_wrong_checksum_everywhere_leaves_nothing(server: Loopback, destination: Path) -> None:
    with pytest.raises(Unavailable, match="checksum is not the expected one"):
        get(destination, server.serve("/collection.zip", OTHER), verify=expect_content)
    assert files_beside(destination) == []


def test_unavailable_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(Unavailable("it", "why", "do this")))
    assert (error.what, error.reason, error.advice) == ("it", "why", "do this")


def test_hosts_that_swallow_packets_are_given_up_together(destination: Path) -> None:
    with blackhole() as one, blackhole() as two:
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            get(destination, f"{one}/a.zip", f"{two}/a.zip", reach_timeout_s=0.7)
    assert time.monotonic() - started < 1.3, "0.7 s for all hosts, not for each"
    for line, host in zip(caught.value.reason.splitlines(), (one, two), strict=True):
        assert line == f"{host.removeprefix('http://')} did not answer within 0.7 s"
    assert not destination.parent.exists(), "with no network the disk is left alone"


def test_mirror_is_used_where_the_first_host_swallows_packets(
    server: Loopback, destination: Path
) -> None:
    mirror = server.serve("/mirror.zip", CONTENT)
    with blackhole() as first:
        get(destination, f"{first}/a.zip", mirror, reach_timeout_s=0.3)
    assert destination.read_bytes() == CONTENT


@pytest.mark.parametrize("dns_hangs_for", ["the address", "the target of a redirect"])
def test_name_lookup_that_hangs_does_not(
    server: Loopback, destination: Path, monkeypatch: pytest.MonkeyPatch, dns_hangs_for: str
) -> None:
    released = threading.Event()
    lookup = socket.getaddrinfo

    def hang(host: object, *args: object, **kwargs: object) -> object:
        if host == "127.0.0.1":
            return lookup(host, *args, **kwargs)  # type: ignore[arg-type]
        released.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    url = "http://uci.invalid/collection.zip"
    if dns_hangs_for == "the target of a redirect":
        url = server.redirect("/moved.zip", url)
    started = time.monotonic()
    try:
        with pytest.raises(Unavailable, match=r"(did not|no) answer within "):
            get(destination, url, reach_timeout_s=0.3, read_timeout_s=0.3, retries=0)
        assert time.monotonic() - started < 1.5
    finally:
        released.set()


def test_refused_connection_is_named(destination: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{port}: Connection refused"):
            get(destination, f"http://127.0.0.1:{port}/collection.zip")


def test_dead_proxy_is_given_up_like_a_dead_host(
    destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with blackhole() as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        with pytest.raises(Unavailable, match=r"uci\.invalid did not answer within 0\.2 s"):
            get(destination, "http://uci.invalid/collection.zip", reach_timeout_s=0.2)


def test_server_that_accepts_and_falls_silent_is_left_in_time_too(
    server: Loopback, destination: Path
) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"did not answer within 0\.3 s"):
        get(destination, server.vanish("/collection.zip"), reach_timeout_s=0.3)
    assert time.monotonic() - started < 1.5


def test_offline_switch_touches_no_network(
    server: Loopback, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_LIGHTNING_OFFLINE", "1")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("looked up a name"))
    with pytest.raises(Unavailable, match="LLM_LIGHTNING_OFFLINE=1"):
        get(destination, server.serve("/collection.zip", CONTENT))
    assert server.requests == []


def test_not_an_address(destination: Path) -> None:
    with pytest.raises(Unavailable, match=r"No connection adapters were found"):
        get(destination, "file:///etc/hosts")


# --- several at once ------------------------------------------------------------------------------


def test_threads_at_once_fetch_one_good_file(server: Loopback, destination: Path) -> None:
    url = server.serve("/collection.zip", CONTENT, drops=1, drop_after=200_000)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: get(destination, url, verify=expect_content), range(4)))
    assert paths == [destination] * 4
    assert len(server.paths()) == 2, "one attempt that dropped, one that resumed, none beside"
    assert files_beside(destination) == ["collection.zip"]


def test_processes_at_once_fetch_one_good_file(server: Loopback, destination: Path) -> None:
    url = server.serve("/collection.zip", CONTENT)
    script = (
        "import sys; from pathlib import Path; from llm_lightning.data.download import fetch; "
        "fetch('it', [sys.argv[1]], Path(sys.argv[2]), advice='')"
    )
    command = [sys.executable, "-W", "error", "-c", script, url, str(destination)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert destination.read_bytes() == CONTENT
    assert server.paths() == ["/collection.zip"]


# --- archives -------------------------------------------------------------------------------------


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    def pack(*members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
        path = tmp_path / "archive.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)
        return path

    return pack


def test_member_is_extracted_to_the_destination(
    pack: Callable[..., Path], destination: Path
) -> None:
    archive = pack(("readme", b"no"), ("SMSSpamCollection", CONTENT))
    assert extract_member(archive, "SMSSpamCollection", destination) == destination
    assert destination.read_bytes() == CONTENT
    assert files_beside(destination) == ["collection.zip"]


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..\\evil"])
def test_path_inside_the_archive_is_never_used(
    pack: Callable[..., Path], destination: Path, name: str
) -> None:
    before = set(destination.parent.parent.parent.rglob("*"))
    archive = pack((name, b"content"))
    extract_member(archive, name, destination)
    new = set(destination.parent.parent.parent.rglob("*")) - before
    assert new == {archive, destination.parent, destination}


def test_missing_member_names_the_archive_and_ten_of_its_members(
    pack: Callable[..., Path], destination: Path
) -> None:
    archive = pack(*((f"member_{i:02}", b"") for i in range(12)))
    with pytest.raises(ValueError, match=r"has no member spam; it holds member_00, ") as caught:
        extract_member(archive, "spam", destination)
    assert str(caught.value).startswith(str(archive))
    assert str(caught.value).endswith("member_09 and 2 more")
    assert not destination.exists()


def test_declared_size_above_the_limit_is_refused(
    pack: Callable[..., Path], destination: Path
) -> None:
    archive = pack(("bomb", bytes(1_000_000)))
    assert archive.stat().st_size < 2_000
    with pytest.raises(ValueError, match=r"bomb declares 1,000,000 bytes, more than 999,999"):
        extract_member(archive, "bomb", destination, max_bytes=999_999)
    assert extract_member(archive, "bomb", destination, max_bytes=1_000_000).stat().st_size == 10**6


def test_declared_size_that_is_a_lie_writes_no_file(
    pack: Callable[..., Path], destination: Path
) -> None:
    archive = pack(("bomb", bytes(1_000_000)))
    honest, lie = (1_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(honest, lie))
    with pytest.raises(ValueError, match=r"archive\.zip is damaged"):
        extract_member(archive, "bomb", destination, max_bytes=1_000)
    assert files_beside(destination) == []


def test_symlink_is_refused(pack: Callable[..., Path], destination: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(ValueError, match="link is not a regular file"):
        extract_member(pack((link, b"/etc/passwd")), "link", destination)


def test_encrypted_member_is_refused(pack: Callable[..., Path], destination: Path) -> None:
    archive = pack(("secret", b"content"))
    content = bytearray(archive.read_bytes())
    content[6] |= 1  # flags in the local header, then in the central directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="secret is encrypted"):
        extract_member(archive, "secret", destination)


def test_page_of_a_login_portal_is_a_damaged_archive(tmp_path: Path, destination: Path) -> None:
    page = tmp_path / "archive.zip"
    page.write_bytes(b"<html>Please log in to the hotel's network</html>")
    with pytest.raises(
        ValueError, match=r"archive\.zip is damaged or no zip archive \(File is not"
    ):
        extract_member(page, "SMSSpamCollection", destination)


def test_any_damaged_byte_gives_the_content_or_an_error_that_names_the_archive(
    pack: Callable[..., Path], destination: Path
) -> None:
    archive = pack(("member", CONTENT[:200]))
    whole = archive.read_bytes()
    outcomes = []
    for position in range(len(whole)):
        flipped = bytes([whole[position] ^ 0x41])
        for damaged in (whole[:position] + flipped + whole[position + 1 :], whole[:position]):
            archive.write_bytes(damaged)
            try:
                extract_member(archive, "member", destination)
                outcomes.append(destination.read_bytes() == CONTENT[:200])
            except ValueError as error:
                outcomes.append(str(archive) in str(error))
    assert all(outcomes)
    assert len(outcomes) == 2 * len(whole)


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


def test_sha256_is_the_published_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    assert sha256(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
