"""The key/value cache gives the states of a whole text."""

import pytest
import torch
from generation_models import SIZES, language_model, ragged_prompts
from torch import nn

from llm_lightning.backbone.kv_cache import KeyValueCache


@torch.no_grad()
def test_cached_states_equal_uncached_ones_step_by_step() -> None:
    backbone, head = language_model(1)
    texts = [torch.tensor(text) for text in ragged_prompts(1, [50, 31, 44])]
    lengths = torch.tensor([20, 1, 14])  # 30 more tokens follow in each row
    input_ids = nn.utils.rnn.pad_sequence(
        [text[:length] for text, length in zip(texts, lengths, strict=True)],
        batch_first=True,
        padding_value=9,
    )
    cache = KeyValueCache(SIZES["n_layer"], capacity=50)
    states = backbone(input_ids, torch.arange(20) < lengths[:, None], cache=cache)
    last = states[torch.arange(3), lengths - 1]
    for step in range(31):
        for row, text in enumerate(texts):
            expected = head(backbone(text[None, : lengths[row] + step]))[0, -1]
            assert expected.std() > 0.5
            torch.testing.assert_close(head(last[row]), expected, rtol=0, atol=1e-5)
        if step < 30:
            following = torch.stack(
                [text[length + step] for text, length in zip(texts, lengths, strict=True)]
            )
            last = backbone(following[:, None], cache=cache)[:, -1]


@torch.no_grad()
def test_cache_takes_text_in_ragged_pieces_and_drops_rows() -> None:
    backbone, _ = language_model(2)
    first, second = (torch.tensor(text) for text in ragged_prompts(2, [12, 9]))
    cache = KeyValueCache(SIZES["n_layer"], capacity=12)
    start = torch.stack([first[:5], torch.cat([second[:2], torch.tensor([7, 7, 7])])])
    backbone(start, torch.arange(5) < torch.tensor([[5], [2]]), cache=cache)
    piece = backbone(torch.stack([first[5:9], second[2:6]]), cache=cache)
    torch.testing.assert_close(piece[0], backbone(first[None, :9])[0, 5:], rtol=0, atol=1e-5)
    torch.testing.assert_close(piece[1], backbone(second[None, :6])[0, 2:], rtol=0, atol=1e-5)
    cache.keep(torch.tensor([1]))
    assert cache.width == 6
    rest = backbone(second[None, 6:], cache=cache)
    torch.testing.assert_close(rest[0], backbone(second[None])[0, 6:], rtol=0, atol=1e-5)


def test_cache_refuses_what_does_not_fit() -> None:
    backbone, _ = language_model(1)
    cache = KeyValueCache(SIZES["n_layer"], capacity=4)
    with pytest.raises(ValueError, match="the cache holds 4 tokens a row, got 5"):
        backbone(torch.zeros(1, 5, dtype=torch.long), cache=cache)
    cache = KeyValueCache(SIZES["n_layer"], capacity=200)
    backbone(torch.zeros(1, 90, dtype=torch.long), cache=cache)
    with pytest.raises(ValueError, match="input is 97 tokens long, the model's context is 96"):
        backbone(torch.zeros(1, 7, dtype=torch.long), cache=cache)
