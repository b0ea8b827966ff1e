import random
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_lightning.data.archive import extract_member, is_zip
from llm_lightning.data.spam import find_collection

CONTENT = random.Random(0).randbytes(3_000)


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "collection"


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
    assert list(destination.parent.iterdir()) == [destination]


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
    with pytest.raises(ValueError, match=r"has no member spam; it contains member_00, ") as caught:
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


def test_declared_size_that_is_wrong_writes_no_file(
    pack: Callable[..., Path], destination: Path
) -> None:
    archive = pack(("bomb", bytes(1_000_000)))
    honest, lie = (1_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(honest, lie))
    with pytest.raises(ValueError, match=r"archive\.zip is damaged"):
        extract_member(archive, "bomb", destination, max_bytes=1_000)
    assert list(destination.parent.iterdir()) == []


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
        ValueError, match=r"archive\.zip is damaged or not a zip archive \(File is not"
    ):
        extract_member(page, "SMSSpamCollection", destination)


def test_any_damaged_byte_gives_the_content_or_an_error_that_names_the_archive(
    pack: Callable[..., Path], destination: Path
) -> None:
    content = CONTENT[:40]
    archive = pack(("member", content))
    whole = archive.read_bytes()
    outcomes = []
    for position in range(len(whole)):
        flipped = bytes([whole[position] ^ 0x41])
        for damaged in (whole[:position] + flipped + whole[position + 1 :], whole[:position]):
            archive.write_bytes(damaged)
            try:
                extract_member(archive, "member", destination)
                outcomes.append(destination.read_bytes() == content)
            except ValueError as error:
                outcomes.append(str(archive) in str(error))
    assert all(outcomes)
    assert len(outcomes) == 2 * len(whole)


@pytest.mark.parametrize("disks", [0, 2, 2**32 - 1])
def test_an_archive_whose_end_says_what_cannot_be_is_damaged(tmp_path: Path, disks: int) -> None:
    """zipfile refuses several disks, even where it is only asked whether it is an archive."""
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, disks)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0)
    file = tmp_path / "crafted.zip"
    file.write_bytes(b"ham\thello\n" * 20 + b"\0" * 56 + locator + end)
    if not disks:
        assert is_zip(file)
        return
    with pytest.raises(ValueError, match="damaged or not a zip archive") as caught:
        is_zip(file)
    with pytest.raises(ValueError, match=r"^data\.path: .*crafted\.zip is damaged or not a zip"):
        find_collection(file)
    assert len(str(caught.value).splitlines()) == 1
