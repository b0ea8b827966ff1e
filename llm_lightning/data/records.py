"""Reads instruction records from JSON, JSON Lines, CSV, TSV or Parquet, plain or as conversations.

Errors name file and record; records count from 1.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_lightning.data.conversations import KEYS, conversation, is_missing, list_of, text_of
from llm_lightning.data.delimited import read_delimited
from llm_lightning.data.prompts import Record, Turn
from llm_lightning.data.table_format import Given, Reading
from llm_lightning.data.text_files import (
    existing_file,
    parse_json,
    read_json_lines,
    read_parquet,
    read_text,
    refuse_other_kinds,
)
from llm_lightning.presentation.plurals import counted

SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet", ".csv", ".tsv")

NAMES = {
    "instruction": ("instruction", "prompt", "question"),
    "input": ("input", "context"),
    "output": ("output", "response", "completion", "answer"),
    "system": ("system", "system_prompt"),
}
"""What the fields of a record are called, our own name first: Alpaca's, Dolly's and others'."""
_OWN = ("history", "not_learnt")
_DETECTED = Given()


@dataclass(frozen=True)
class RecordFile:
    """The records of a file, and how it was read."""

    records: list[Record]
    """In file order, at least one."""
    reading: Reading | None
    """How a CSV or TSV file was read."""
    renamed: dict[str, str]
    """Our name of each field that the file calls by another name."""
    unread: dict[str, int]
    """Records in which a field has a value that is not read."""
    num_left_out: int
    """Messages after the last one of a conversation that is to be learnt."""
    num_not_learnt: int
    """Earlier messages of the assistant of weight 0."""
    filled: list[str]
    """What was guessed or filled of a CSV or TSV file, for people."""

    def notes(self) -> list[str]:
        """Returns what is guessed, renamed and left out, for people."""
        notes = list(self.filled)
        if self.renamed:
            parts = ", ".join(f"{theirs} as {ours}" for theirs, ours in self.renamed.items())
            notes.append(f"fields read: {parts}")
        if self.unread:
            parts = ", ".join(f"{key} ({number:,})" for key, number in self.unread.items())
            notes.append(f"fields not read: {parts}")
        if self.num_not_learnt or self.num_left_out:
            notes.append(
                f"{counted(self.num_not_learnt, 'earlier assistant message')} of weight 0 not in "
                f"the loss, {counted(self.num_left_out, 'message')} after the last learnt one left "
                f"out"
            )
        return notes


def read_records(file: Path) -> list[Record]:
    """Reads the records of a file; see :func:`read_record_file`.

    Raises:
        ValueError: if the file or a record cannot be read; names file and record.
    """
    return read_record_file(file).records


def read_record_file(file: Path, given: Given = _DETECTED) -> RecordFile:
    """Reads a file in the format given by its extension.

    A record has the fields ``instruction`` and ``output`` and optionally ``input``, ``system`` and
    ``history``, a list of (user, assistant) pairs. These are also the fields of the splits that a
    run writes; for other names see :data:`NAMES`. Or it is a conversation: ``messages`` with
    ``role`` (system, user, assistant) and ``content``, or ShareGPT's ``conversations`` with
    ``from`` and ``value``.

    Args:
        file: a ``.json``, ``.jsonl``, ``.ndjson``, ``.parquet``, ``.csv`` or ``.tsv`` file.
        given: what is known of a CSV or TSV file.

    Raises:
        ValueError: if the file or a record cannot be read; names file and record.
    """
    entries, reading, filled = _entries(file, given)
    records: list[Record] = []
    unread: Counter[str] = Counter()
    renamed: dict[str, str] = {}
    errors: list[ValueError] = []
    num_left_out = 0
    for number, entry in enumerate(entries, start=1):
        try:
            record, read, left_out = _record(entry, f"{file}, record {number}")
        except ValueError as error:
            errors.append(error)
            continue
        records.append(record)
        num_left_out += left_out
        renamed |= {theirs: ours for theirs, ours in read.items() if theirs != ours}
        unread.update(str(key) for key in entry if key not in read and _has_value(entry[key]))
    if errors:
        rest = f" ({len(errors):,} of {len(entries):,} records cannot be used)"
        raise ValueError(f"{errors[0]}{rest if len(errors) > 1 else ''}") from errors[0]
    num_not_learnt = sum(len(record.not_learnt) for record in records)
    return RecordFile(records, reading, renamed, dict(unread), num_left_out, num_not_learnt, filled)


