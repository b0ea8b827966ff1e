import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from llm_lightning.data.prompts import Record, Turn
from llm_lightning.data.records import read_records

ENTRIES = [
    {"instruction": "Name a colour.", "input": "", "output": "Red."},
    {"instruction": " Spell it right. ", "input": "freind\n", "output": "friend"},
]
EXPECTED = [Record("Name a colour.", "", "Red."), Record("Spell it right.", "freind", "friend")]


def write(file: Path, entries: list[Any]) -> Path:
    if file.suffix == ".json":
        file.write_text(json.dumps(entries), encoding="utf-8")
    elif file.suffix == ".parquet":
        pd.DataFrame(entries).to_parquet(file)
    else:
        file.write_text("\n".join(map(json.dumps, entries)) + "\n\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".ndjson", ".parquet"])
def test_every_format_gives_the_same_records(tmp_path: Path, suffix: str) -> None:
    assert read_records(write(tmp_path / f"data{suffix}", ENTRIES)) == EXPECTED


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_conversations_become_records_with_history(tmp_path: Path, suffix: str) -> None:
    messages = [
        {"role": "system", "content": "You know words."},
        {"role": "user", "content": "Plural of mouse?"},
        {"role": "assistant", "content": "Mice."},
        {"role": "user", "content": "And of house?"},
        {"role": "assistant", "content": "Houses."},
    ]
    (record,) = read_records(write(tmp_path / f"chat{suffix}", [{"messages": messages}]))
    assert record == Record(
        "And of house?",
        output="Houses.",
        system="You know words.",
        history=(Turn("Plural of mouse?", "Mice."),),
    )


def test_input_may_be_missing_and_outputs_empty(tmp_path: Path) -> None:
    entries = [
        {"instruction": "a", "output": ""},
        {"instruction": "b", "input": None, "output": "c"},
    ]
    assert read_records(write(tmp_path / "d.json", entries)) == [Record("a"), Record("b", "", "c")]


def test_missing_cells_of_parquet_are_empty(tmp_path: Path) -> None:
    entries = [
        {"instruction": "a", "input": None, "output": "b"},
        {"instruction": "c", "input": "d", "output": None},
        {"messages": [USER, ASSISTANT]},
    ]
    expected = [Record("a", "", "b"), Record("c", "d"), Record("a", output="b")]
    assert read_records(write(tmp_path / "d.parquet", entries)) == expected


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_records_that_a_run_wrote_are_read_again(tmp_path: Path, suffix: str) -> None:
    chat = Record("And of ox?", "", "Oxen.", "You know words.", (Turn("Of mouse?", "Mice."),))
    records = [*EXPECTED, chat]
    file = write(tmp_path / f"d{suffix}", [asdict(record) for record in records])
    assert read_records(file) == records


USER, ASSISTANT = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("text", "record 1 must be an object with fields, got 'text'"),
        ({"output": "a"}, "record 1 has no field 'instruction'"),
        ({"instruction": "a", "text": "b"}, "no field 'output' .* it has 'instruction', 'text'"),
        ({"instruction": "a", "output": 7}, "record 1: output must be a string, got 7"),
        ({"instruction": " ", "output": "a"}, "record 1 has an empty instruction"),
        (
            {"instruction": "a", "output": "\ud800"},
            "record 1: output contains an unpaired surrogate",
        ),
        (
            {"instruction": "a", "output": "b", "history": "c"},
            "record 1: history must be a list, got 'c'",
        ),
        (
            {"instruction": "a", "output": "b", "history": [["c", "d"], ["e"]]},
            "history, turn 2 must be a pair of user and assistant, got 1 items",
        ),
        ({"messages": 5}, "record 1: messages must be a list, got 5"),
        ({"messages": [USER | {"content": " "}, ASSISTANT]}, "record 1 has an empty instruction"),
        ({"messages": [USER | {"content": None}, ASSISTANT]}, "message 1: content .* got null"),
        ({"messages": []}, "must alternate between user and assistant"),
        ({"messages": [USER]}, "end with the assistant's, got user"),
        ({"messages": [ASSISTANT, USER]}, "got assistant, user"),
        ({"messages": [USER, {"role": "assistant"}]}, "message 2 must have a role and a content"),
        (
            {"messages": [{"role": "user", "content": 1}, ASSISTANT]},
            "content must be a string, got 1",
        ),
    ],
)
def test_a_faulty_record_is_named(tmp_path: Path, entry: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_records(write(tmp_path / "bad.json", [entry]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"{", "a.json is not JSON"),
        ("a.json", b'{"instruction": "a"}', "must contain a JSON list of records"),
        ("a.json", b"[]", "a.json contains no records"),
        ("a.jsonl", b'{"a": 1}\n{', "a.jsonl, line 2 is not JSON"),
        ("a.jsonl", b"\xff", "a.jsonl is not UTF-8"),
        ("a.parquet", b"PAR1", "is not a readable Parquet file"),
        ("a.xml", b"a", r"must have the extension \.json, .*, got '\.xml'"),
    ],
)
def test_a_faulty_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_records(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.json does not exist"):
        read_records(tmp_path / "nowhere.json")
