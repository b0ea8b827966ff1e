"""Texts that a user gives on a command line, in a file or on standard input: UTF-8, or refused."""

from collections.abc import Iterable, Iterator


def decoded_lines(lines: Iterable[bytes], name: str) -> Iterator[str]:
    """Decodes lines as they come, without line ends and byte-order mark.

    Args:
        lines: as a binary stream yields them.
        name: of the stream, for the error.

    Raises:
        ValueError: if one is not UTF-8; names the line.
    """
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{name} is not UTF-8: byte {error.start} in line {number} cannot be decoded; save "
                f"it as UTF-8"
            ) from error
        text = text.removeprefix("\ufeff") if number == 1 else text
        yield text.removesuffix("\n").removesuffix("\r")


def check_utf8(text: str, name: str) -> str:
    """Returns a text from a command line or a terminal.

    Raises:
        ValueError: if its bytes were not UTF-8, which Python keeps as halves of characters.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} is not UTF-8: character {error.start + 1} cannot be decoded"
        ) from error
    return text
