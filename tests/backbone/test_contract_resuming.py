"""A pass in two parts is the whole pass, and a model for which it is not is found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from contract import LENGTHS, backbone, batch, mask_of
from contract_families import BLOCKS, FAMILIES
from torch import Tensor, nn

from llm_lightning.backbone.protocol import Backbone

Folders = Callable[[str], Path]
DEPTHS = range(BLOCKS + 1)


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_two_parts_are_the_whole_at_every_depth(folder_of: Folders, name: str) -> None:
    made, texts = backbone(FAMILIES[name], folder_of(name)), batch(width=16)
    ids, is_real = texts.input_ids, mask_of(texts)
    for mask in (is_real, None) if made.is_causal else (is_real,):
        whole = made(ids, mask)
        for depth in DEPTHS:
            first = made.first_blocks(ids, mask, depth)
            assert first.shape == (len(LENGTHS), 16, 32)
            parts = made.later_blocks(first, mask, depth)
            assert close(parts[is_real], whole[is_real]), depth
    assert [made.why_not_resumable(depth) for depth in DEPTHS] == [None] * len(DEPTHS)


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_two_parts_select_positions_as_the_whole_does(folder_of: Folders, name: str) -> None:
    made, texts = backbone(FAMILIES[name], folder_of(name)), batch()
    ids, mask = texts.input_ids, mask_of(texts)
    last = texts.lengths[:, None] - 1
    whole = made(ids, mask, positions=last)
    for depth in DEPTHS:
        parts = made.later_blocks(made.first_blocks(ids, mask, depth), mask, depth, positions=last)
        assert close(parts, whole), depth
    stored = made.first_blocks(ids, mask, BLOCKS, positions=last)
    assert stored.shape == (len(LENGTHS), 1, 32)
    assert close(made.final_norm(stored), whole)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_of_the_later_part_are_those_of_the_whole(folder_of: Folders, name: str) -> None:
    made, texts = backbone(FAMILIES[name], folder_of(name)), batch()
    ids, mask = texts.input_ids, mask_of(texts)

    def gradients(run: Callable[[], Tensor]) -> list[Tensor]:
        parameters = list(made.blocks[1:].parameters())
        return list(torch.autograd.grad(run()[mask].sin().sum(), parameters))

    with torch.no_grad():
        first = made.first_blocks(ids, mask, 1)
    parts = gradients(lambda: made.later_blocks(first, mask, 1))
    whole = gradients(lambda: made(ids, mask))
    assert all(map(close, parts, whole))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_pass_in_parts_leaves_the_model_as_it_was(folder_of: Folders, name: str) -> None:
    made, texts = backbone(FAMILIES[name], folder_of(name)), batch()
    assert isinstance(made, nn.Module)
    blocks, names = list(made.blocks), [name for name, _ in made.named_parameters()]
    made.train()
    with torch.no_grad():
        for depth in DEPTHS:
            made.later_blocks(made.first_blocks(texts.input_ids, None, depth), None, depth)
            made.why_not_resumable(depth)
    assert [id(block) for block in made.blocks] == [id(block) for block in blocks]
    assert [name for name, _ in made.named_parameters()] == names
    assert all(module.training for module in made.modules())


@pytest.mark.parametrize("name", ["llama", "deberta_v3"])
def test_blocks_that_look_at_the_embeddings_are_found(folder_of: Folders, name: str) -> None:
    made = backbone(FAMILIES[name], folder_of(name))
    add_embeddings(made, block=1)
    reason = made.why_not_resumable(1)
    assert reason is not None
    assert "run in two parts, this model gives other hidden states (by " in reason
    assert made.why_not_resumable(2) is None, "the block is in the first part, which sees them"


def test_blocks_that_use_what_another_kept_are_found(folder_of: Folders) -> None:
    made = backbone(FAMILIES["llama"], folder_of("llama"))
    kept: dict[str, Tensor] = {}
    made.blocks[0].register_forward_hook(lambda *call: kept.update(out=call[-1]))
    made.blocks[2].register_forward_hook(lambda *call: call[-1] + kept["out"])
    reasons = [made.why_not_resumable(depth) is not None for depth in DEPTHS]
    assert reasons == [False, True, True, False]


def test_a_model_that_fails_in_parts_is_found(folder_of: Folders) -> None:
    made = backbone(FAMILIES["llama"], folder_of("llama"))
    kept: dict[str, Tensor] = {}
    made.blocks[0].register_forward_hook(lambda *call: kept.update(out=call[-1]))
    made.blocks[2].register_forward_hook(lambda *call: call[-1] + kept.pop("out"))
    assert made.why_not_resumable(1) == ("this model cannot be run in two parts (KeyError: 'out')")


def add_embeddings(made: Backbone, *, block: int) -> None:
    """Makes a block add the embeddings to its output, as some architectures do."""
    seen: list[Tensor] = []
    made.input_embedding.register_forward_hook(lambda *call: seen.append(call[-1]))

    def add(module: nn.Module, args: Any, out: Any) -> Any:
        return (out[0] + seen[-1], *out[1:]) if isinstance(out, tuple) else out + seen[-1]

    made.blocks[block].register_forward_hook(add)


def close(found: Tensor, wanted: Tensor) -> bool:
    return float((found - wanted).abs().max()) <= 1e-5 * max(1.0, float(wanted.abs().max()))
