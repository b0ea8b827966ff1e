"""Which encoding the bytes of a text file are in, decided by fixed rules and never by frequency.

Byte-order marks decide first, then UTF-8, UTF-16 without a mark, and Windows-1252, which Excel
writes in Western Europe. The last is only taken if every byte that is not ASCII makes sense in it:
other encodings of one byte a character would be read without an error, but as other letters.
"""

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NAMES = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8 with a byte-order mark",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16 without a byte-order mark",
    "utf-16-be": "UTF-16 without a byte-order mark",
    "utf-32": "UTF-32",
    "cp1252": "Windows-1252",
}

# Characters of Windows-1252 that Western European texts hold: letters, typographic signs, units.
_WESTERN = re.compile(
    rb"[\x00-\x7f\x80\x84\x85\x8c\x91-\x97\x99\x9c\xa0-\xa3\xa7-\xab\xae\xb0-\xb4\xb7\xb9-\xbf"
    rb"\xc0-\xcf\xd1-\xd6\xd8-\xdc\xdf-\xef\xf1-\xf6\xf8-\xfc\xff]*"
)
# What other encodings of the same bytes look like: signs inside words, or UTF-8 beside other bytes.
_ODD = re.compile(
    rb"[A-Za-z][\x84\x93\x94\xa1-\xa3\xb1-\xb3\xb9\xbc-\xbf][a-z]|[\xc2-\xc5][\x80-\xbf]"
)
_MOST_OF_LETTERS = 0.25
"""Largest share of bytes beyond ASCII among letters: in Cyrillic or Greek it is most of them."""

_NULS_SEEN = 4096
"""Bytes at the start that tell UTF-16 without a byte-order mark."""


def decode(content: bytes, name: str, encoding: str | None = None) -> tuple[str, str]:
    """Decodes a text file.

    Args:
        content: its bytes.
        name: what it is called, for the error.
        encoding: the encoding, if it is known.

    Returns:
        The text without a byte-order mark, and the name of Python's codec.

    Raises:
        ValueError: if it cannot be decoded, or the encoding cannot be told; names byte and line.
    """
    if encoding is not None:
        return _decoded(content, name, encoding), encoding
    for mark, marked in _MARKS:
        if content.startswith(mark):
            return _decoded(content, name, marked), marked
    if (unmarked := _utf16(content)) is not None:
        return _decoded(content, name, unmarked), unmarked
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        if _is_western(content):
            return content.decode("cp1252"), "cp1252"
        raise ValueError(
            f"{_not_utf8(content, name, error)}; save it as UTF-8, or name its encoding: "
            f"data.encoding=cp1250"
        ) from error


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
        raise ValueError(f"{_not_utf8(content, name, error)}; save it as UTF-8") from error


def check_encoding(encoding: str) -> None:
    """Checks that an encoding of texts has this name.

    Raises:
        ValueError: if there is none.
    """
    try:
        "a".encode(encoding)
    except (LookupError, ValueError) as error:
        raise ValueError(
            f"data.encoding must be the name of an encoding such as utf-8, utf-16 or cp1252, "
            f"got {encoding!r}"
        ) from error


def encoding_name(encoding: str) -> str:
    """Returns the name of a codec for people."""
    return _NAMES.get(encoding, encoding)


def _not_utf8(content: bytes, name: str, error: UnicodeDecodeError) -> str:
    line = content[: error.start].count(b"\n") + 1
    return f"{name} is not UTF-8: byte {error.start} in line {line} cannot be decoded"


def _decoded(content: bytes, name: str, encoding: str) -> str:
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeError as error:
        # Some codecs raise the base class, which knows no place.
        start = getattr(error, "start", 0)
        line = content[:start].count(b"\n") + 1
        raise ValueError(
            f"{name} is not {encoding_name(encoding)}: byte {start} in line {line} cannot be "
            f"decoded; name its encoding with data.encoding"
        ) from error


def _utf16(content: bytes) -> str | None:
    """The kind of UTF-16 in which every other byte of Western texts is zero."""
    head = content[:_NULS_SEEN]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if len(content) % 2 or max(even, odd) < 0.3 * len(head) / 2:
        return None
    if min(even, odd) > 0.05 * len(head) / 2:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _is_western(content: bytes) -> bool:
    if not _WESTERN.fullmatch(content) or _ODD.search(content):
        return False
    others = len(content) - len(content.translate(None, bytes(range(128, 256))))
    letters = len(re.findall(rb"[A-Za-z]", content)) + others
    return others <= _MOST_OF_LETTERS * letters
