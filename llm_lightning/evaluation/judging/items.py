"""The responses to be judged, read from the file that a run wrote."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_lightning.run_format.files import RESPONSE


@dataclass(frozen=True)
class Item:
    """A task, its reference and the response of a model."""

    task: str
    """The task as text: earlier turns, the instruction and, if there is one, the input."""
    reference: str
    response: str


def read_items(file: Path) -> list[Item]:
    """Reads a JSON list of ``instruction``, ``input``, ``output`` and ``model_response``.

    ``input`` may be missing, as may ``system`` and ``history``, the user and assistant texts of
    earlier turns.

    Raises:
        ValueError: if the file is something else; names the entry and what is wrong with it.
    """
    try:
        entries = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # of the decoder as well as of JSON
        raise ValueError(f"{file} is not JSON in UTF-8: {error}") from error
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{file} must be a JSON list with at least one response")
    return [_item(entry, f"{file}: entry {index}") for index, entry in enumerate(entries)]


def _item(entry: Any, where: str) -> Item:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must be an object, got {type(entry).__name__}")
    return Item(
        task=_task(entry, where),
        reference=_text(entry, "output", where),
        response=_text(entry, RESPONSE, where),
    )


def _text(entry: dict[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = entry.get(key, default)
    if not isinstance(value, str):
        found = "is missing" if value is None else f"is {type(value).__name__}"
        raise ValueError(f"{where}: {key} must be text, but it {found}")
    return value.strip()


def _task(entry: dict[str, Any], where: str) -> str:
    """The task in Alpaca's form.

    Not taken from the prompt styles, which belong to the judged model and may change: every
    cached reply would be lost.
    """
    parts = []
    if system := _text(entry, "system", where, default=""):
        parts.append(system)
    history = entry.get("history", [])
    try:
        turns = [(user.strip(), assistant.strip()) for user, assistant in history]
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: history must be a list of pairs of texts") from error
    for user, assistant in turns:
        parts += [f"### Instruction:\n{user}", f"### Response:\n{assistant}"]
    parts.append(f"### Instruction:\n{_text(entry, 'instruction', where)}")
    if given := _text(entry, "input", where, default=""):
        parts.append(f"### Input:\n{given}")
    return "\n\n".join(parts)
