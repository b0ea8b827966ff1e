"""What judges really reply: each with the score that it states, or why it states none."""

import pytest

from llm_lightning.evaluation.judging.rubrics import RUBRICS

SCORE100, RUBRIC5 = RUBRICS["score100"], RUBRICS["rubric5"]
THOUGHT = "<think>\nThe task has 3 parts, and 2 are right, so 66 of 100.\n</think>\n"

STATED = [
    # The asked JSON, with what models put around it.
    ('{"score": 85}', 85),
    ('{"score": 85}\n', 85),
    ('  {\n  "score": 85\n}  ', 85),
    ('```json\n{"score": 85}\n```', 85),
    ('Here is my grade:\n\n```\n{"score": 85}\n```\nThe answer has 2 mistakes.', 85),
    ('{"score": 85.0}', 85),
    ('{"score": "85"}', 85),
    ('{"score": 0}', 0),
    ('{"score": 1e2}', 100),
    ('{"score": 85, "reason": "3 of 4 facts"}', 85),
    ('{"reason": "says \\"score\\": 100", "score": 20}', 20),
    ('[{"score": 85}]', 85),
    ('{"score": 85}{"score": 85}', 85),
    ('{"note": {"score": 3}} {"score": 85}', 85),
    ('{broken {"score": 10}', 10),
    ('{"reason": "it quotes <think>", "score": 10}', 10),
    # A number alone.
    ("85", 85),
    ("85.", 85),
    ("**85**", 85),
    ("`85`", 85),
    ('"85"', 85),
    ("85%", 85),
    ("+85", 85),
    ("# 85\n", 85),
    # A number after a cue.
    ("Score: 85", 85),
    ("score=85", 85),
    ("**Score:** 85", 85),
    ("**Score**: **85**", 85),
    ("Final score: 85", 85),
    ("Score 85", 85),
    ("Score (0-100): 85", 85),
    ("Score -> 85", 85),
    ("Rating: 85", 85),
    ("Grade: 85", 85),
    ("The score is 85.", 85),
    ("I would give this answer a score of 85.", 85),
    ("The answer has 2 mistakes in 3 sentences.\nScore: 60", 60),
    ("Score: 60\n- 2 mistakes\n- 1 omission", 60),
    ("The maximum score is 100. This answer gets a score of 30.", 30),
    ("The answer claims a score of 100. Score: 20", 20),
    # A number on the scale.
    ("85/100", 85),
    ("85 / 100", 85),
    ("85 out of 100", 85),
    ("**85**/100", 85),
    ("I rate this 85 out of 100, since 1 of 4 facts is missing.", 85),
    ("Score: 85/100", 85),
    ("3 of 5 facts are right, so 60/100.", 60),
    ("100 / 100", 100),
    # Thinking, which is not the reply.
    (THOUGHT + '{"score": 70}', 70),
    (THOUGHT + "70", 70),
    ('The task has 3 parts.\n</think>\n{"score": 70}', 70),
    ("<thinking>maybe 10, maybe 20</thinking>Score: 70", 70),
    ("<THINK>score: 3</THINK> 70", 70),
    ("[THINK]score: 3[/THINK]70", 70),
    (
        "<|channel|>analysis<|message|>score: 3<|end|><|start|>assistant<|channel|>final<|message|>"
        '{"score": 70}<|return|>',
        70,
    ),
]

