"""Memory by arithmetic, on a model whose numbers can be counted by hand."""

from torch import nn

from llm_lightning.training.memory_needs import MemoryNeeds, memory_needs, peak_in_parts_mib


def model() -> nn.Sequential:
    """An embedding of 100 weights, two blocks of 400 with the first one frozen, a head of 40."""
    embedding = nn.Embedding(10, 10).requires_grad_(False)
    blocks = [nn.Linear(20, 20, bias=False, device="meta") for _ in range(2)]
    blocks[0].requires_grad_(False)
    return nn.Sequential(embedding, *blocks, nn.Linear(10, 4, bias=False))


def needs(**options: object) -> MemoryNeeds:
    made = model()
    return memory_needs(made, [made[1], made[2]], **options)  # type: ignore[arg-type]


def test_a_whole_model() -> None:
    assert needs() == MemoryNeeds(940 * 4, 440 * 4, 440 * 8, start=940 * 4)
    assert needs(half=True) == MemoryNeeds(940 * 2, 440 * 2, 440 * 4, start=940 * 4)
    assert needs(state_bits=8).optimizer == 440 * 2 + 440 * 8 // 256
    assert needs(quantized_base=True).weights == 540 * 4 + 400 * 0.53


def test_blocks_in_parts() -> None:
    found = needs(num_shares=2)
    # Embedding and head stay whole, and one block is put together at a time.
    assert found == MemoryNeeds(
        (140 + 400 + 400) * 4, 240 * 4, 240 * 8, start=940 * 4, put_together=400 * 4
    )
    assert found.kept == 940 * 4 + 240 * 12


def test_the_peak_of_a_part_is_that_of_the_whole_without_what_others_have() -> None:
    mib = 2**20
    whole = MemoryNeeds(100 * mib, 100 * mib, 200 * mib, start=100 * mib)
    part = MemoryNeeds(60 * mib, 50 * mib, 100 * mib, start=100 * mib)
    assert peak_in_parts_mib(900.0, 300.0, whole, part, 0) == 900 - 400 + 210
    assert peak_in_parts_mib(500.0, 300.0, whole, part, 0) == 510, "what it keeps"
    assert peak_in_parts_mib(900.0, 300.0, whole, part, 300 * mib) == 810, "with a checkpoint"
    few = MemoryNeeds(60 * mib, 0, 0, start=100 * mib)
    assert peak_in_parts_mib(450.0, 300.0, whole, few, 0) == 400, "while the whole model is made"
