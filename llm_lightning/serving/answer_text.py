"""What a client gets of a text that is being written: up to a stop; stripped if it is a chat."""

from collections.abc import Sequence

from llm_lightning.backbone.text_pieces import TextPieces
from llm_lightning.backbone.tokenizer import Tokenizer


class AnswerText:
    """Turns tokens into pieces that can be sent at once.

    What may turn out to belong to a stop, or to the white space at the end, is held back. So the
    pieces together are the same text whether they are sent one by one or as a whole.

    Args:
        tokenizer: the model's.
        stops: texts that end the answer and are no part of it.
        is_stripped: whether white space around the answer is left out, as ``generate`` does.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str], *, is_stripped: bool) -> None:
        self._pieces = TextPieces(tokenizer)
        self._stops = stops
        self._is_stripped = is_stripped
        self._held = ""
        self._is_begun = False
        self.has_stopped = False
        """Whether one of the stops was found."""

    def add(self, token: int) -> str:
        """Returns what can be sent after one more token."""
        return self._released(self._pieces.add(token))

    def rest(self) -> str:
        """Returns what can be sent once there are no more tokens."""
        text = self._released(self._pieces.rest()) + self._held
        return text.rstrip() if self._is_stripped else text

    def _released(self, new: str) -> str:
        if self.has_stopped:
            return ""
        text = self._held + new
        if self._is_stripped and not self._is_begun:
            text = text.lstrip()
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.has_stopped, self._held = True, ""
            text = text[: min(found)]
            return text.rstrip() if self._is_stripped else text
        end = len(text) - max((_overlap(text, stop) for stop in self._stops), default=0)
        if self._is_stripped:
            end = len(text[:end].rstrip())
        self._held = text[end:]
        self._is_begun |= end > 0
        return text[:end]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of a text could be the beginning of a stop."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
