import numpy as np
import pytest

from llm_lightning.backbone.tokenizer import GPT2Tokenizer, encode
from llm_lightning.data.batching import Padder
from llm_lightning.data.tokens import Examples, Tokens

TEXTS = [[1, 2, 3, 4, 5, 6], [], [7], [8, 9, 10, 11]]


@pytest.mark.parametrize(
    "padder",
    [
        Padder(max_length=9),  # nothing is to be done but for the empty text
        Padder(max_length=3, truncate="start"),
        Padder(max_length=5, truncate="middle", prefix=[101], suffix=[102]),
    ],
)
def test_examples_are_those_of_lists(padder: Padder) -> None:
    found = Examples(Tokens.of(TEXTS).prepared(padder), [1, 0, 1, 0])
    expected = padder.examples(TEXTS, [1, 0, 1, 0])
    assert [(list(one.ids), one.label, one.index) for one in found] == [
        (list(one.ids), one.label, one.index) for one in expected
    ]
    assert found.lengths == [len(one) for one in expected]
    together, apart = padder.collate(found[1:]), padder.collate(expected[1:])
    assert together.input_ids.tolist() == apart.input_ids.tolist()
    assert together.input_ids.dtype == apart.input_ids.dtype


def test_texts_that_fit_are_not_copied() -> None:
    tokens = Tokens.of([[1, 2], [3]])
    assert tokens.prepared(Padder(max_length=2)) is tokens
    assert np.shares_memory(tokens[1], tokens.ids)
    assert tokens.ids.nbytes == 3 * 4


def test_more_texts_than_are_encoded_at_once_stay_in_order() -> None:
    texts = [f"text {number}" for number in range(1500)]
    tokens = Tokens.encoded(GPT2Tokenizer(), iter(texts))
    assert len(tokens) == 1500
    for number in (0, 1023, 1024, 1499):
        assert tokens[number].tolist() == encode(texts[number])


def test_labels_are_as_many_as_texts() -> None:
    with pytest.raises(ValueError, match="2 texts need as many labels, got 1"):
        Examples(Tokens.of([[1], [2]]), [0])
    with pytest.raises(IndexError):
        Examples(Tokens.of([[1]]), [0])[1]
