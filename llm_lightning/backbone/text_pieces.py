"""The text of tokens as they come, in pieces of whole characters."""

from llm_lightning.backbone.tokenizer import Tokenizer

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


class TextPieces:
    """Turns the tokens of one text into pieces of it.

    Args:
        tokenizer: the model's.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        # A token's text may depend on the tokens before it, so those of the last piece are decoded
        # with it: with one more piece, the text of the new tokens is what it adds.
        self._last: list[int] = []
        self._new: list[int] = []

    def add(self, token: int) -> str:
        """Returns what a token adds; nothing while a character is not whole."""
        self._new.append(token)
        text = self._tokenizer.decode(self._last + self._new)
        # A character may be spread over several tokens.
        return "" if text.endswith(_INCOMPLETE) else self._take(text)

    def rest(self) -> str:
        """Returns what is left once there are no more tokens, perhaps part of a character."""
        return self._take(self._tokenizer.decode(self._last + self._new)) if self._new else ""

    def _take(self, text: str) -> str:
        piece = text[len(self._tokenizer.decode(self._last)) :]
        self._last, self._new = self._new, []
        return piece
