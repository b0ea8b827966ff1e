import hashlib
import io
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from loopback import Loopback

from llm_lightning.data import spam
from llm_lightning.data.spam import SmsSpam, download_collection, read_collection
from llm_lightning.network import Unavailable

# Checksums of the CSV files that the book's two recipes write, measured on its own code.
REFERENCE = {
    "chapter": {
        "train": "c89a1156b8476e6f4c0bfa4bc944f3d934e3db2942c5dc2a1456a65a795afcde",
        "val": "0ac7a07215729476975e070029ced8452a3d4e49fcdd8b17c167a317150b5439",
        "test": "a5764d4eed041dada859601e1715bc68885aa5e74713e127968ead8ddf6a9e04",
    },
    "table": {
        "train": "ec2895b026553ce06475815818c52cf44828af0605b07b257935a194e611195a",
        "val": "f92996ef2ae2ed6d6937e96bc7a3f739f2bae59b07d1babd7f3725e473f2d2bd",
        "test": "f82216f37a6d785b52f99a84a3552dcc9835316018758c2117b2ca133e6c1409",
    },
}

MESSAGES = [
    *(("ham", f"see you at {hour} then") for hour in range(30)),
    *(("spam", f"win {prize} pounds now") for prize in range(10)),
]


def collection(messages: list[tuple[str, str]] = MESSAGES) -> bytes:
    return "".join(f"{label}\t{text}\n" for label, text in messages).encode()