def _entries(file: Path, given: Given) -> tuple[Sequence[Any], Reading | None, list[str]]:
    file = existing_file(str(file), "data.path")
    suffix = file.suffix.lower()
    reading = None
    filled: list[str] = []
    if suffix not in SUFFIXES:
        raise ValueError(
            f"data.path: {file} must have the extension {', '.join(SUFFIXES)}, got {file.suffix!r}"
        )
    if suffix == ".parquet":
        entries: Sequence[Any] = read_parquet(file).to_dict(orient="records")
    elif suffix in (".csv", ".tsv"):
        table, reading, filled = read_delimited(file, given)
        entries = table.to_dict(orient="records")
    elif suffix == ".json":
        entries = _json(file)
    else:
        entries = [entry for _, entry in read_json_lines(file)]
    if not entries:
        raise ValueError(f"{file} contains no records")
    return entries, reading, filled


def _json(file: Path) -> Sequence[Any]:
    text = read_text(file)
    refuse_other_kinds(text[:200].encode(errors="replace"), file)
    entries = parse_json(text, str(file))
    if not isinstance(entries, list):
        raise ValueError(f"{file} must contain a JSON list of records, got {text.strip()[:40]!r}")
    return entries


def _record(entry: Any, where: str) -> tuple[Record, dict[str, str], int]:
    """The record; our name of each field that was read; and the number of messages left out."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where} must be an object with fields, got {entry!r:.60}")
    read = {}
    texts = {}
    for ours, names in NAMES.items():
        filled = [name for name in names if _has_value(entry.get(name))]
        if len(filled) > 1:
            raise ValueError(
                f"{where} has {' and '.join(map(repr, filled))}, which both mean its {ours}: "
                f"remove or rename one of them"
            )
        name = next(iter(filled or [name for name in names if name in entry]), None)
        if name is not None:
            read[name] = ours
            texts[ours] = text_of(entry[name], f"{where}: {name}")
    talks = [key for key in KEYS if not is_missing(entry.get(key))]
    if talks:
        read = {key: ours for key, ours in read.items() if ours == "system"}
        record, left_out = conversation(entry[talks[0]], where, texts.get("system", ""))
        return _checked(record, where), read | {talks[0]: talks[0]}, left_out
    for key in ("instruction", "output"):
        if key not in texts:
            raise ValueError(
                f"{where} has no field {key!r} (nor {', '.join(map(repr, NAMES[key][1:]))}, nor "
                f"'messages'); it has {', '.join(map(repr, entry)) or 'none'}"
            )
    history = _history(entry.get("history"), where)
    record = Record(**texts, history=history, not_learnt=_not_learnt(entry, history, where))
    return _checked(record, where), read | {key: key for key in _OWN}, 0


def _checked(record: Record, where: str) -> Record:
    if not record.instruction:
        raise ValueError(f"{where} has an empty instruction")
    return record


def _has_value(value: Any) -> bool:
    return not is_missing(value) and not (isinstance(value, str) and not value.strip())


def _history(value: Any, where: str) -> tuple[Turn, ...]:
    if not _has_value(value):
        return ()
    turns = []
    for number, pair in enumerate(list_of(value, f"{where}: history")):
        at = f"{where}: history, turn {number + 1}"
        texts = [text_of(text, at) for text in list_of(pair, at)]
        if len(texts) != 2:
            raise ValueError(f"{at} must be a pair of user and assistant, got {len(texts)} items")
        turns.append(Turn(*texts))
    return tuple(turns)


def _not_learnt(entry: Mapping[str, Any], history: Sequence[Turn], where: str) -> tuple[int, ...]:
    value = entry.get("not_learnt")
    numbers = [] if is_missing(value) else list_of(value, f"{where}: not_learnt")
    if any(number not in range(len(history)) for number in numbers):
        raise ValueError(
            f"{where}: not_learnt must be numbers of earlier turns, got {numbers!r:.60}"
        )
    return tuple(int(number) for number in numbers)
