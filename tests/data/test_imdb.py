"""The film reviews: reading, the book's split, and the download from a server in this process."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from loopback import Loopback

from llm_lightning.data import imdb
from llm_lightning.data.imdb import Imdb, download_reviews, find_reviews, read_reviews
from llm_lightning.data.splits import permutation, split_in_order
from llm_lightning.network import Unavailable

REVIEWS = {
    f"aclImdb/{subset}/{name}/{number}_{7 if name == 'pos' else 2}.txt": (
        f"A {name} film, {subset} {number}: réalité.<br />"
    ).encode()
    for subset in ("train", "test")
    for name in ("neg", "pos")
    for number in (0, 1, 2, 10, 11)
}
OTHER = {
    "aclImdb/README": b"about",
    "aclImdb/train/unsup/0_0.txt": b"unlabelled",
    "aclImdb/train/labeledBow.feat": b"0 0:1",
}


def packed(members: dict[str, bytes], *links: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for link in links:
            archive.addfile(link)
    return buffer.getvalue()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "aclImdb_v1.tar.gz"
    path.write_bytes(packed(REVIEWS | OTHER))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in REVIEWS.items():
        file = tmp_path / "extracted" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path / "extracted"


def ready(**fields: object) -> Imdb:
    data = Imdb(**fields)  # type: ignore[arg-type]
    data.prepare_data()
    data.setup()
    return data


def test_reviews_are_in_the_books_order_before_shuffling(archive: Path) -> None:
    table = read_reviews(archive)
    assert table["Label"].tolist() == [*[1] * 5, *[0] * 5] * 2
    # By the names of the files, as text: 10 before 1.
    first = [text.split(": ")[0] for text in table["Text"][:5]]
    assert first == [f"A pos film, test {number}" for number in (0, 10, 11, 1, 2)]
    assert table["Text"][10].startswith("A pos film, train 0: réalité.")


def test_archive_and_folder_hold_the_same_reviews(archive: Path, folder: Path) -> None:
    pd.testing.assert_frame_equal(read_reviews(archive), read_reviews(folder / "aclImdb"))
    for path in (folder, folder / "aclImdb"):
        assert find_reviews(path) == folder / "aclImdb"
    for path in (archive, archive.parent):
        assert find_reviews(path) == archive


def test_the_split_has_the_books_sizes_and_class_frequencies() -> None:
    labels = np.repeat([1, 0, 1, 0], 12_500)
    table = pd.DataFrame({"Label": labels, "Text": np.arange(50_000).astype(str)})
    for _ in range(2):
        table = table.iloc[permutation(len(table), 123)]
    parts = split_in_order(table, *imdb.FRACTIONS)
    assert list(map(len, parts)) == [35_000, 5_000, 10_000]
    # The book prints 50.01, 50.14 and 49.91 % for the class that is most frequent in training.
    shares = [f"{100 * (part['Label'] == 0).mean():.2f}" for part in parts]
    assert shares == ["50.01", "50.14", "49.91"]


def test_a_run_gets_both_classes_and_at_most_256_tokens(archive: Path) -> None:
    data = ready(path=str(archive))
    assert [len(table) for _, table in data.splits.items()] == [14, 2, 4]
    expected = read_reviews(archive)
    for _ in range(2):
        expected = expected.iloc[permutation(20, 123)]
    together = pd.concat([table for _, table in data.splits.items()])
    assert together["Text"].tolist() == expected["Text"].tolist()
    assert data.splits.class_names == ["neg", "pos"]
    assert data.padder.max_length == 256
    assert data.source == f"{archive} (not the published archive)"
    assert next(iter(data.val_dataloader())).labels.shape == (2,)
    balanced = ready(path=str(archive), balance="undersample").splits.train["Label"]
    assert balanced.value_counts().nunique() == 1


def test_line_ends_are_those_of_a_text_file(folder: Path) -> None:
    (folder / "aclImdb" / "test" / "pos" / "0_7.txt").write_bytes(b"one\r\ntwo\rthree")
    assert read_reviews(folder / "aclImdb")["Text"][0] == "one\ntwo\nthree"


@pytest.mark.parametrize("missing", ["train/neg", "test/pos"])
def test_a_missing_folder_is_named(tmp_path: Path, folder: Path, missing: str) -> None:
    kept = {name: content for name, content in REVIEWS.items() if missing not in name}
    path = tmp_path / "some.tar.gz"
    path.write_bytes(packed(kept))
    with pytest.raises(ValueError, match=rf"some\.tar\.gz has no reviews in aclImdb/{missing}"):
        ready(path=str(path))
    for file in (folder / "aclImdb" / missing).iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=rf"has no reviews in aclImdb/{missing}"):
        ready(path=str(folder))


def test_a_path_without_reviews_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"contains neither aclImdb_v1\.tar\.gz nor the folder"):
        ready(path=str(tmp_path))
    with pytest.raises(ValueError, match=r"data\.path must be an existing file or folder, got"):
        ready(path=str(tmp_path / "nowhere"))


def test_a_review_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.tar.gz"
    path.write_bytes(packed(REVIEWS | {"aclImdb/train/neg/0_2.txt": b"caf\xe9"}))
    with pytest.raises(ValueError, match=r"latin\.tar\.gz: train/neg/0_2\.txt is not UTF-8"):
        read_reviews(path)


def test_every_kind_of_damage_is_one_error(archive: Path) -> None:
    whole = archive.read_bytes()
    middle = len(whole) // 2
    for damaged in (
        whole[:middle],
        whole[:-4],
        whole[:middle] + bytes([whole[middle] ^ 0x41]) + whole[middle + 1 :],
        b"<html>Please log in</html>",
        b"",
    ):
        archive.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"aclImdb_v1\.tar\.gz is damaged or not a \.tar\.gz"):
            read_reviews(archive)


@pytest.mark.parametrize(
    "name", ["../evil.txt", "aclImdb/train/pos/../../../../evil.txt", "aclImdb/../../evil.txt"]
)
def test_a_member_that_leads_out_of_the_folder_is_refused_and_nothing_is_written(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "inner" / "bad.tar.gz"
    path.parent.mkdir()
    path.write_bytes(packed({**REVIEWS, name: b"evil"}))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"bad\.tar\.gz is not safe to read: "):
        read_reviews(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_in_place_of_a_review_is_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("aclImdb/train/pos/9_9.txt")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    path = tmp_path / "bad.tar.gz"
    path.write_bytes(packed(REVIEWS, link))
    with pytest.raises(ValueError, match="is not safe to read"):
        read_reviews(path)


# --- the download ---------------------------------------------------------------------------------


def test_the_download_is_verified_cached_and_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = packed(REVIEWS | OTHER)
    monkeypatch.delenv("LLM_LIGHTNING_OFFLINE")
    monkeypatch.setattr(imdb, "SHA256", hashlib.sha256(content).hexdigest())
    with Loopback() as server:
        forged = server.serve("/forged.tar.gz", packed(REVIEWS))
        damaged = server.serve("/damaged.tar.gz", content[:-100])
        good = server.serve("/good.tar.gz", content)
        file = download_reviews(tmp_path / "cache", urls=(forged, damaged, good))
        assert file.read_bytes() == content
        before = len(server.requests)
        assert download_reviews(tmp_path / "cache", urls=(forged, damaged, good)) == file
        assert len(server.requests) == before

        file.write_bytes(content[:-100])  # damaged since: downloaded again
        assert download_reviews(tmp_path / "cache", urls=(good,)).read_bytes() == content
        assert len(server.requests) > before

        with pytest.raises(Unavailable) as caught:
            download_reviews(tmp_path / "other", urls=(forged, damaged))
    assert "SHA256" in caught.value.reason
    assert "data.path=<archive or folder>" in caught.value.advice
    assert not (tmp_path / "other" / imdb.ARCHIVE).exists()


def test_a_run_without_a_path_downloads_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = packed(REVIEWS)
    monkeypatch.delenv("LLM_LIGHTNING_OFFLINE")
    monkeypatch.setattr(imdb, "SHA256", hashlib.sha256(content).hexdigest())
    with Loopback() as server:
        url = server.serve("/aclImdb_v1.tar.gz", content)
        monkeypatch.setattr(imdb, "URLS", (url,))
        data = ready()
    assert data.source == "IMDb reviews"
    assert (tmp_path / "cache" / "imdb" / imdb.ARCHIVE).read_bytes() == content
    assert sum(len(table) for _, table in data.splits.items()) == 20


def test_without_a_network_there_is_no_replacement() -> None:
    with pytest.raises(Unavailable, match="LLM_LIGHTNING_OFFLINE=1") as caught:
        Imdb().prepare_data()
    assert caught.value.what == "the IMDb reviews"
    assert not hasattr(Imdb(), "use_packaged")