def archive(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("readme", "about")
        file.writestr("SMSSpamCollection", content)
    return buffer.getvalue()


@pytest.fixture
def tsv(tmp_path: Path) -> Path:
    path = tmp_path / "messages.tsv"
    path.write_bytes(collection())
    return path


def ready(**fields: object) -> SmsSpam:
    data = SmsSpam(**fields)  # type: ignore[arg-type]
    data.prepare_data()
    data.setup()
    return data


@pytest.mark.parametrize("split", ["chapter", "table"])
def test_reference_splits_are_reproduced_byte_for_byte(
    sms_zip: Path, tmp_path: Path, split: str
) -> None:
    data = ready(path=str(sms_zip), split=split)
    data.write_splits(tmp_path / "splits")
    written = {
        name: hashlib.sha256((tmp_path / "splits" / f"{name}.csv").read_bytes()).hexdigest()
        for name in ("train", "val", "test")
    }
    assert written == REFERENCE[split]
    facts = data.facts()
    assert {name: facts["splits"][name]["sha256"] for name in written} == REFERENCE[split]
    assert [len(table) for _, table in data.splits.items()] == [1045, 149, 300]
    assert facts["max_length"] == 120
    assert facts["test_in_train"] == {"chapter": 37, "table": 36}[split]
    assert [facts["splits"][name]["truncated"] for name in written] == [0, 0, 0]
    assert facts["source"].endswith("(the published collection), split '" + split + "'")


def test_real_collection_has_the_known_size_with_and_without_quoting(sms_zip: Path) -> None:
    file = spam.find_collection(sms_zip)
    assert read_collection(file, quoting=True)["Label"].value_counts().to_dict() == {
        0: 4825,
        1: 747,
    }
    assert read_collection(file, quoting=False)["Label"].value_counts().to_dict() == {
        0: 4827,
        1: 747,
    }


def test_clean_split_of_the_real_collection_shares_no_text(sms_zip: Path) -> None:
    data = ready(path=str(sms_zip), split="clean")
    texts = [set(table["Text"].str.strip()) for _, table in data.splits.items()]
    assert (
        sum(map(len, texts))
        == len(set.union(*texts))
        == sum(len(table) for _, table in data.splits.items())
    )
    assert data.test_in_train == 0
    for _, table in data.splits.items():
        assert table["Label"].mean() == pytest.approx(0.5, abs=0.01)


def test_clean_split_without_balancing_keeps_the_natural_share(sms_zip: Path) -> None:
    data = ready(path=str(sms_zip), split="clean", balance="none")
    assert len(set(pd.concat([t for _, t in data.splits.items()])["Text"])) == sum(
        len(table) for _, table in data.splits.items()
    )
    shares = [table["Label"].mean() for _, table in data.splits.items()]
    assert shares == pytest.approx([0.125] * 3, abs=0.003)  # fewer spam than 13.4 %: more repeats


def test_class_weights_are_inverse_frequencies(tsv: Path) -> None:
    data = ready(path=str(tsv), balance="class_weights", split="clean")
    counts = data.splits.train["Label"].value_counts()
    assert data.class_weights == pytest.approx([28 / (2 * counts[0]), 28 / (2 * counts[1])])
    assert ready(path=str(tsv), balance="undersample").class_weights is None


@pytest.mark.parametrize("kind", ["file", "zip", "folder with file", "folder with zip"])
def test_path_may_be_a_zip_a_file_or_a_folder(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    if "zip" in kind:
        (folder / "sms.zip").write_bytes(archive(collection()))
    else:
        (folder / "SMSSpamCollection").write_bytes(collection())
    path = folder if kind.startswith("folder") else next(folder.iterdir())
    data = ready(path=str(path))
    assert sum(len(table) for _, table in data.splits.items()) == 20
    assert "(not the published collection)" in data.source


def test_faults_of_a_given_path_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be an existing file or folder, got .*nowhere"):
        ready(path=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="contains neither SMSSpamCollection nor"):
        ready(path=str(tmp_path))
    (tmp_path / "eggs.tsv").write_text("ham\thello\neggs\tbacon\n")
    with pytest.raises(
        ValueError, match=r"eggs\.tsv, row 2: the label must be ham or spam, got 'eggs'"
    ):
        ready(path=str(tmp_path / "eggs.tsv"))
    (tmp_path / "latin.tsv").write_bytes("ham\tcaf\xe9\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.tsv is not a table of label<TAB>text"):
        ready(path=str(tmp_path / "latin.tsv"))
    with pytest.raises(
        ValueError, match=r"data\.split must be one of table, chapter, clean, got 'x'"
    ):
        SmsSpam(split="x")


@pytest.mark.parametrize("quoting", [True, False])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "FILE is empty: it has no line of label<TAB>text"),
        (b"\n\n", "FILE is empty: it has no line of label<TAB>text"),
        (
            b"ham\thello\nham\tthere\n",
            "FILE: a single class, 'ham' in all of 2 rows; a classifier needs ham and spam",
        ),
        (
            b"ham\thello\nspam\t \nham\tthere\n",
            "FILE, row 2: an empty text or no tab; each line must be label<TAB>text, got 'spam' "
            "(1 such row)",
        ),
        (
            b"ham\thello\nspam\twin\nham see you\nspam free\n",
            "FILE, row 3: an empty text or no tab; each line must be label<TAB>text, "
            "got 'ham see you' (2 such rows)",
        ),
        (
            b"label,text\nham,hello\nspam,win\n",
            "FILE, row 1: an empty text or no tab; each line must be label<TAB>text, "
            "got 'label,text' (3 such rows)",
        ),
    ],
)
def test_a_faulty_collection_is_one_error_with_file_and_row(
    tmp_path: Path, content: bytes, message: str, quoting: bool
) -> None:
    path = tmp_path / "given.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r".") as caught:
        read_collection(path, quoting=quoting)
    assert str(caught.value) == f"data.path: {message}".replace("FILE", str(path))


