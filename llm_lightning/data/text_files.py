"""Reads files that users provide: UTF-8 text, JSON Lines and Parquet.

Errors name the file and, where there are lines, the line. Callers check the values.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd


def decode_utf8(content: bytes, name: str) -> str:
    """Decodes UTF-8, without the byte-order mark that some editors write.

    Args:
        content: the bytes.
        name: where they come from, for the error.

    Returns:
        The text.

    Raises:
        ValueError: if they are not UTF-8; names byte and line.
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
    r"""Reads a UTF-8 file, with every line ending as ``\n``.

    Raises:
        ValueError: if it is not UTF-8.
    """
    text = decode_utf8(file.read_bytes(), str(file))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json_lines(file: Path) -> Iterator[tuple[int, Any]]:
    """Yields the number, counted from 1, and the value of each line that is not blank.

    Raises:
        ValueError: if the file is not UTF-8 or a line is not JSON.
    """
    # Not splitlines(): it also splits at separators that are allowed inside a JSON string.
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{file}, line {number} is not JSON: {error}") from error


def read_parquet(file: Path) -> pd.DataFrame:
    """Reads a Parquet file.

    Raises:
        ValueError: if it is damaged or not a Parquet file.
    """
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise ValueError(f"{file} is not a readable Parquet file: {error}") from error
