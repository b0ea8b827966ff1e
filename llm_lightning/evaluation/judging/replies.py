"""How a judge's reply becomes a score: only where it says so plainly.

A number counts as the whole reply, in the JSON that was asked for, or beside a cue: "score: 85",
"85/100", "85 out of 100". Nothing is rounded, clipped, or picked among several.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_THINKING = re.compile(
    r"<(?P<a>/?)(?:think|thinking|thought|reasoning)>|\[(?P<b>/?)THINK\]|◁(?P<c>/?)think▷",
    re.IGNORECASE,
)
"""Where thinking begins or ends: the tags of most models, of Magistral, and of Kimi."""
_CHANNEL = "<|channel|>"
_FINAL = re.compile(r"<\|channel\|>\s*final\s*<\|message\|>")
_CONTROL = re.compile(r"<\|[a-z_]{1,20}\|>")
"""Marks of a chat format that some servers leave in a reply."""

_MARKS = r"[\s*_`\"'#]*"
_NUMBER = r"[-+]?[0-9]+(?:[.,][0-9]+)*"
_NAMED = r"\b(?:score|grade|rating)"
_WHOLE = re.compile(
    rf"{_MARKS}(?:(?:final|overall|my)\s+)?(?:{_NAMED}{_MARKS})?({_NUMBER})\s*(%?){_MARKS}[.!]?",
    re.IGNORECASE,
)
_CUED = re.compile(
    rf"{_NAMED}{_MARKS}(?:\([^()\n]{{0,40}}\){_MARKS})?(?:(?:is|of|:|=|->|→){_MARKS})+({_NUMBER})",
    re.IGNORECASE,
)
_CHOICE_AFTER = re.compile(
    r"[ \t*_]*(?:[-\u2013\u2014~/,;+\u00b1&]|\b(?:to|or|and|out\s+of|of|vs)\b)[ \t]*[0-9]",
    re.IGNORECASE,
)
_CHOICE_BEFORE = re.compile(
    r"[0-9][ \t]*(?:[-\u2013\u2014~/,;&]|\b(?:to|or|and|vs))[ \t]*$", re.IGNORECASE
)
"""A number beside these is one end of a range, a choice, or on another scale."""
_HEDGE = re.compile(
    r"\b(?:not|never|no|cannot|unable|if|unless|could|might|maximum|minimum|max|min|highest|lowest"
    r"|possible|perfect|instead|claims?|asks?|says?|wants?|demands?)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
"""Near one of these words a number may be anything but the judge's own score."""
_MOST_OBJECTS = 1000
"""Braces of a reply that are looked at: each that is none costs time that grows with the reply."""
_LONGEST_NUMBER = 100
"""Characters of a reply that may be nothing but a number and its marks."""
_NEAR = 40
"""Characters on each side of a number, in the same sentence, that may hedge it."""


class Reading(NamedTuple):
    """What a reply says."""

    score: int | None
    reason: str | None
    """Why there is no score; ``None`` where there is one."""


def read_reply(text: str, lowest: int, highest: int, *, cut_off: bool = False) -> Reading:
    """Reads the score in a reply.

    Args:
        text: the reply.
        lowest: end of the scale.
        highest: its other end.
        cut_off: whether the server ended the reply at the token budget: what is there may be the
            beginning of a number, or of an argument.
    """
    if cut_off:
        return _none("cut off at the token budget, which --max-tokens raises")
    answer = _without_thinking(text)
    if answer is None:
        return _none("its thinking does not end")
    answer = _CONTROL.sub("", answer).strip()
    if not answer:
        return _none("empty but for its thinking" if text.strip() else "empty")
    if "{" in answer:
        return _of_json(answer, lowest, highest)
    return _of_text(answer, lowest, highest)


def _none(reason: str) -> Reading:
    return Reading(None, reason)


