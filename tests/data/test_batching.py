import pytest
import torch

from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID, GPT2Tokenizer
from llm_lightning.data.batching import Padder


def test_max_length_padding_is_on_the_right_up_to_max_length() -> None:
    padder = Padder(max_length=4, padding="max_length")
    batch = padder.collate(padder.examples([[7], [1, 2, 3]], labels=[1, 0]))
    pad = END_OF_TEXT_ID
    assert batch.input_ids.tolist() == [[7, pad, pad, pad], [1, 2, 3, pad]]
    assert batch.lengths.tolist() == [1, 3]
    assert batch.labels.tolist() == [1, 0]
    assert batch.input_ids.dtype == torch.int64


def test_batch_padding_is_as_wide_as_the_longest_row() -> None:
    padder = Padder(max_length=4, padding="batch")
    assert padder.collate(padder.examples([[7], [1, 2, 3]])).input_ids.shape == (2, 3)


@pytest.mark.parametrize(
    ("truncate", "max_length", "kept"),
    [
        ("end", 4, [1, 2, 3, 4]),
        ("start", 4, [4, 5, 6, 7]),
        ("middle", 4, [1, 2, 6, 7]),
        ("middle", 5, [1, 2, 3, 6, 7]),
        ("middle", 1, [1]),
        ("start", 1, [7]),
        ("middle", 7, [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_longer_texts_lose_their_end_their_start_or_their_middle(
    truncate: str, max_length: int, kept: list[int]
) -> None:
    long, short = [1, 2, 3, 4, 5, 6, 7], [4]
    padder = Padder(max_length=max_length, truncate=truncate)
    assert [example.ids for example in padder.examples([long, short])] == [kept, [4]]
    assert padder.truncates(long) == (max_length < 7)
    special = Padder(max_length=max_length + 3, truncate=truncate, prefix=[101, 9], suffix=[102])
    assert [example.ids for example in special.examples([long, short, []])] == [
        [101, 9, *kept, 102], [101, 9, 4, 102], [101, 9, 102]
    ]  # fmt: skip
    assert special.truncates(long) == (max_length < 7)


def test_what_a_model_saved_before_is_treated_as_gpt2_texts() -> None:
    padder = Padder(max_length=2, padding="batch")
    batch = padder.collate(padder.examples([[1, 2, 3], [4], []]))
    pad = END_OF_TEXT_ID
    assert batch.input_ids.tolist() == [[1, 2], [4, pad], [pad, pad]]
    assert Padder.of(GPT2Tokenizer(), 2, "batch", "end") == padder


def test_rows_are_filled_with_the_models_padding_token() -> None:
    padder = Padder(max_length=4, pad_id=0)
    batch = padder.collate(padder.examples([[5, 6, 7], [8]]))
    assert batch.input_ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch.lengths.tolist() == [3, 1]


def test_lengths_come_from_the_text_and_not_from_token_values() -> None:
    padder = Padder(max_length=8)
    batch = padder.collate(padder.examples([[5, END_OF_TEXT_ID, 5, END_OF_TEXT_ID], [5]]))
    assert batch.lengths.tolist() == [4, 1]


def test_an_empty_text_has_one_token() -> None:
    padder = Padder(max_length=8)
    batch = padder.collate(padder.examples([[], [1, 2]]))
    assert batch.lengths.tolist() == [1, 2]
    assert batch.input_ids[0].tolist() == [END_OF_TEXT_ID] * 2


def test_no_padding_takes_one_row_or_equal_rows() -> None:
    padder = Padder(max_length=8, padding="none")
    assert padder.collate(padder.examples([[1, 2, 3]])).input_ids.tolist() == [[1, 2, 3]]
    with pytest.raises(ValueError, match=r"different lengths \(1 and 2 tokens\)"):
        padder.collate(padder.examples([[1, 2], [1]]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_length": 0}, "data.max_length must be at least 1 token, got 0"),
        (
            {"max_length": 2, "prefix": [1], "suffix": [2]},
            "data.max_length must be more than 2, the number of special tokens .* got 2",
        ),
        ({"max_length": 5, "truncate": "left"}, "must be one of end, start, middle, got 'left'"),
        (
            {"max_length": 5, "padding": "left"},
            "must be one of max_length, batch, none, got 'left'",
        ),
    ],
)
def test_bad_fields_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Padder(**fields)
