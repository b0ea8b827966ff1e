"""A loader that starts within an epoch yields the batches that are left, and loads no others."""

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from llm_lightning.data.shuffled_loader import EpochPosition, ShuffledLoader


class Counted(list[int]):
    """Examples that remember which of them were loaded."""

    def __init__(self, values: range) -> None:
        super().__init__(values)
        self.loaded: list[int] = []

    def __getitem__(self, index: int) -> int:  # type: ignore[override]
        self.loaded.append(index)
        return super().__getitem__(index)


def loader(examples: Counted, order: torch.Generator, at: EpochPosition | None) -> ShuffledLoader:
    batches = BatchSampler(RandomSampler(examples, generator=order), 3, drop_last=False)
    return ShuffledLoader(examples, batches, order=order, resume_at=at, generator=order)


def epochs(source: "DataLoader[int]", num: int) -> list[list[list[int]]]:
    return [[batch.tolist() for batch in source] for _ in range(num)]


@pytest.mark.parametrize("done", [0, 1, 3, 4])
def test_the_rest_of_an_epoch_and_all_after_it_are_the_same(done: int) -> None:
    order = torch.Generator().manual_seed(3)
    whole = loader(Counted(range(10)), order, None)
    expected = epochs(whole, 1)
    first = whole.order_at_start
    iterator = iter(whole)
    second = [next(iterator).tolist() for _ in range(4)]
    position = EpochPosition(whole.order_at_start, done, is_whole=done == 4)
    now = order.get_state()
    expected += [second, *epochs(whole, 2)]

    again = torch.Generator()
    again.set_state(now)
    examples = Counted(range(10))
    resumed = loader(examples, again, position)
    assert len(resumed) == 4
    found = iter(resumed)
    assert [next(found).tolist() for _ in range(4 - done)] == expected[1][done:]
    assert examples.loaded == [index for batch in expected[1][done:] for index in batch]
    assert epochs(resumed, 2) == expected[2:]
    assert not torch.equal(first, position.order_at_start)


def test_the_order_is_that_of_a_plain_loader() -> None:
    plain = DataLoader(
        Counted(range(10)),  # type: ignore[arg-type]
        batch_size=3,
        shuffle=True,
        generator=torch.Generator().manual_seed(3),
    )
    ours = loader(Counted(range(10)), torch.Generator().manual_seed(3), None)
    assert epochs(ours, 3) == epochs(plain, 3)
