"""What processes compute together, each test in two forks of this one."""

from pathlib import Path

import pytest
import torch
from forked import in_processes
from torch import Tensor, nn

from llm_lightning.distributed import collectives
from llm_lightning.evaluation.metrics import ClassificationMetrics
from llm_lightning.finetuning.frozen_activations.activation_files import ActivationFiles
from llm_lightning.finetuning.frozen_activations.cache import ActivationCache
from llm_lightning.finetuning.frozen_activations.last_in_memory import LastInMemory
from llm_lightning.finetuning.frozen_activations.together import Fill, load_in_memory, open_file
from llm_lightning.tasks.language_metrics import LanguageMetrics
from llm_lightning.training.gradient_mean import GradientMean


def test_without_a_group_nothing_changes() -> None:
    rows = torch.ones(3, 2)
    collectives.add_up(rows)
    collectives.copy_from_main(rows)
    assert rows.tolist() == [[1, 1]] * 3
    assert collectives.summed(rows) is rows
    assert collectives.in_turn([1, 2]) == [1, 2]
    assert collectives.of_all("x") == ["x"]
    assert collectives.of_main("x") == "x"
    assert (collectives.group_rank(), collectives.group_size()) == (0, 1)


def test_values_of_all_processes(tmp_path: Path) -> None:
    def work(rank: int) -> object:
        rows = torch.full((5, 3), float(rank + 1))
        collectives.add_up(rows)
        copied = torch.full((2,), float(rank))
        collectives.copy_from_main(copied)
        dealt = [["a", "c", "e"], ["b", "d"]][rank]
        return (
            rows.unique().tolist(),
            copied.tolist(),
            collectives.in_turn(dealt),
            collectives.of_main(rank),
            float(collectives.summed(torch.tensor(rank + 1.5))),
        )

    expected = ([3.0], [0.0, 0.0], list("abcde"), 0, 4.0)
    assert in_processes(work, tmp_path) == [expected, expected]


@pytest.mark.parametrize("num_batches", [1, 3])
def test_gradients_are_divided_by_the_weight_of_all_processes(
    tmp_path: Path, num_batches: int
) -> None:
    weights = [[2.0, 5.0, 1.0], [4.0, 0.0, 3.0]]

    def work(rank: int) -> float:
        parameter, mean = nn.Parameter(torch.zeros(())), GradientMean()
        for weight in weights[rank][:num_batches]:
            loss = mean.loss(parameter * weight * (rank + 1), weight, num_batches)
            (loss / num_batches).backward()
        assert parameter.grad is not None
        parameter.grad = collectives.summed(parameter.grad) / 2  # as DDP averages
        mean.finish_step([parameter], num_batches)
        return float(parameter.grad)

    used = [sum(one[:num_batches]) for one in weights]
    expected = (used[0] + 2 * used[1]) / sum(used)
    assert in_processes(work, tmp_path) == pytest.approx([expected] * 2)


def test_metrics_are_of_all_items(tmp_path: Path) -> None:
    torch.manual_seed(1)
    batches = [
        (torch.rand(size), torch.rand(size, 3).softmax(1), torch.randint(3, (size,)))
        for size in (4, 4, 3)
    ]
    alone = ClassificationMetrics(3)
    for batch in batches:
        alone.update(*batch)
    expected = {name: float(value) for name, value in alone.compute_and_reset().items()}

    def work(rank: int) -> dict[str, float]:
        shared = ClassificationMetrics(3)
        for batch in batches[rank::2]:
            shared.update(*batch)
        return {name: float(value) for name, value in shared.compute_and_reset().items()}

    for found in in_processes(work, tmp_path):
        assert found == expected, "to the last bit"


def test_a_process_without_responses_keeps_nobody_waiting(tmp_path: Path) -> None:
    def work(rank: int) -> dict[str, float]:
        metrics = LanguageMetrics()
        if rank == 0:
            metrics.update(torch.tensor([1.0, 2.0]), torch.tensor([False, False]))
        else:
            metrics.update(torch.tensor([6.0]), torch.tensor([True]))
        return {name: float(value) for name, value in metrics.compute_and_reset().items()}

    for found in in_processes(work, tmp_path):
        assert found["loss"] == 3.0
        assert found["response_loss"] == 6.0


def test_activations_are_computed_once_and_shared(tmp_path: Path) -> None:
    """In memory and in a file; what the main process has is not computed again."""
    rows = torch.arange(12.0).view(4, 3)

    def cache() -> ActivationCache:
        return ActivationCache(1, False, {"train": torch.ones(4, dtype=torch.int64)}, 3)

    def work(rank: int) -> object:
        computed: list[int] = []

        def fill(storage: Tensor) -> None:
            computed.append(rank)
            storage[rank::2] = rows[rank::2]

        def filling(cache: ActivationCache) -> Fill:
            def store_and_fill(storage: Tensor) -> None:
                cache.store_in(storage)
                fill(storage)

            return store_and_fill

        memory, first, second = LastInMemory(), cache(), cache()
        load_in_memory(memory, "key", first, filling(first))
        of_memory = first.rows.clone()
        if rank == 1:
            memory = LastInMemory()  # a new process, as of the next run of a sweep
        load_in_memory(memory, "key", second, filling(second))
        files = ActivationFiles(tmp_path / "files", 2**20)
        opened = [open_file(files, "key", (4, 3), fill).clone() for _ in range(2)]
        found = (of_memory, second.rows, *opened)
        return len(computed), all(torch.equal(one, rows) for one in found)

    assert in_processes(work, tmp_path) == [(2, True), (2, True)]
