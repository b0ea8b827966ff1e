import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Loopback

from llm_lightning.backbone.tokenizer import GPT2Tokenizer
from llm_lightning.data.instructions import Instructions, split_in_file_order
from llm_lightning.data.prompts import Record
from llm_lightning.data.sequences import NO_LABEL
from llm_lightning.network import Unavailable

CONF = Path(__file__).parents[2] / "conf" / "data"
REAL = Path(__file__).parents[3] / "shared" / "data" / "instruction-data.json"


def entries(count: int) -> list[dict[str, str]]:
    return [
        {
            "instruction": f"Count to {n}.",
            "input": "",
            "output": " ".join(map(str, range(1, n + 1))),
        }
        for n in range(1, count + 1)
    ]


def write(folder: Path, count: int) -> str:
    file = folder / "data.json"
    file.write_text(json.dumps(entries(count)))
    return str(file)


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1_100, (935, 55, 110)), (52_002, (44_201, 2_601, 5_200)), (20, (17, 1, 2))],
)
def test_splits_are_the_books_sizes_in_file_order(count: int, sizes: tuple[int, ...]) -> None:
    records = [Record(str(n)) for n in range(count)]
    parts = split_in_file_order(records, "file")
    assert tuple(len(parts[name]) for name in ("train", "val", "test")) == sizes
    assert [*parts["train"], *parts["test"], *parts["val"]] == records


def test_too_few_records_are_an_error() -> None:
    with pytest.raises(ValueError, match="file: with 5 records the test split is empty"):
        split_in_file_order([Record(str(n)) for n in range(5)], "file")


def test_packaged_instructions_are_split_and_described() -> None:
    data = Instructions(name="instructions", max_length=256)
    data.use_packaged()
    data.setup()
    facts = data.facts()
    assert {name: split["examples"] for name, split in facts["splits"].items()} == {
        "train": 935,
        "val": 55,
        "test": 110,
    }
    assert (facts["test_in_train"], facts["val_in_train"]) == (0, 0)
    assert data.source == "packaged instructions"
    assert data.describe()[0].startswith("train: 935 (")
    assert data.task_arguments() == {
        "text": {"prompt_style": "alpaca", "mask": "none", "max_length": 256}
    }


@pytest.mark.parametrize("mask", ["none", "prompt", "prompt_and_header"])
def test_facts_count_the_tokens_in_the_loss(tmp_path: Path, mask: str) -> None:
    data = Instructions(path=write(tmp_path, 40), mask=mask)
    data.setup()
    split = data.facts()["splits"]["train"]
    labels = [label for one in data.sequences["train"] for label in one.labels.tolist()]
    assert split["tokens"] == len(labels)
    assert split["label_tokens"] == sum(label != NO_LABEL for label in labels)
    is_unmasked = mask == "none"
    assert (split["label_tokens"] == split["tokens"]) == is_unmasked
    assert (split["label_tokens"] == split["response_tokens"]) == (mask == "prompt_and_header")


def test_truncation_empty_outputs_and_leakage_are_counted(tmp_path: Path) -> None:
    rows = entries(20)
    rows[3]["output"] = ""
    rows[4]["instruction"] = "why " * 100
    rows[17]["instruction"] = rows[0]["instruction"]  # the first of two test records
    (tmp_path / "data.json").write_text(json.dumps(rows))
    data = Instructions(path=str(tmp_path / "data.json"), max_length=100)
    data.setup()
    facts = data.facts()
    assert facts["splits"]["train"]["truncated"] == 1
    assert facts["splits"]["train"]["empty_outputs"] == 1
    assert (facts["test_in_train"], facts["val_in_train"]) == (1, 0)


def test_seeds_change_the_order_and_not_the_split(tmp_path: Path) -> None:
    path = write(tmp_path, 100)
    one, two = Instructions(path=path, seed=1), Instructions(path=path, seed=2)
    one.setup()
    two.setup()
    assert one.records == two.records
    first = [batch.input_ids.tolist() for batch in one.train_dataloader()]
    assert first != [batch.input_ids.tolist() for batch in two.train_dataloader()]
    again = Instructions(path=path, seed=1)
    again.setup()
    assert first == [batch.input_ids.tolist() for batch in again.train_dataloader()]


def test_run_folder_keeps_the_records(tmp_path: Path) -> None:
    data = Instructions(path=write(tmp_path, 20))
    data.setup()
    data.write_splits(tmp_path / "splits")
    kept = json.loads((tmp_path / "splits" / "test.json").read_text())
    assert [entry["instruction"] for entry in kept] == ["Count to 18.", "Count to 19."]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt_style": "chatml"}, r"data\.prompt_style must be one of alpaca, phi3, plain"),
        ({"mask": "all"}, r"data\.mask must be one of none, prompt, prompt_and_header, got 'all'"),
    ],
)
def test_bad_options_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Instructions(**fields)


