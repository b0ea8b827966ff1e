"""Instructions as other programs write them, and files that are none."""

import json
from pathlib import Path

import pytest
from table_files import NESTED, PAGE, lines

from llm_lightning.data.instructions import Instructions


def instructions(folder: Path, name: str, content: bytes, **fields: object) -> Instructions:
    (folder / name).write_bytes(content)
    data = Instructions(path=str(folder / name), **fields)  # type: ignore[arg-type]
    data.setup()
    return data


def json_lines(*entries: object, repeat: int = 10) -> bytes:
    return "".join(json.dumps(entry) + "\n" for entry in entries for _ in range(repeat)).encode()


ALPACA = {"instruction": "Name it.", "input": "A red fruit.", "output": "Apple."}
DOLLY = {"instruction": "Name it.", "context": "A red fruit.", "response": "Apple.",
         "category": "closed_qa"}  # fmt: skip
PROMPTED = {"prompt": "Name it.", "context": "A red fruit.", "completion": "Apple."}
ASKED = {"question": "Name it.", "context": "A red fruit.", "answer": "Apple."}
SHARED = {"conversations": [{"from": "system", "value": "Be brief."},
                            {"from": "human", "value": "Name it."},
                            {"from": "gpt", "value": "Apple."}], "id": "7"}  # fmt: skip
OPENAI = {"messages": [{"role": "system", "content": "Be brief."},
                       {"role": "user", "content": [{"type": "text", "text": "Name it."}]},
                       {"role": "assistant", "content": "Apple."}]}  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "expected", "notes"),
    [
        (ALPACA, ("Name it.", "A red fruit.", "Apple.", ""), []),
        (
            DOLLY, ("Name it.", "A red fruit.", "Apple.", ""),
            ["fields read: context as input, response as output",
             "fields not read: category (10)"],
        ),
        (
            PROMPTED, ("Name it.", "A red fruit.", "Apple.", ""),
            ["fields read: prompt as instruction, context as input, completion as output"],
        ),
        (
            ASKED, ("Name it.", "A red fruit.", "Apple.", ""),
            ["fields read: question as instruction, context as input, answer as output"],
        ),
        (SHARED, ("Name it.", "", "Apple.", "Be brief."), ["fields not read: id (10)"]),
        (OPENAI, ("Name it.", "", "Apple.", "Be brief."), []),
        (
            {**ALPACA, "system_prompt": "Be brief.", "text": "whole", "score": None},
            ("Name it.", "A red fruit.", "Apple.", "Be brief."),
            ["fields read: system_prompt as system", "fields not read: text (10)"],
        ),
    ],
)  # fmt: skip
def test_records_of_other_programs(
    tmp_path: Path, entry: dict, expected: tuple[str, ...], notes: list[str]
) -> None:
    data = instructions(tmp_path, "a.jsonl", json_lines(entry))
    record = data.records["train"][0]
    assert (record.instruction, record.input, record.output, record.system) == expected
    assert data.describe()[4:] == notes
    assert sum(data.facts()["fields_not_read"].values()) == 10 * any("not read" in n for n in notes)


@pytest.mark.parametrize("separator", [",", ";"])
def test_instructions_in_csv(tmp_path: Path, separator: str) -> None:
    rows = [(f"Name {n}, please.", "", f"It is\n{n}.") for n in range(10)]
    header = ("instruction", "input", "output")
    content = lines(rows, header=header, separator=separator).encode()  # type: ignore[arg-type]
    data = instructions(tmp_path, "a.csv", content)
    found = [record for split in ("train", "test", "val") for record in data.records[split]]
    assert [(record.instruction, record.output) for record in found] == [
        (f"Name {n}, please.", f"It is\n{n}.") for n in range(10)
    ]
    assert data.describe()[4].startswith("read as: separator ")
    assert data.facts()["file"]["separator"] == separator


def talk(*weights: int | None) -> dict:
    messages = []
    for number, weight in enumerate(weights):
        messages.append({"role": "user", "content": f"question {number}"})
        answer = {"role": "assistant", "content": f"answer {number}"}
        messages.append(answer if weight is None else answer | {"weight": weight})
    return {"messages": messages}