@pytest.mark.parametrize("content", [b"ham\ta\tb\nspam\tc\td\n", b"ham\ta\nspam\tc\td\n"])
def test_a_second_tab_is_an_error_and_not_a_shifted_row(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "given.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"given\.tsv is not a table of label<TAB>text"):
        read_collection(path, quoting=True)


def test_texts_of_digits_are_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "given.tsv"
    path.write_bytes(b"ham\t007\nspam\t1e3\n")
    assert read_collection(path, quoting=True)["Text"].tolist() == ["007", "1e3"]


@pytest.mark.parametrize(
    ("split", "rule"),
    [
        ("table", "6 rows, too few to split: val would be empty"),
        ("chapter", "6 rows, too few to split: val would be empty"),
        (
            "clean",
            "2 classes are too small: 'ham' has 2 rows, 'spam' has 2 rows; every class needs",
        ),
    ],
)
def test_a_collection_too_small_to_split_is_named(tmp_path: Path, split: str, rule: str) -> None:
    path = tmp_path / "small.tsv"
    size = 2 if split == "clean" else 3
    path.write_bytes(collection([*MESSAGES[:size], *MESSAGES[-size:]]))
    with pytest.raises(ValueError, match=r".") as caught:
        ready(path=str(path), split=split)
    assert str(caught.value).startswith(f"data.path: {path}, undersampled: {rule}")


def test_clean_split_counts_what_it_drops_and_keeps_the_first(tmp_path: Path) -> None:
    path = tmp_path / "given.tsv"
    again = [("ham", f"{MESSAGES[0][1]} "), MESSAGES[-1], ("spam", MESSAGES[1][1])]
    path.write_bytes(collection([*MESSAGES, *again]))
    data = ready(path=str(path), split="clean", balance="none")
    assert data.facts()["duplicates_dropped"] == 3
    assert data.describe()[-1] == "3 duplicate texts dropped"
    together = pd.concat([table for _, table in data.splits.items()])
    kept = [(spam.CLASS_NAMES[label], text) for label, text in together.to_numpy()]
    assert sorted(kept) == sorted(MESSAGES)
    assert ready(path=str(path), split="table").facts()["duplicates_dropped"] == 0


def test_packaged_messages_replace_the_collection(tmp_path: Path) -> None:
    data = SmsSpam()
    with pytest.raises(Unavailable, match="LLM_LIGHTNING_OFFLINE"):
        data.prepare_data()
    data.use_packaged()
    data.setup()
    assert [len(table) for _, table in data.splits.items()] == [1680, 240, 480]
    assert data.source == "packaged messages, split 'table'"


def test_download_is_verified_by_the_messages_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLM_LIGHTNING_OFFLINE")
    monkeypatch.setattr(spam, "SHA256", hashlib.sha256(collection()).hexdigest())
    with Loopback() as server:
        forged = server.serve("/forged.zip", archive(collection([("spam", "forged")])))
        good = server.redirect("/moved.zip", server.serve("/good.zip", archive(collection())))
        file = download_collection(tmp_path / "cache", urls=(forged, good))
        assert file.read_bytes() == collection()
        before = len(server.requests)
        assert download_collection(tmp_path / "cache", urls=(forged, good)) == file
        assert len(server.requests) == before

        with pytest.raises(Unavailable) as caught:
            download_collection(tmp_path / "other", urls=(forged, f"{server.url}/missing.zip"))
    assert "the checksum of SMSSpamCollection is wrong: expected sha256" in caught.value.reason
    assert "missing.zip: HTTP 404" in caught.value.reason
    assert "data.path=" in caught.value.advice


def test_a_damaged_cache_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLM_LIGHTNING_OFFLINE")
    monkeypatch.setattr(spam, "SHA256", hashlib.sha256(collection()).hexdigest())
    cache = tmp_path / "cache"
    forged = collection([("spam", "forged")])
    with Loopback() as server:
        good = server.serve("/good.zip", archive(collection()))
        file = download_collection(cache, urls=(good,))
        before = len(server.requests)

        file.write_bytes(forged)  # the zip beside it is sound: no network needed
        assert download_collection(cache, urls=(good,)).read_bytes() == collection()
        assert len(server.requests) == before

        file.write_bytes(forged)
        (cache / "sms+spam+collection.zip").write_bytes(archive(forged))
        assert download_collection(cache, urls=(good,)).read_bytes() == collection()
        assert len(server.requests) > before

        file.write_bytes(forged)
        (cache / "sms+spam+collection.zip").unlink()
        with pytest.raises(Unavailable):
            download_collection(cache, urls=(f"{server.url}/missing.zip",))


def test_a_damaged_copy_from_a_given_zip_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "given.zip"
    path.write_bytes(archive(collection()))
    extracted = spam.find_collection(path)
    extracted.write_bytes(b"damaged")
    assert spam.find_collection(path).read_bytes() == collection()


def test_a_split_seed_draws_other_splits_of_the_same_messages(tmp_path: Path) -> None:
    data = {seed: SmsSpam(split="clean", balance="none", split_seed=seed) for seed in (123, 1)}
    data["default"] = SmsSpam(split="clean", balance="none", seed=7)
    for one in data.values():
        one.use_packaged()
        one.setup()
    tests = {key: one.splits.test["Text"].tolist() for key, one in data.items()}
    assert tests["default"] == tests[123] != tests[1]
    assert data[123].splits.test["Label"].mean() == data[1].splits.test["Label"].mean()
    messages = [
        sorted(text for _, t in data[key].splits.items() for text in t["Text"]) for key in (123, 1)
    ]
    assert messages[0] == messages[1]
    with pytest.raises(
        ValueError, match=r"data\.split_seed must be between 0 and 2\*\*32 - 1, got -1"
    ):
        SmsSpam(split_seed=-1)
