"""Reads small files that anybody may have written: a regular file, of a bounded size, or an error.

A run folder that somebody shares may hold a pipe, a terabyte of zeros or thousands of brackets
under a familiar name. Every problem is a ValueError of one line that names the file.
"""

import json
import stat
from pathlib import Path
from typing import Any

MOST_BYTES = 64 * 2**20
"""Of a JSON file: far above the largest that a run or a model brings, far below any memory."""


def read_text(file: Path, most_bytes: int = MOST_BYTES) -> str:
    """Reads a UTF-8 text file.

    Args:
        file: to read.
        most_bytes: largest size.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is no regular file, too large, not readable or not UTF-8.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise ValueError(f"{file} is not a file")
        with file.open("rb") as opened:
            content = opened.read(most_bytes + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > most_bytes:
        raise ValueError(f"{file} is larger than {most_bytes:,} bytes, more than such a file needs")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{file} is damaged: line {line} is not UTF-8 text") from error


def read_json(file: Path, most_bytes: int = MOST_BYTES) -> Any:
    """Reads a JSON file; see :func:`read_text`.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: also if it is empty, or no JSON.
    """
    text = read_text(file, most_bytes)
    if not text.strip("\0 \t\r\n"):
        raise ValueError(f"{file} is damaged: it is empty")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{file} is damaged: no JSON from line {error.lineno}, column {error.colno} on"
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise ValueError(f"{file} is damaged: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{file} is damaged: it is nested too deeply") from error


def read_json_object(file: Path, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Reads a JSON file whose content is an object; see :func:`read_json`.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: also if the content is something else.
    """
    found = read_json(file, most_bytes)
    if not isinstance(found, dict):
        raise ValueError(
            f"{file} is damaged: it must hold a JSON object, got {type(found).__name__}"
        )
    return found