@pytest.mark.parametrize("mask", ["none", "prompt", "prompt_and_header"])
def test_an_answer_of_weight_0_is_never_in_the_loss(tmp_path: Path, mask: str) -> None:
    def learnt(*weights: int | None) -> tuple[str, str]:
        data = instructions(tmp_path, "a.jsonl", json_lines(talk(*weights)), mask=mask)
        sequence = data.sequences["train"][0]
        in_loss = sequence.labels[sequence.labels >= 0]
        return (
            data.tokenizer.decode(in_loss.tolist()),
            data.tokenizer.decode(sequence.labels[sequence.in_response].tolist()),
        )

    for texts in learnt(None, 1):
        assert "answer 0" in texts
        assert "answer 1" in texts
    for texts in learnt(0, 1):
        assert "answer 0" not in texts
        assert "answer 1" in texts
    data = instructions(tmp_path, "a.jsonl", json_lines(talk(0, 1, 0)), mask=mask)
    record = data.records["train"][0]
    assert (record.instruction, record.output) == ("question 1", "answer 1")
    assert data.describe()[-1] == (
        "10 earlier assistant messages of weight 0 not in the loss, 20 messages after the last "
        "learnt one left out"
    )
    data.write_splits(tmp_path / "splits")
    entries = json.loads((tmp_path / "splits" / "train.json").read_text())
    assert entries[0]["not_learnt"] == [0]
    data = instructions(tmp_path, "again.jsonl", json_lines(entries[0]), mask=mask)
    assert data.records["train"][0] == record


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", NESTED, "FILE is not a record: its JSON is nested too deeply"),
        ("a.json", PAGE, "FILE is a web page (HTML)"),
        ("a.jsonl", PAGE, "FILE is a web page (HTML)"),
        ("a.json", b"{}", "FILE must contain a JSON list of records, got '{}'"),
        (
            "a.jsonl", json_lines(ALPACA | {"context": "B"}),
            "FILE, record 1 has 'input' and 'context', which both mean its input: remove or rename "
            "one of them (10 of 10 records cannot be used)",
        ),
        (
            "a.jsonl", json_lines({"chosen": "a", "rejected": "b"}, repeat=1),
            "FILE, record 1 has no field 'instruction' (nor 'prompt', 'question', nor 'messages'); "
            "it has 'chosen', 'rejected'",
        ),
        (
            "a.jsonl", json_lines(ALPACA | {"output": "\ud83d"}, repeat=1),
            "FILE, record 1: output contains an unpaired surrogate",
        ),
        (
            "a.jsonl", json_lines(talk(0), repeat=1),
            "FILE, record 1: every assistant message has weight 0, so there is nothing to learn",
        ),
        (
            "a.jsonl", json_lines(talk(2), repeat=1),  # type: ignore[arg-type]
            "FILE, record 1, message 2: weight must be 0 or 1, got 2",
        ),
        (
            "a.jsonl",
            json_lines({"conversations": [{"from": "gpt", "value": "Hi."}]}, talk(1), repeat=3),
            "FILE, record 1: after an optional system message, messages must alternate between "
            "user and assistant and end with the assistant's, got assistant (3 of 6 records cannot "
            "be used)",
        ),
        (
            "a.jsonl",
            json_lines({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            "FILE, record 1, message 1: only texts are supported, got {'type': 'image_url'}",
        ),
        (
            "a.jsonl",
            json_lines({"messages": [{"role": "assistant", "content": None, "tool_calls": [1]}]}),
            "FILE, record 1, message 1 has tool_calls, which is not supported; remove such records",
        ),
        ("a.csv", b"instruction,text\na,b\n", "FILE, record 1 has no field 'output' (nor"),
        ("a.csv", b"instruction,output\n", "FILE has a header but no rows"),
    ],
)  # fmt: skip
def test_what_is_refused_of_instructions(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        instructions(tmp_path, name, content)
    assert str(caught.value).replace(str(tmp_path / name), "FILE").startswith(message)
