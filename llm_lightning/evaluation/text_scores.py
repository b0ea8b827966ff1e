"""How close a response is to its reference, word for word.

- ``exact_match``: 1 if both are equal except for white space, else 0. Case and punctuation count.
- ``rouge_l``: F-measure of the longest common subsequence of words (Lin 2004), lower-cased,
  punctuation dropped, no stemming.
- ``token_f1``: F1 of the words that both contain, in any order, as for SQuAD (Rajpurkar et al.
  2016): lower-cased, punctuation and the articles a, an, the dropped.

All are between 0 and 1. They compare words, not meaning: a correct response in other words scores
low. Where neither side has a word, ROUGE-L is 0 and token F1 is 1, as in their authors' programs.
"""

import re
from collections.abc import Mapping, Sequence

from torchmetrics.functional.text import squad
from torchmetrics.functional.text.rouge import rouge_score

from llm_lightning.statistics.crossed import crossed_mean

SCORES = ("exact_match", "rouge_l", "token_f1")

_NO_WORD = re.compile(r"[\W_]+")


def score_responses(references: Sequence[str], responses: Sequence[str]) -> dict[str, list[float]]:
    """Scores each response against its reference.

    Args:
        references: the correct responses.
        responses: what the model generated, in the same order.

    Returns:
        ``SCORES``, each with one value per response.

    Raises:
        ValueError: if the lengths differ.
    """
    if len(references) != len(responses):
        raise ValueError(f"got {len(references)} references and {len(responses)} responses")
    pairs = list(zip(references, responses, strict=True))
    return {
        "exact_match": [float(one.split() == other.split()) for one, other in pairs],
        "rouge_l": [_rouge_l(reference, response) for reference, response in pairs],
        "token_f1": [_token_f1(reference, response) for reference, response in pairs],
    }


def summarize_scores(
    scores: Mapping[str, Sequence[float]],
) -> dict[str, dict[str, float | int | None]]:
    """The mean of each score with its 95 % interval over responses.

    Args:
        scores: name of a score and its values, at least one.

    Returns:
        ``mean``, ``low``, ``high``, ``standard_error`` and ``n`` of each score: the fields of
        ``run_format.run_facts.Score``.
    """
    return {name: crossed_mean([values]).fields() for name, values in scores.items()}


def _rouge_l(reference: str, response: str) -> float:
    # torchmetrics splits at all but a-z and 0-9, which takes words of other languages apart.
    scores = rouge_score(
        response,
        reference,
        rouge_keys="rougeL",
        normalizer=lambda text: _NO_WORD.sub(" ", text.lower()),
    )
    return scores["rougeL_fmeasure"].item()


def _token_f1(reference: str, response: str) -> float:
    question = "0"
    scores = squad(
        {"prediction_text": response, "id": question},
        {"answers": {"answer_start": [0], "text": [reference]}, "id": question},
    )
    return scores["f1"].item() / 100
