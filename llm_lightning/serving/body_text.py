"""The text of a request's body."""

from typing import Annotated

from pydantic import AfterValidator


def _whole(text: str) -> str:
    """Refuses half of a character, which JSON can hold and no tokenizer can encode.

    Raises:
        ValueError: naming the half and its place.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        raise ValueError(f"character {error.start} is half of one ({half})") from error
    return text


BodyText = Annotated[str, AfterValidator(_whole)]
"""Text of whole characters."""