UNSTATED = [
    ("", "empty"),
    ("   \n", "empty"),
    (THOUGHT, "empty but for its thinking"),
    ("<think>the answer has 3 parts, and", "thinking does not end"),
    ("<think>one</think> then <think>score: 3", "thinking does not end"),
    ("<|channel|>analysis<|message|>score: 3", "thinking does not end"),
    ("The answer contains 2 mistakes and cannot be graded.", "no number alone"),
    ("The answer has 3 parts.", "no number alone"),
    ("I grade it 85.", "no number alone"),
    ("good", "no number alone"),
    ("eighty-five", "no number alone"),
    ("40 or 60", "no number alone"),
    ("85 or 90", "no number alone"),
    ("between 80-90", "no number alone"),
    ("85. Again: 85", "no number alone"),
    ("85/1000", "no number alone"),
    ("80-90/100", "no number alone"),
    ("80 to 90/100", "no number alone"),
    ("Score: 80-90", "no number alone"),
    ("Score: 80 to 90", "no number alone"),
    ("Score: 80 or 90", "no number alone"),
    ("Score: 8/10", "no number alone"),
    ("Score: 4 out of 5", "no number alone"),
    ("Score: 3 of 5", "no number alone"),
    ("I cannot give a score of 100.", "no number alone"),
    ("It does not deserve a score of 100.", "no number alone"),
    ("The maximum score is 100.", "no number alone"),
    ("If it were right, the score is 100", "no number alone"),
    ("This text is for a grade 5 reader.", "no number alone"),
    ("The underscore: 5", "no number alone"),
    ("70/100 for style, 50/100 for content", "differ"),
    ("Score: 70. On reflection, score: 50.", "differ"),
    ("101", "no whole number"),
    ("-5", "no whole number"),
    ("85.5", "no whole number"),
    ("1,000", "no whole number"),
    ("Score: 101", "no whole number"),
    ("Score: -5", "no whole number"),
    ("Score: 8.5", "no whole number"),
    ('{"score": 101}', "no whole number"),
    ('{"score": -1}', "no whole number"),
    ('{"score": 85.5}', "no whole number"),
    ('{"score": true}', "no whole number"),
    ('{"score": null}', "no whole number"),
    ('{"score": [85]}', "no whole number"),
    ('{"score": "eighty"}', "no whole number"),
    ('{"score": "85/100"}', "no whole number"),
    ('{"score": NaN}', "no whole number"),
    ('{"score": 1e999}', "no whole number"),
    ('{"score": ' + "9" * 5000 + "}", "no whole number"),
    ('{"score": 8', "no whole number"),
    ("{score: 85}", "no whole number"),
    ("{'score': 85}", "no whole number"),
    ("Score: 85 {see above}", "no whole number"),
    ('{"grade": 85}', "no score"),
    ('{"result": {"score": 85}}', "no score"),
    ("{}", "no score"),
    ('{"score": 10, "score": 90}', "differ"),
    ('{"score": 50} no, {"score": 500}', "differ"),
    ('The answer says {"score": 100}. My grade: {"score": 10}', "differ"),
    ('{"score": 100} is what it wants; mine: {"score": 1', "differ"),
    ('{"a":' * 100_000, "no whole number"),
    ("[" * 100_000 + "{", "no whole number"),
]


def test_the_table_is_a_table() -> None:
    assert len(STATED) + len(UNSTATED) >= 60


@pytest.mark.parametrize(("reply", "score"), STATED, ids=lambda one: str(one)[:40])
def test_a_score_is_read_where_it_is_stated(reply: str, score: int) -> None:
    assert SCORE100.read(reply) == (score, None)


@pytest.mark.parametrize(("reply", "reason"), UNSTATED, ids=lambda one: str(one)[:40])
def test_no_score_is_made_up_and_the_reason_is_told(reply: str, reason: str) -> None:
    found = SCORE100.read(reply)
    assert found.score is None
    assert found.reason is not None
    assert reason in found.reason


@pytest.mark.parametrize("reply", ['{"score": 85}', "3", "<think>score: 85"])
def test_a_reply_that_was_cut_off_has_no_score(reply: str) -> None:
    found = SCORE100.read(reply, cut_off=True)
    assert found.score is None
    assert "--max-tokens" in str(found.reason)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("4", 4), ("4/5", 4), ("4 out of 5", 4), ('{"score": 5}', 5), ("Score: 4/5", 4),
        ("Score: 80/100", None), ("80%", None), ("4/50", None), ("0", None), ("6", None),
    ],
)  # fmt: skip
def test_five_points_have_their_own_scale(reply: str, score: int | None) -> None:
    assert RUBRIC5.read(reply).score == score


@pytest.mark.parametrize(
    "reply",
    [
        "<think>" * 50_000,
        "{" * 500_000,
        "5" + " " * 500_000 + "x",
        "score: " * 200_000,
        "1." * 300_000,
    ],
    ids=["thinking", "braces", "blanks", "cues", "digits"],
)
def test_a_huge_reply_takes_no_time(reply: str) -> None:
    assert SCORE100.read(reply).score is None
