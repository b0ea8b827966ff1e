import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from quiet_trainer import quiet_trainer
from torch.nn import functional as F
from torch.utils.data import DataLoader

from llm_lightning.backbone.checkpoint import save_weights
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.data.sequences import NO_LABEL, TokenSequence, collate
from llm_lightning.tasks.language_model import LanguageModel

TINY = {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 32, "vocab_size": 50257}
ALL = {"_target_": "llm_lightning.finetuning.strategies.AllLayers"}
TOP = "llm_lightning.finetuning.strategies.TopBlocks"

pytestmark = [
    pytest.mark.filterwarnings("ignore:You defined a `validation_step`"),
    pytest.mark.filterwarnings("ignore:.*`logger=False`"),
]


def language_model(*, tie_weights: bool = True, **fields: Any) -> LanguageModel:
    defaults: dict[str, Any] = {
        "task": {"tie_weights": tie_weights, "generation": {}},
        "model": TINY,
        "finetune": ALL,
        "optim": {"lr": 0.5, "eps": 1.0},  # a large eps keeps steps proportional to gradients
        "text": {},
        "seed": 1,
    }
    return LanguageModel(**defaults | fields)


def sequences(lengths: list[int]) -> list[TokenSequence]:
    """Random texts of which the first third is not learnt and the second half is a response."""
    torch.manual_seed(3)
    found = []
    for length in lengths:
        tokens = torch.randint(50256, (length + 1,))
        labels = tokens[1:].clone()
        labels[: length // 3] = NO_LABEL
        found.append(TokenSequence(tokens[:-1], labels, torch.arange(length) >= length // 2))
    return found


padded = partial(collate, pad_id=50256)


def batches(rows: list[TokenSequence], size: int) -> DataLoader:
    return DataLoader(rows, batch_size=size, collate_fn=padded)  # type: ignore[arg-type]


def reference_losses(model: LanguageModel, rows: list[TokenSequence]) -> torch.Tensor:
    """Loss of every label, text by text, with logits everywhere."""
    parts = []
    for row in rows:
        logits = model(row.ids[None])[0]
        parts.append(F.cross_entropy(logits, row.labels, reduction="none")[row.labels != NO_LABEL])
    return torch.cat(parts)


def test_batched_losses_are_those_of_each_text_alone() -> None:
    model, rows = language_model(), sequences([9, 4, 17])
    losses, in_response = model.token_losses(padded(rows))
    torch.testing.assert_close(losses, reference_losses(model, rows))
    assert int(in_response.sum()) == sum(int(row.in_response.sum()) for row in rows)


def test_logits_exist_at_labelled_positions_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = language_model(), sequences([9, 4, 17])
    shapes = []
    model.head.register_forward_hook(lambda head, inputs, output: shapes.append(output.shape))
    model.token_losses(padded(rows))
    num_labels = sum(int((row.labels != NO_LABEL).sum()) for row in rows)
    assert shapes == [(num_labels, 50257)]


def test_long_batches_are_cut_into_pieces_with_the_same_gradient() -> None:
    rows = sequences([31] * 8)  # 168 labels, more than are held at once
    model = language_model()
    losses, _ = model.token_losses(padded(rows))
    losses.sum().backward()
    assert model.backbone.wte.weight.grad is not None
    gradient = model.backbone.wte.weight.grad.clone()
    model.zero_grad()
    reference_losses(model, rows).sum().backward()
    torch.testing.assert_close(gradient, model.backbone.wte.weight.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("size", "accumulate"), [(1, 8), (2, 4), (3, 3)])
def test_accumulation_equals_one_large_batch(size: int, accumulate: int) -> None:
    rows = sequences([9, 4, 17, 30, 6, 12, 3, 21])  # as unlike as they come
    one, many = language_model(), language_model()
    quiet_trainer().fit(one, batches(rows, 8))
    quiet_trainer(accumulate_grad_batches=accumulate).fit(many, batches(rows, size))
    start = language_model().backbone.wte.weight
    assert (one.backbone.wte.weight - start).abs().max() > 1e-3  # it did move
    for ours, theirs in zip(many.parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_step_is_that_of_the_mean_over_all_labels() -> None:
    rows = sequences([9, 4, 17])
    model, expected = language_model(), language_model()
    quiet_trainer().fit(model, batches(rows, 3))
    optimizer = expected.optim.optimizer(expected.parameters())
    reference_losses(expected, rows).mean().backward()
    optimizer.step()
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_validation_loss_weighs_tokens_alike_whatever_the_batches(size: int) -> None:
    model, rows = language_model(), sequences([9, 4, 17, 30, 6])
    run = quiet_trainer()
    run.validate(model, batches(rows, size), verbose=False)
    losses = reference_losses(model, rows).detach()
    learnt_response = torch.cat([row.in_response[row.labels != NO_LABEL] for row in rows])
    logged = {name: float(value) for name, value in run.callback_metrics.items()}
    assert logged["val/loss"] == pytest.approx(float(losses.mean()), rel=1e-5)
    assert logged["val/perplexity"] == pytest.approx(math.exp(float(losses.mean())), rel=1e-4)
    assert logged["val/response_loss"] == pytest.approx(
        float(losses[learnt_response].mean()), rel=1e-5
    )


def test_text_without_responses_has_no_response_loss() -> None:
    rows = [TokenSequence(r.ids, r.labels, torch.zeros_like(r.in_response)) for r in sequences([9])]
    run = quiet_trainer()
    run.validate(language_model(), batches(rows, 1), verbose=False)
    assert "val/loss" in run.callback_metrics
    assert "val/response_loss" not in run.callback_metrics


def test_tied_head_is_the_embedding_and_an_untied_one_starts_as_its_copy() -> None:
    tied, untied = language_model(), language_model(tie_weights=False)
    assert tied.head.weight is tied.backbone.wte.weight
    assert untied.head.weight is not untied.backbone.wte.weight
    assert torch.equal(untied.head.weight, untied.backbone.wte.weight)
    counts = [sum(p.numel() for p in model.parameters()) for model in (tied, untied)]
    assert counts[1] - counts[0] == 50257 * 8


def test_untied_head_is_a_copy_of_the_loaded_embedding(tmp_path: Path) -> None:
    torch.manual_seed(7)
    source = GPT2(GPTConfig(**TINY))
    save_weights(source, tmp_path)
    model = language_model(tie_weights=False)
    model.load_backbone(tmp_path / "model.safetensors", None)
    assert torch.equal(model.head.weight, source.wte.weight)
    assert model.head.weight.data_ptr() != model.backbone.wte.weight.data_ptr()


def trainable(model: LanguageModel) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_every_strategy_trains_what_it_names() -> None:
    last_block = {"_target_": TOP, "num_blocks": 1}
    head_alone = {"_target_": TOP, "num_blocks": 0, "train_final_norm": False}
    norm = {"backbone.ln_f.weight", "backbone.ln_f.bias"}
    everything = {name for name, _ in language_model().named_parameters()}
    block = {name for name in everything if name.startswith("backbone.h.1.")}
    assert trainable(language_model()) == everything
    assert trainable(language_model(tie_weights=False)) == everything | {"head.weight"}
    # A tied head is the input embedding, which stays.
    assert trainable(language_model(finetune=last_block)) == block | norm
    untied = language_model(finetune=last_block, tie_weights=False)
    assert trainable(untied) == block | norm | {"head.weight"}
    assert trainable(language_model(finetune=head_alone, tie_weights=False)) == {"head.weight"}


def test_head_alone_cannot_train_while_it_is_the_embedding() -> None:
    with pytest.raises(ValueError, match=r"task\.tie_weights=false, or train blocks with finetune"):
        language_model(finetune={"_target_": TOP, "num_blocks": 0, "train_final_norm": False})


def test_checkpoint_reloads_without_unpickling_code(tmp_path: Path) -> None:
    model = language_model(text={"prompt_style": "alpaca"})
    run = quiet_trainer()
    run.fit(model, batches(sequences([9, 4]), 2))
    run.save_checkpoint(tmp_path / "last.ckpt")
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    again = LanguageModel(**state["hyper_parameters"])
    again.load_state_dict(state["state_dict"], strict=True)
    assert again.head.weight is again.backbone.wte.weight
    ids = torch.arange(10)[None]
    assert torch.equal(again(ids), model(ids))
    assert again.hparams["text"] == {"prompt_style": "alpaca"}
