"""What is sent of a text that is being written."""

import pytest

from llm_lightning.backbone.tokenizer import GPT2Tokenizer, encode
from llm_lightning.serving.answer_text import AnswerText


def sent(text: str, *stops: str, is_stripped: bool = False) -> list[str]:
    """The pieces that are sent of a text, the last one as what is left."""
    look = AnswerText(GPT2Tokenizer(), stops, is_stripped=is_stripped)
    pieces = []
    for token in encode(text):
        pieces.append(look.add(token))
        if look.has_stopped:
            return pieces
    return [*pieces, look.rest()]


@pytest.mark.parametrize(
    ("text", "stops", "whole"),
    [
        ("one two three", (), "one two three"),
        ("one two three", ("two",), "one "),
        ("one two three", ("x", "ee", "two thr"), "one "),
        ("a###b", ("####",), "a###b"),
        ("a####b", ("####",), "a"),
        ("aab", ("ab",), "a"),
        ("  a  ", (), "  a  "),
        ("naïve café ☕ 日本語", ("本",), "naïve café ☕ 日"),
        ("the end", ("end",), "the "),
        ("the en", ("end",), "the en"),
    ],
)
def test_a_text_is_sent_up_to_the_first_stop(text: str, stops: tuple[str, ...], whole: str) -> None:
    assert "".join(sent(text, *stops)) == whole


@pytest.mark.parametrize(
    ("text", "stops", "whole"),
    [
        ("\n  two words \n\n", (), "two words"),
        (" \n ", (), ""),
        ("a \n### b", ("###",), "a"),
        ("a \n##", ("###",), "a \n##"),
        ("a  b", (), "a  b"),
    ],
)
def test_white_space_around_an_answer_is_never_sent(
    text: str, stops: tuple[str, ...], whole: str
) -> None:
    pieces = sent(text, *stops, is_stripped=True)
    assert "".join(pieces) == whole
    assert not pieces[0].startswith((" ", "\n"))


def test_pieces_are_sent_as_soon_as_they_can_be() -> None:
    assert sent("one two three", "xyz") == ["one", " two", " three", ""]
    assert sent("one two", is_stripped=True) == ["one", " two", ""]