def test_a_length_beyond_the_models_context_is_refused_before_anything_is_read() -> None:
    data = Instructions(path="nowhere.json", max_length=900)
    message = "between 2 and the model's context of {} tokens, got 900"
    with pytest.raises(ValueError, match=message.format(512)):
        data.use_model(GPT2Tokenizer(), 512)
    with pytest.raises(ValueError, match=message.format(512)):
        data.setup()
    data.use_model(GPT2Tokenizer(), 900)
    assert data.longest == 900


def test_neither_path_nor_url_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"data\.path must name a file of instructions"):
        Instructions().prepare_data()


# --- the download ---------------------------------------------------------------------------------


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLM_LIGHTNING_OFFLINE", raising=False)


@pytest.mark.usefixtures("online")
def test_download_is_verified_and_cached_under_its_own_name() -> None:
    contents = {name: json.dumps(entries(count)).encode() for name, count in (("a", 20), ("b", 30))}
    with Loopback() as server:
        for name, content in contents.items():
            url = server.serve(f"/{name}/data.json", content)
            digest = hashlib.sha256(content).hexdigest()
            for _ in range(2):
                data = Instructions(name=name, url=url, sha256=digest)
                data.setup()
                assert sum(map(len, data.records.values())) == len(json.loads(content))
        assert sum(request.method == "GET" for request in server.requests) == 2


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(
    ("content", "sha256", "message"),
    [
        (b"[1]", "0" * 64, "does not match the known hash"),
        (b"<html>not found</html>", None, "it is a web page (HTML)"),
        (b"[", None, "it is not JSON"),
        (b"{}", None, "it is not a list of records"),
    ],
)
def test_a_wrong_download_is_not_kept(content: bytes, sha256: str | None, message: str) -> None:
    with Loopback() as server:
        data = Instructions(url=server.serve("/data.json", content), sha256=sha256)
        with pytest.raises(Unavailable) as caught:
            data.prepare_data()
    assert message in caught.value.reason
    assert "set data.path to the file" in caught.value.advice


@pytest.mark.usefixtures("online")
def test_another_address_does_not_use_the_same_cached_file() -> None:
    with Loopback() as server:
        for count in (20, 30):  # the same name, as with `data=instructions data.url=...`
            url = server.serve(f"/{count}.json", json.dumps(entries(count)).encode())
            data = Instructions(name="same", url=url)
            data.setup()
            assert sum(map(len, data.records.values())) == count


@pytest.mark.usefixtures("online")
def test_a_damaged_cache_is_not_used(tmp_path: Path) -> None:
    content = json.dumps(entries(20)).encode()
    digest = hashlib.sha256(content).hexdigest()
    with Loopback() as server:
        url = server.serve("/data.json", content)
        Instructions(url=url, sha256=digest).prepare_data()
        (file,) = (tmp_path / "cache" / "instructions").glob("*.json")
        file.write_text(json.dumps(entries(19)))
        data = Instructions(url=url, sha256=digest)
        data.setup()
        assert sum(map(len, data.records.values())) == 20

        file.write_text("[")
        server.redirect("/data.json", f"{server.url}/missing.json")
        with pytest.raises(Unavailable) as caught:
            Instructions(url=url).prepare_data()
    assert "data.json: HTTP 404" in caught.value.reason


@pytest.mark.parametrize(
    ("file", "changed", "what"),
    [
        ("instructions", {}, "the book's 1,100 instructions"),
        ("instructions", {"sha256": None}, "the instructions at https://raw.githubusercontent.com"),
        ("alpaca", {}, "the instructions 'alpaca'"),
    ],
)
def test_what_is_missing_is_named_for_people(file: str, changed: dict, what: str) -> None:
    fields = yaml.safe_load((CONF / f"{file}.yaml").read_text())
    del fields["defaults"]
    with pytest.raises(Unavailable) as caught:
        Instructions(**fields | changed).prepare_data()
    assert caught.value.what.startswith(what)


# --- the real entries -----------------------------------------------------------------------------


def test_the_books_entries() -> None:
    if not REAL.exists():
        pytest.skip("the book's instruction-data.json is not at hand")
    data = Instructions(path=str(REAL))
    data.setup()
    facts = data.facts()
    assert {name: split["examples"] for name, split in facts["splits"].items()} == {
        "train": 935,
        "val": 55,
        "test": 110,
    }
    assert (facts["test_in_train"], facts["val_in_train"]) == (2, 4)
    assert all(split["truncated"] == 0 for split in facts["splits"].values())
