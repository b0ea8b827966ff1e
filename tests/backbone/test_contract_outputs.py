"""A backbone computes what transformers computes, and padding changes nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from contract import (
    CLASSES,
    DECODERS,
    ENCODERS,
    LENGTHS,
    backbone,
    batch,
    classifier,
    inputs_of,
    language_model,
    mask_of,
    reference,
    save,
)
from contract_families import FAMILIES, VOCAB
from torch import Tensor


def differ(found: Tensor, wanted: Tensor) -> float:
    """Largest difference, relative to the largest wanted value."""
    assert found.shape == wanted.shape
    assert wanted.abs().max() > 0.1, "everything is almost 0, and would agree anyway"
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1))


@torch.no_grad()
@pytest.mark.parametrize("name", DECODERS)
def test_language_models_have_the_logits_of_transformers(
    folder_of: Callable[[str], Path], name: str
) -> None:
    family, texts = FAMILIES[name], batch()
    ours = language_model(family, folder_of(name))
    theirs = reference(transformers.AutoModelForCausalLM, folder_of(name))
    is_real = mask_of(texts)
    wanted = theirs(**inputs_of(texts)).logits[is_real]
    assert differ(ours(texts.input_ids)[is_real], wanted) <= 1e-4


@torch.no_grad()
@pytest.mark.parametrize("name", DECODERS)
def test_classifiers_have_the_logits_of_transformers_head(name: str, tmp_path: Path) -> None:
    family, texts = FAMILIES[name], batch()
    auto = transformers.AutoModelForSequenceClassification
    save(family, auto, tmp_path / "model", num_labels=len(CLASSES))
    ours = classifier(family, tmp_path / "model", pooling="last_real")
    assert ours.head_is_loaded
    wanted = reference(auto, tmp_path / "model")(**inputs_of(texts)).logits
    assert differ(ours(texts.input_ids, texts.lengths), wanted) <= 1e-4


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean_real", "cls"])
@pytest.mark.parametrize("name", ENCODERS)
def test_classifiers_pool_the_states_of_transformers(
    folder_of: Callable[[str], Path], name: str, pooling: str
) -> None:
    texts = batch()
    ours = classifier(FAMILIES[name], folder_of(name), pooling=pooling)
    assert not ours.head_is_loaded
    hidden = reference(transformers.AutoModel, folder_of(name))(**inputs_of(texts))
    states = hidden.last_hidden_state  # (B, T, C)
    if pooling == "cls":
        pooled = states[:, 0]
    else:
        rows = zip(states, LENGTHS, strict=True)
        pooled = torch.stack([row[:length].mean(dim=0) for row, length in rows])
    wanted = pooled @ ours.head.weight.T + ours.head.bias
    assert differ(ours(texts.input_ids, texts.lengths), wanted) <= 1e-4


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_states_of_a_text_depend_neither_on_padding_nor_on_other_texts(
    folder_of: Callable[[str], Path], name: str
) -> None:
    family = FAMILIES[name]
    made = backbone(family, folder_of(name))
    for index, length in enumerate(LENGTHS):
        texts = batch()
        alone = made(texts.input_ids[index : index + 1, :length])[0]
        for width in (max(LENGTHS), 31):
            padded = batch(width=width)
            mask = None if family.is_causal else mask_of(padded)
            found = made(padded.input_ids, mask)[index, :length]
            assert differ(found, alone) <= 1e-5, (index, width)
            only_lengths = made(padded.input_ids, mask, lengths=padded.lengths)
            assert differ(only_lengths[index, :length], alone) <= 1e-5, (index, width)


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_selected_positions_are_those_of_all_states(
    folder_of: Callable[[str], Path], name: str
) -> None:
    made, texts = backbone(FAMILIES[name], folder_of(name)), batch()
    positions = torch.stack([texts.lengths - 1, torch.zeros_like(texts.lengths)], dim=1)
    whole = made(texts.input_ids, mask_of(texts))
    wanted = whole[torch.arange(len(LENGTHS))[:, None], positions]
    found = made(texts.input_ids, mask_of(texts), positions=positions, lengths=texts.lengths)
    assert differ(found, wanted) <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_only_decoders_do_not_look_ahead(folder_of: Callable[[str], Path], name: str) -> None:
    family = FAMILIES[name]
    made = backbone(family, folder_of(name))
    assert made.is_causal == family.is_causal
    ids = batch([12]).input_ids
    other = ids.clone()
    other[0, 9:] = (ids[0, 9:] + 1) % VOCAB
    changed = (made(ids) - made(other)).abs().amax(dim=(0, 2)) > 1e-6  # (T,)
    assert changed[9:].all()
    assert changed[:6].any() != family.is_causal


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_backbone_says_of_itself(folder_of: Callable[[str], Path], name: str) -> None:
    family = FAMILIES[name]
    made = backbone(family, folder_of(name))
    vocab = 50257 if name == "gpt2" else VOCAB
    assert (made.num_blocks, len(made.blocks)) == (3, 3)
    assert (made.hidden_size, made.vocab_size, made.context_length) == (32, vocab, 64)
    assert made.blocks_name == family.inside + family.blocks
    assert made.input_embedding.weight.shape == (vocab, 32)
    assert not made.has_dropout
    assert (made.why_no_language_model() is None) == family.is_causal
    with pytest.raises(ValueError, match="65 tokens long, the model's context is 64"):
        made(torch.zeros(1, 65, dtype=torch.long))
