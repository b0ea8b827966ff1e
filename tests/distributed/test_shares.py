"""Which examples each process trains on and evaluates."""

import pytest
import torch
from torch.utils.data import BatchSampler, SequentialSampler

from llm_lightning.data.batching import Example, Padder
from llm_lightning.data.shares import Filling, ShareOfEachBatch, dealt, share_of_batches
from llm_lightning.distributed.processes import Processes


def all_of(size: int) -> list[Processes]:
    return [Processes(size, rank) for rank in range(size)]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("num_examples", [1, 7, 8, 13])
def test_the_shares_of_a_training_batch_are_the_batch(size: int, num_examples: int) -> None:
    whole = list(BatchSampler(SequentialSampler(range(num_examples)), 4, drop_last=False))
    shares = [list(ShareOfEachBatch(whole, processes)) for processes in all_of(size)]
    for index, batch in enumerate(whole):
        parts = [share[index] for share in shares]
        assert sorted(index for part in parts for index in part) == batch
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("num_examples", [1, 8, 9, 30])
def test_every_example_is_evaluated_once_in_the_batches_of_one_process(
    size: int, num_examples: int
) -> None:
    whole = share_of_batches(num_examples, 4, Processes())
    assert [index for batch in whole for index in batch] == list(range(num_examples))
    shares = [share_of_batches(num_examples, 4, processes) for processes in all_of(size)]
    assert len({len(share) for share in shares}) == 1
    in_turn = [batch for batches in zip(*shares, strict=True) for batch in batches]
    assert [batch for batch in in_turn if batch] == whole


def test_batches_are_dealt_out_one_by_one() -> None:
    assert [list(dealt("abcde", processes)) for processes in all_of(2)] == [
        [("a", False), ("c", False), ("e", False)],
        [("b", False), ("d", False), ("e", True)],
    ]


def test_an_empty_share_is_a_filler() -> None:
    examples = [Example([1, 2, 3], 1, 0), Example([4], 0, 1)]
    filling = Filling(Padder(max_length=8).collate, examples)
    batch = filling(examples)
    assert not batch.is_filler
    assert batch.indices.tolist() == [0, 1]
    filler = filling([])
    assert filler.is_filler
    assert filler.input_ids.tolist() == [[4]], "the shortest costs least"
    assert filler.to(torch.device("cpu")).is_filler


def test_a_number_beyond_the_last_process_is_refused() -> None:
    with pytest.raises(ValueError, match="rank must be at least 0 and below 2, got 2"):
        Processes(2, 2)


def test_only_the_main_process_has_the_seed_of_a_run_without_others() -> None:
    seeds = [processes.seed(123) for processes in all_of(3)]
    assert seeds[0] == 123
    assert len({*seeds, *(processes.seed(124) for processes in all_of(3))}) == 6
