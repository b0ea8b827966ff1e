"""How close an answer is to its reference, word for word.

- ``exact_match``: 1 if both are equal but for white space, else 0. Case and punctuation count.
- ``rouge_l``: F-measure of the longest common subsequence of words (Lin 2004), lower-cased,
  punctuation dropped, no stemming.
- ``token_f1``: F1 of the words that both have, in any order, as for SQuAD (Rajpurkar et al.
  2016): lower-cased, punctuation and the articles a, an, the dropped.

All are between 0 and 1. They see words and not meaning: a right answer in other words is low.
Where neither side has a word, ROUGE-L is 0 and token F1 is 1, as their authors' programs have it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from torchmetrics.functional.text import squad
from torchmetrics.functional.text.rouge import rouge_score

from llm_lightning.evaluation.bootstrap import mean_interval

SCORES = ("exact_match", "rouge_l", "token_f1")

_NO_WORD = re.compile(r"[\W_]+")


def score_answers(references: Sequence[str], answers: Sequence[str]) -> dict[str, list[float]]:
    """Scores each answer against its reference.

    Args:
        references: the right answers.
        answers: what was answered, in the same order.

    Returns:
        ``SCORES``, each with one value an answer.

    Raises:
        ValueError: if the lengths differ.
    """
    if len(references) != len(answers):
        raise ValueError(f"got {len(references)} references and {len(answers)} answers")
    pairs = list(zip(references, answers, strict=True))
    return {
        "exact_match": [float(one.split() == other.split()) for one, other in pairs],
        "rouge_l": [_rouge_l(reference, answer) for reference, answer in pairs],
        "token_f1": [_token_f1(reference, answer) for reference, answer in pairs],
    }


def summarize_scores(
    scores: Mapping[str, Sequence[float]], *, seed: int = 0
) -> dict[str, dict[str, float | int | None]]:
    """The mean of each score, its 95 % bootstrap interval, standard error and number of values.

    Args:
        scores: name of a score and its values, at least one.
        seed: of the bootstrap.

    Returns:
        ``mean``, ``low``, ``high``, ``standard_error`` and ``n`` of each score; see
        :class:`~llm_lightning.evaluation.bootstrap.MeanInterval`.
    """
    return {name: asdict(mean_interval(values, seed=seed)) for name, values in scores.items()}


def _rouge_l(reference: str, answer: str) -> float:
    # torchmetrics splits at all but a-z and 0-9, which takes words of other languages apart.
    scores = rouge_score(
        answer,
        reference,
        rouge_keys="rougeL",
        normalizer=lambda text: _NO_WORD.sub(" ", text.lower()),
    )
    return scores["rougeL_fmeasure"].item()


def _token_f1(reference: str, answer: str) -> float:
    question = "0"
    scores = squad(
        {"prediction_text": answer, "id": question},
        {"answers": {"answer_start": [0], "text": [reference]}, "id": question},
    )
    return scores["f1"].item() / 100