def _without_thinking(text: str) -> str | None:
    """What follows the thinking; ``None`` if that does not end."""
    if _is_object(text):
        return text  # a tag inside it is quoted
    if _CHANNEL in text:  # gpt-oss
        final = list(_FINAL.finditer(text))
        return text[final[-1].end() :] if final else None
    tags = list(_THINKING.finditer(text))
    if not tags:
        return text
    # Templates that open it in the prompt leave only the closing tag in the reply.
    is_closed = any(tags[-1].groups())
    return text[tags[-1].end() :] if is_closed else None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _of_json(text: str, lowest: int, highest: int) -> Reading:
    """The score in the JSON objects of a text: all that have one must agree."""
    scores: list[Any] = []
    for found in _objects(text):
        if found is None:
            scores.append(None)
        elif found := [value for key, value in found if key == "score"]:
            while scores and scores[-1] is None:  # a brace of the text before it
                scores.pop()
            scores += [_whole(value, lowest, highest) for value in found]
    if not scores:
        return _none("its JSON has no score")
    if len(set(scores)) > 1:
        return _none("several scores that differ")
    if scores[0] is None:
        return _none(f"no whole number from {lowest} to {highest} as the score of its JSON")
    return Reading(scores[0], None)


def _objects(text: str) -> Iterator[list[tuple[str, Any]] | None]:
    """The pairs of the outermost JSON objects in a text, in order; None for each broken one."""
    # Pairs, not dicts: a key that occurs twice would hide one of its values.
    decoder = json.JSONDecoder(object_pairs_hook=list)
    at = text.find("{")
    for _ in range(_MOST_OBJECTS):
        if at < 0:
            return
        try:
            value, end = decoder.raw_decode(text, at)
            yield value
        except RecursionError:  # thousands of braces are no score
            yield None
            return
        except ValueError:
            yield None
            end = at + 1
        at = text.find("{", end)
    yield None


def _of_text(text: str, lowest: int, highest: int) -> Reading:
    """The score of a reply without JSON: a number alone, or beside a cue."""
    if len(text) <= _LONGEST_NUMBER and (whole := _WHOLE.fullmatch(text)):
        if whole[2] and highest != 100:
            return _none("a percentage, which is not the scale")
        return _checked({whole[1]}, lowest, highest)
    of_scale = re.compile(
        rf"(?<![0-9.,])({_NUMBER})[\s*_]*(?:/|\bout\s+of\b)[\s*_]*{highest}\b(?![.,]?[0-9])",
        re.IGNORECASE,
    )
    stated = {found[1] for found in of_scale.finditer(text) if _is_stated(text, found)}
    stated |= {
        found[1]
        for found in _CUED.finditer(text)
        if _is_stated(text, found) and not _CHOICE_AFTER.match(text, found.end())
    }
    if not stated:
        return _none("no number alone, in JSON, or after a cue such as 'score:'")
    return _checked(stated, lowest, highest)


def _is_stated(text: str, found: re.Match[str]) -> bool:
    """Whether a number is given as the score, not as a bound, a wish, or part of a range."""
    before = re.split(r"[.!?](?=\s)|\n", text[max(0, found.start() - _NEAR) : found.start()])[-1]
    after = re.split(r"[.!?](?=\s|$)|\n", text[found.end() : found.end() + _NEAR])[0]
    return not (_HEDGE.search(before) or _HEDGE.search(after) or _CHOICE_BEFORE.search(before))


def _checked(numbers: set[str], lowest: int, highest: int) -> Reading:
    scores = {_whole(number, lowest, highest) for number in numbers}
    if len(scores) > 1:
        return _none("several scores that differ")
    score = scores.pop()
    return Reading(
        score, None if score is not None else f"no whole number from {lowest} to {highest}"
    )


def _whole(value: Any, lowest: int, highest: int) -> int | None:
    """The value as a whole number in range, given as a number or as its digits."""
    if isinstance(value, str):
        if not re.fullmatch(r"[-+]?[0-9]{1,9}(\.0+)?", value.strip(), re.ASCII):
            return None
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    inside = lowest <= value <= highest  # false of NaN
    return int(value) if inside and value == int(value) else None
