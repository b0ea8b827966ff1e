"""How a delimited text file is written: what is detected of it, and the settings that say it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llm_lightning.data.encodings import check_encoding, encoding_name

SEPARATORS = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "pipe": "|",
    "colon": ":",
    "space": " ",
}
QUOTES = {"double": '"', "single": "'", "none": None}
ESCAPES = {"backslash": "\\", "none": None}
_ALIASES = {"\\t": "\t", "\\\\": "\\"}
"""What a shell or a YAML file may leave of a character that was escaped."""


@dataclass(frozen=True)
class Given:
    """What the user said about a file; ``None`` for what is to be detected."""

    separator: str | None = None
    quote: str | None = None
    """A character; the empty string if quotes are ordinary characters."""
    escape: str | None = None
    """A character; the empty string if there is none."""
    encoding: str | None = None
    header: bool | None = None


@dataclass(kw_only=True)
class TableFormat:
    """Settings of a delimited text file, each of which is detected if it is null."""

    separator: str | None = None
    """Between the cells of a CSV or TSV file: ``comma``, ``semicolon``, ``tab``, ``pipe``,
    ``colon``, ``space``, or any other character; detected if null."""
    quote: str | None = None
    """What encloses cells of a CSV or TSV file that hold separators or line ends: ``double`` or
    ``single`` quotes; ``none``: they are ordinary characters; detected if null."""
    escape: str | None = None
    """What precedes a quote inside a quoted cell: ``backslash``, as MySQL writes it, or ``none``:
    the quote is doubled; detected if null."""
    encoding: str | None = None
    """Encoding of a CSV or TSV file, such as ``utf-8``, ``utf-16`` or ``cp1252``; detected if
    null."""
    header: bool | None = None
    """Whether the first row of a CSV or TSV file names the columns; without a header they are
    called 1, 2, 3 ... If null, it must name them."""

    def given_format(self) -> Given:
        """Returns the settings as characters.

        Raises:
            ValueError: if one of them is no character, or not an encoding.
        """
        if self.encoding is not None:
            check_encoding(self.encoding)
        separator = _character("separator", self.separator, SEPARATORS)
        quote = _character("quote", self.quote, QUOTES)
        escape = _character("escape", self.escape, ESCAPES)
        if separator == "":
            raise ValueError("data.separator must be a character, got none")
        if len({separator, quote, escape} - {None, ""}) < sum(
            bool(one) for one in (separator, quote, escape)
        ):
            raise ValueError(
                "data.separator, data.quote and data.escape must be different characters"
            )
        return Given(separator, quote, escape, self.encoding, self.header)


def _character(key: str, value: str | None, names: Mapping[str, str | None]) -> str | None:
    if value is None:
        return None
    if value in names:
        return names[value] or ""
    found = _ALIASES.get(value, value)
    if len(found) != 1 or found in "\r\n":
        raise ValueError(
            f"data.{key} must be {', '.join(names)} or a single character, got {value!r}"
        )
    return found


@dataclass(frozen=True)
class Dialect:
    """How the cells and rows of a text are told apart."""

    separator: str
    quote: str | None
    escape: str | None
    is_cr_text: bool = False
    """Whether a carriage return without a newline is part of a cell and not the end of a row."""


@dataclass(frozen=True)
class Reading:
    """How a file was read."""

    dialect: Dialect
    encoding: str
    """Name of Python's codec."""
    header: bool
    num_rows: int

    def facts(self) -> dict[str, Any]:
        """Returns it as plain values for a run's summary."""
        return {
            "separator": self.dialect.separator,
            "quote": self.dialect.quote,
            "escape": self.dialect.escape,
            "encoding": self.encoding,
            "header": self.header,
            "rows": self.num_rows,
        }

    def describe(self) -> str:
        """Returns it in words, for one line."""
        dialect = self.dialect
        separator = {character: name for name, character in SEPARATORS.items()}.get(
            dialect.separator, repr(dialect.separator)
        )
        quote = {'"': "double quotes", "'": "single quotes", None: "no quoting"}.get(
            dialect.quote, f"quoted by {dialect.quote}"
        )
        parts = [
            f"separator {separator}",
            quote,
            *(["escapes by " + dialect.escape] if dialect.escape else []),
            *(["carriage returns inside texts"] if dialect.is_cr_text else []),
            encoding_name(self.encoding),
            "header" if self.header else "no header",
        ]
        return ", ".join(parts)
