"""Reads files that users provide: text, JSON Lines and Parquet.

Errors name the file and, where there are lines, the line. Callers check the values.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from llm_lightning.data.encodings import decode, decode_utf8

MAX_BYTES = 2 << 30
"""Largest file, and largest content of a compressed one, that is read into memory."""
MAX_TEXT = 10_000_000
"""Characters of the longest text that is accepted: books have a million."""

_KINDS = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook: unpack it, or save it as CSV"),
    (b"\x1f\x8b", "compressed with gzip: unpack it"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save it as CSV"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3", "an SQLite database: export the table as CSV"),
)
_BATCH_ROWS = 4096


def existing_file(name: str, key: str) -> Path:
    """Returns the path of a file that exists, with ``~`` replaced.

    Args:
        name: as the user gave it.
        key: the setting that it comes from, for the error.

    Raises:
        ValueError: if it is not there, not a file, or may not be read.
    """
    try:
        path = Path(name).expanduser()
        if path.is_file():
            with path.open("rb"):
                return path
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{key}: {name} cannot be read: {reason}") from error
    raise ValueError(f"{key}: {name} does not exist or is not a file")


def read_bytes(file: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Reads a file that fits into memory.

    Args:
        file: the file.
        max_bytes: largest size to accept, in bytes.

    Raises:
        ValueError: if it is too large, or may not be read.
    """
    try:
        if (size := file.stat().st_size) > max_bytes:
            raise ValueError(f"{file} has {size:,} bytes; at most {max_bytes:,} are read: split it")
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}") from error


def refuse_other_kinds(content: bytes, file: Path) -> None:
    """Names what a file is that its extension does not tell: web pages, archives, workbooks.

    Raises:
        ValueError: if the file is one of them.
    """
    for magic, kind in _KINDS:
        if content.startswith(magic):
            raise ValueError(f"{file} is {kind}")
    if content[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html")):
        raise ValueError(
            f"{file} is a web page (HTML) and not a data file: the address that it was downloaded "
            f"from shows a page; download the file itself"
        )


def read_text(file: Path) -> str:
    r"""Reads a UTF-8 file, or one that says it is UTF-16, with every line ending as ``\n``.

    Raises:
        ValueError: if it cannot be read or decoded.
    """
    content = read_bytes(file)
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text, _ = decode(content, str(file))
    else:
        text = decode_utf8(content, str(file))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_json(text: str, where: str) -> Any:
    """Parses JSON in which no object has a key twice.

    Args:
        text: the JSON.
        where: file and line, for the error.

    Raises:
        ValueError: if it is not JSON, nested too deeply to be read, or ambiguous.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repeated_keys)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{where} is not a record: its JSON is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def read_json_lines(file: Path) -> Iterator[tuple[int, Any]]:
    """Yields the number, counted from 1, and the value of each line that is not blank.

    Raises:
        ValueError: if the file cannot be read or decoded, or a line is not JSON.
    """
    text = read_text(file)
    refuse_other_kinds(text[:200].encode(errors="replace"), file)
    # Not splitlines(): it also splits at separators that are allowed inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, parse_json(line, f"{file}, line {number}")


def read_parquet(file: Path) -> pd.DataFrame:
    """Reads a Parquet file, in parts, so that what a small file unpacks to is limited.

    Raises:
        ValueError: if it is damaged, not a Parquet file, or its content is too large.
    """
    import pyarrow as pa  # takes a moment, and most files are no Parquet
    from pyarrow import parquet

    try:
        with file.open("rb") as stream:
            refuse_other_kinds(stream.read(200), file)
        batches, num_bytes = [], 0
        with parquet.ParquetFile(file) as source:
            for batch in source.iter_batches(_BATCH_ROWS):
                if (num_bytes := num_bytes + batch.nbytes) > MAX_BYTES:
                    break
                batches.append(batch)
            found = pa.Table.from_batches(batches, source.schema_arrow).to_pandas()
    except PermissionError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    except (OSError, ValueError, LookupError, NotImplementedError, TypeError, MemoryError) as error:
        if str(error).startswith(str(file)):
            raise
        raise ValueError(f"{file} is not a readable Parquet file: {error}") from error
    if num_bytes > MAX_BYTES:
        raise ValueError(f"{file} holds more than {MAX_BYTES:,} bytes when unpacked: split it")
    table: pd.DataFrame = found
    return table


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} occurs twice in one object, which is ambiguous")
    return found
