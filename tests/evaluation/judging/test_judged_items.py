import json
from pathlib import Path
from typing import Any

import pytest

from llm_lightning.evaluation.judging.items import Item, read_items

ENTRY = {"instruction": " Add. ", "input": "1 and 2\n", "output": "3", "model_response": " 4 "}


def write(file: Path, value: Any) -> Path:
    file.write_text(json.dumps(value), encoding="utf-8")
    return file


def test_book_format_is_read(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", [ENTRY, {**ENTRY, "input": ""}])
    with_input, without = read_items(file)
    assert with_input == Item("### Instruction:\nAdd.\n\n### Input:\n1 and 2", "3", "4")
    assert without.task == "### Instruction:\nAdd."


def test_conversation_stands_ahead_of_the_instruction(tmp_path: Path) -> None:
    del (entry := dict(ENTRY))["input"]
    entry |= {"system": "Be kind.", "history": [["hi", "hello"]]}  # type: ignore[dict-item]
    assert read_items(write(tmp_path / "a.json", [entry]))[0].task == (
        "Be kind.\n\n### Instruction:\nhi\n\n### Response:\nhello\n\n### Instruction:\nAdd."
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "at least one response"),
        ({"a": 1}, "must be a JSON list"),
        ([ENTRY, 3], "entry 1 must be an object, got int"),
        ([{**ENTRY, "output": None}], "entry 0: output must be text, but it is missing"),
        ([{**ENTRY, "model_response": 4}], "model_response must be text, but it is int"),
        ([{**ENTRY, "input": ["x"]}], "input must be text, but it is list"),
        ([{**ENTRY, "history": [["hi"]]}], "history must be a list of pairs"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_items(write(tmp_path / "a.json", content))
    assert str(tmp_path / "a.json") in str(caught.value)


@pytest.mark.parametrize("content", [b"[{", b"\xff\xfe\x00"])
def test_what_is_no_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.json is not JSON in UTF-8"):
        read_items(tmp_path / "a.json")
