"""What a user's file holds: text in UTF-8, JSON Lines, Parquet.

Every fault is a ValueError that names the file and, where there are lines, the line. What the
values must be is the business of the caller.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd


def decode_utf8(content: bytes, name: str) -> str:
    """Decodes what ``name`` holds, without the byte-order mark that some editors put first.

    Raises:
        ValueError: if it is not UTF-8; names byte and line.
    """
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{name} is not UTF-8: byte {error.start} in line {line} cannot be decoded; "
            f"save it as UTF-8"
        ) from error


def read_text(file: Path) -> str:
    """Reads a UTF-8 file; each line ends with a newline alone, whatever system wrote it.

    Raises:
        ValueError: if it is not UTF-8.
    """
    text = decode_utf8(file.read_bytes(), str(file))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json_lines(file: Path) -> Iterator[tuple[int, Any]]:
    """Yields the value of each line that is not blank, with its number, counted from 1.

    Raises:
        ValueError: if the file is not UTF-8 or a line not JSON.
    """
    # Not splitlines(): it also cuts at separators that may stand inside a JSON string.
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{file}, line {number} is not JSON: {error}") from error


def read_parquet(file: Path) -> pd.DataFrame:
    """Reads a Parquet file.

    Raises:
        ValueError: if it is something else, or damaged.
    """
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise ValueError(f"{file} is not a readable Parquet file: {error}") from error
