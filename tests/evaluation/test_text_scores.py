import json
import math

import pytest

from llm_lightning.evaluation.text_scores import SCORES, score_responses, summarize_scores
from llm_lightning.run_format.run_facts import Score


def scores(reference: str, response: str) -> dict[str, float]:
    return {name: values[0] for name, values in score_responses([reference], [response]).items()}


@pytest.mark.parametrize(
    ("reference", "response", "exact_match", "rouge_l", "token_f1"),
    [
        # Lin (2004), section 3.1: the two candidates for "police killed the gunman".
        ("police killed the gunman", "police kill the gunman", 0, 3 / 4, 2 / 3),
        ("police killed the gunman", "the gunman kill police", 0, 2 / 4, 2 / 3),
        # Of 6 words 4 are common in order (the cat sat mat); precision 4/5, recall 4/6.
        ("The cat sat on the mat.", "the cat sat a mat", 0, 8 / 11, 6 / 7),
        ("Cold.", "cold", 0, 1, 1),
        ("Cold.\n", "  Cold.", 1, 1, 1),
        ("a  b\nc", "a b c", 1, 1, 1),
        ("cold", "warm", 0, 0, 0),
        ("cold", "", 0, 0, 0),
        ("", "", 1, 0, 1),
        ("...", "!?", 0, 0, 1),
        ("die größte Straße", "Die größte Straße!", 0, 1, 1),
        ("x_y", "x y", 0, 1, 0),
        ("go go go", "go", 0, 1 / 2, 1 / 2),
    ],
)
def test_known_values(
    reference: str, response: str, exact_match: float, rouge_l: float, token_f1: float
) -> None:
    expected = {"exact_match": exact_match, "rouge_l": rouge_l, "token_f1": token_f1}
    assert scores(reference, response) == pytest.approx(expected, abs=1e-6)


def test_rouge_l_is_that_of_its_definition_on_random_words() -> None:
    import random

    draw = random.Random(0)
    for _ in range(20):
        one, other = (draw.choices("abcd", k=draw.randint(1, 9)) for _ in range(2))
        longest = _longest_common(tuple(one), tuple(other))
        expected = 2 * longest / (len(one) + len(other))
        assert scores(" ".join(one), " ".join(other))["rouge_l"] == pytest.approx(expected)


def _longest_common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    if not one or not other:
        return 0
    if one[0] == other[0]:
        return 1 + _longest_common(one[1:], other[1:])
    return max(_longest_common(one[1:], other), _longest_common(one, other[1:]))


def test_every_response_is_scored_in_its_place() -> None:
    values = score_responses(["a", "b", "c"], ["a", "x", "c"])
    assert tuple(values) == SCORES
    assert values["exact_match"] == [1, 0, 1]


def test_summary_has_the_mean_its_interval_and_the_number() -> None:
    summary = summarize_scores({"exact_match": [1.0, 0.0, 0.0, 1.0, 1.0]})["exact_match"]
    assert summary["mean"] == pytest.approx(0.6)
    assert summary["standard_error"] == pytest.approx(math.sqrt(0.3 / 5))
    assert 0 <= summary["low"] < 0.6 < summary["high"] <= 1  # type: ignore[operator]
    assert summary["n"] == 5
    json.dumps(summary, allow_nan=False)
    assert Score(**summary).model_dump() == summary  # type: ignore[arg-type]


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="got 1 references and 2 responses"):
        score_responses(["a"], ["a", "b"])
