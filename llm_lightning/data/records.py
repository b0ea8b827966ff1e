"""Reads instruction records from JSON, JSON Lines or Parquet, plain or as conversations.

Errors name file and record; records count from 1.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llm_lightning.data.prompts import Record, Turn
from llm_lightning.data.text_files import read_json_lines, read_parquet, read_text

SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet")


def read_records(file: Path) -> list[Record]:
    """Reads a file in the format given by its extension.

    A record has the fields ``instruction`` and ``output`` and optionally ``input``, ``system`` and
    ``history``, a list of (user, assistant) pairs. These are also the fields of the splits that a
    run writes. Or it is a conversation: ``messages`` with ``role`` (system, user, assistant) and
    ``content``. Then the last user message is the instruction, the last assistant message the
    output, and the messages before them are the history.

    Args:
        file: a ``.json``, ``.jsonl``, ``.ndjson`` or ``.parquet`` file.

    Returns:
        The records in file order, at least one.

    Raises:
        ValueError: if the file or a record cannot be read; names file and record.
    """
    return [_record(entry, f"{file}, record {n}") for n, entry in enumerate(_entries(file), 1)]


def _entries(file: Path) -> Sequence[Any]:
    if not file.is_file():
        raise ValueError(f"data.path: {file} does not exist or is not a file")
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"data.path: {file} must have the extension {', '.join(SUFFIXES)}, got {file.suffix!r}"
        )
    if suffix == ".parquet":
        entries: Sequence[Any] = read_parquet(file).to_dict(orient="records")
    elif suffix == ".json":
        entries = _json(file)
    else:
        entries = [entry for _, entry in read_json_lines(file)]
    if not entries:
        raise ValueError(f"{file} contains no records")
    return entries


def _json(file: Path) -> Sequence[Any]:
    text = read_text(file)
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    if not isinstance(entries, list):
        raise ValueError(f"{file} must contain a JSON list of records, got {text.strip()[:40]!r}")
    return entries


def _record(entry: Any, where: str) -> Record:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where} must be an object with fields, got {entry!r:.60}")
    if not _is_missing(entry.get("messages")):
        record = _conversation(entry["messages"], where)
    else:
        for key in ("instruction", "output"):
            if key not in entry:
                raise ValueError(
                    f"{where} has no field {key!r} (nor 'messages'); it has "
                    f"{', '.join(map(repr, entry)) or 'none'}"
                )
        texts = {
            key: _text(entry.get(key), f"{where}: {key}")
            for key in ("instruction", "input", "output", "system")
        }
        record = Record(**texts, history=_history(entry.get("history"), where))
    if not record.instruction:
        raise ValueError(f"{where} has an empty instruction")
    return record


def _is_missing(value: Any) -> bool:
    """Whether a value is null in JSON or a missing value in Parquet."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: Any, where: str) -> str:
    if _is_missing(value):
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{where} must be a string, got {value!r:.60}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can escape one, as in "\ud800"
        raise ValueError(f"{where} contains an unpaired surrogate: {error}") from error
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list | np.ndarray):  # pandas reads lists in Parquet as arrays
        raise ValueError(f"{where} must be a list, got {value!r:.60}")
    return list(value)


def _history(value: Any, where: str) -> tuple[Turn, ...]:
    turns = []
    for number, pair in enumerate([] if _is_missing(value) else _list(value, f"{where}: history")):
        at = f"{where}: history, turn {number + 1}"
        texts = [_text(text, at) for text in _list(pair, at)]
        if len(texts) != 2:
            raise ValueError(f"{at} must be a pair of user and assistant, got {len(texts)} items")
        turns.append(Turn(*texts))
    return tuple(turns)


def _conversation(messages: Any, where: str) -> Record:
    turns: list[tuple[str, str]] = []
    for number, message in enumerate(_list(messages, f"{where}: messages"), start=1):
        at = f"{where}, message {number}"
        if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
            raise ValueError(f"{at} must have a role and a content, got {message!r:.60}")
        if _is_missing(message["content"]):
            raise ValueError(f"{at}: content must be a string, got null")
        turns.append((str(message["role"]), _text(message["content"], f"{at}: content")))
    system = turns.pop(0)[1] if turns and turns[0][0] == "system" else ""
    expected = ["user", "assistant"] * (len(turns) // 2)
    if not turns or [role for role, _ in turns] != expected:
        raise ValueError(
            f"{where}: after an optional system message, messages must alternate between user and "
            f"assistant and end with the assistant's, got {', '.join(role for role, _ in turns)}"
        )
    texts = [text for _, text in turns]
    history = tuple(Turn(*pair) for pair in zip(texts[:-2:2], texts[1:-2:2], strict=True))
    return Record(texts[-2], output=texts[-1], system=system, history=history)
