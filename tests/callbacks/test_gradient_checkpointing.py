"""Losses and gradients are those without it, and less is kept for the backward pass."""

from typing import Any

import pytest
import torch
from callbacks.small_runs import LAST_BLOCK, assert_same, messages, run, task_for, trainer_with
from exporting.huggingface import transformers_tasks

from llm_lightning.callbacks.conditions import check_callbacks
from llm_lightning.callbacks.frozen_activations import FrozenActivations
from llm_lightning.callbacks.gradient_checkpointing import GradientCheckpointing

pytestmark = pytest.mark.usefixtures("own_folder")
ALL = {"_target_": "llm_lightning.finetuning.strategies.AllLayers"}
DROPOUT = {"resid_pdrop": 0.2, "attn_pdrop": 0.1}


@pytest.mark.parametrize(
    "options",
    [{"finetune": ALL, "model": DROPOUT}, {"finetune": LAST_BLOCK}],
    ids=["all with dropout", "last block"],
)
def test_a_fit_is_the_same(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    data = messages()

    def fit(*extra: Any) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        task = task_for(data, **options)
        monkeypatch.setattr("callbacks.small_runs.trainer_with", lambda callbacks, **others: (
            trainer_with([*callbacks, *extra], **others)
        ))  # fmt: skip
        return run(data, task, FrozenActivations()), dict(task.named_parameters())

    plain, weights = fit()
    checkpointed, same_weights = fit(GradientCheckpointing())
    assert_same(checkpointed, plain)
    for name, value in weights.items():
        assert torch.allclose(same_weights[name], value, atol=1e-6), name


@pytest.mark.parametrize("family", ["gpt2", "llama", "modernbert"])
def test_gradients_are_equal_and_less_is_kept(family: str) -> None:
    data = messages()
    if family == "gpt2":
        task: Any = task_for(data, finetune=ALL, model={"n_layer": 6})
    else:
        task = transformers_tasks.classifier(family)
    ids = torch.arange(60).view(2, 30) + 5
    mask = torch.ones_like(ids, dtype=torch.bool)
    trainer = trainer_with([])

    def gradients() -> tuple[dict[str, torch.Tensor], int]:
        task.train()
        task.zero_grad()
        kept = 0

        def pack(value: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += value.numel()
            return value

        torch.manual_seed(3)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            loss = task.backbone(ids, mask).square().mean()
        loss.backward()
        found = {n: p.grad.clone() for n, p in task.named_parameters() if p.grad is not None}
        return found, kept

    plain, kept_plain = gradients()
    callback = GradientCheckpointing()
    callback.on_fit_start(trainer, task)
    checkpointed, kept = gradients()
    callback.on_fit_end(trainer, task)
    again, kept_again = gradients()
    assert plain.keys() == checkpointed.keys() == again.keys()
    for name in plain:
        assert torch.allclose(plain[name], checkpointed[name], atol=1e-7), name
        assert torch.equal(plain[name], again[name])
    assert kept < 0.6 * kept_plain
    assert kept_again == kept_plain, "the blocks are as they were"


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method")  # torch's own, on first use
def test_compiled_blocks_are_refused() -> None:
    task = task_for(messages())
    for block in task.backbone.blocks:
        block.compile()
    with pytest.raises(ValueError, match=r"gradient_checkpointing does not go with compile=true"):
        check_callbacks(task, trainer_with([GradientCheckpointing()]))
