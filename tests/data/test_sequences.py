from itertools import pairwise

import pytest
import torch

from llm_lightning.data.batching import LengthGroupedBatches
from llm_lightning.data.sequences import NO_LABEL, TokenSequence, collate


def sequence(*ids: int) -> TokenSequence:
    tokens = torch.tensor(ids)
    return TokenSequence(tokens, tokens + 1, torch.arange(len(ids)) == len(ids) - 1)


def test_batches_are_padded_to_their_longest_on_the_right() -> None:
    batch = collate([sequence(5, 6, 7), sequence(8)], pad_id=9)
    assert batch.input_ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch.labels.tolist() == [[6, 7, 8], [9, NO_LABEL, NO_LABEL]]
    assert batch.in_response.tolist() == [[False, False, True], [True, False, False]]
    assert batch.lengths.tolist() == [3, 1]


LENGTHS = torch.randint(5, 200, (935,), generator=torch.Generator().manual_seed(0)).tolist()


@pytest.mark.parametrize("drop_last", [True, False])
def test_an_epoch_holds_every_example_once(drop_last: bool) -> None:
    sampler = LengthGroupedBatches(
        LENGTHS, 8, drop_last=drop_last, generator=torch.Generator().manual_seed(1)
    )
    batches = list(sampler)
    assert len(batches) == len(sampler) == (116 if drop_last else 117)
    found = [index for batch in batches for index in batch]
    assert len(set(found)) == len(found) == (928 if drop_last else 935)
    assert sum(len(batch) != 8 for batch in batches) == (0 if drop_last else 1)


def padded(batches: list[list[int]]) -> int:
    return sum(len(b) * max(LENGTHS[i] for i in b) - sum(LENGTHS[i] for i in b) for b in batches)


def test_grouping_pads_far_less_than_shuffling() -> None:
    grouped = LengthGroupedBatches(
        LENGTHS, 8, drop_last=False, generator=torch.Generator().manual_seed(1)
    )
    shuffled = LengthGroupedBatches(
        [0] * len(LENGTHS), 8, drop_last=False, generator=torch.Generator().manual_seed(1)
    )
    assert padded(list(grouped)) < 0.1 * padded(list(shuffled))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    first = LengthGroupedBatches(
        LENGTHS, 8, drop_last=False, generator=torch.Generator().manual_seed(1)
    )
    again = LengthGroupedBatches(
        LENGTHS, 8, drop_last=False, generator=torch.Generator().manual_seed(1)
    )
    torch.manual_seed(99)
    epochs = [list(first), list(first)]
    assert [list(again), list(again)] == epochs
    assert epochs[0] != epochs[1]
    assert (
        list(
            LengthGroupedBatches(
                LENGTHS, 8, drop_last=False, generator=torch.Generator().manual_seed(2)
            )
        )
        != epochs[0]
    )


def test_short_and_long_batches_come_in_random_order() -> None:
    batches = list(
        LengthGroupedBatches(
            LENGTHS, 8, drop_last=False, generator=torch.Generator().manual_seed(1)
        )
    )
    longest = [max(LENGTHS[i] for i in batch) for batch in batches]
    rising = sum(a <= b for a, b in pairwise(longest))
    assert 0.3 < rising / (len(longest) - 1) < 0.7
