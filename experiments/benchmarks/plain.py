"""A plain PyTorch loop over this project's GPT-2, as the book trains: no trick at all.

fp32, every text padded to the longest, every block run for every example in every epoch, and for
every position though the head takes one.
"""

from typing import Any

import torch
from flops import adapter_weights
from loop import Peer, estimated, read, timed_steps, train_and_evaluate
from timing import step_result
from torch import Tensor, nn

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.finetuning.strategies import from_dict

_ROOM = "llm_lightning.finetuning"
STRATEGIES: dict[str, dict[str, Any]] = {
    "last_layer": {
        "_target_": f"{_ROOM}.strategies.TopBlocks",
        "num_blocks": 0,
        "train_final_norm": False,
    },
    "last_block": {"_target_": f"{_ROOM}.strategies.TopBlocks", "num_blocks": 1},
    "last_two_blocks": {"_target_": f"{_ROOM}.strategies.TopBlocks", "num_blocks": 2},
    "all": {"_target_": f"{_ROOM}.strategies.AllLayers"},
    "lora": {"_target_": f"{_ROOM}.adaptation.LoRA", "rank": 16, "alpha": 16},
}
SEED = 123


class Model(nn.Module):
    """Backbone and head, with the weights that our program starts from for this seed."""

    def __init__(self, sizes: dict[str, int]) -> None:
        super().__init__()
        torch.manual_seed(SEED)
        self.backbone = GPT2(GPTConfig(**sizes))
        torch.manual_seed(SEED)
        self.head = nn.Linear(sizes["n_embd"], 2)

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, T) to (B, 2): the head takes the last position, as in the book."""
        return self.head(self.backbone(input_ids)[:, -1])


def end_to_end(
    *, inputs: str, sizes: dict[str, int], strategy: str, epochs: int, estimate: bool = False
) -> dict[str, Any]:
    """Trains and evaluates; with ``estimate``, twenty steps of it."""
    prepared = read(inputs)
    peer = _peer(sizes, strategy, prepared["max_length"])
    if estimate:
        return estimated(peer, prepared["splits"], strategy, epochs, timed=20)
    return train_and_evaluate(peer, prepared["splits"], strategy, epochs)


def steps(*, inputs: str, sizes: dict[str, int], strategy: str, warmup: int) -> dict[str, Any]:
    """Times optimizer steps."""
    prepared = read(inputs)
    peer = _peer(sizes, strategy, prepared["max_length"])
    examples = prepared["examples"]
    seconds, shapes, first_pass_s = timed_steps(peer, examples, strategy, warmup)
    rank = STRATEGIES[strategy].get("rank", 0)
    return step_result(
        seconds,
        shapes,
        first_pass_s=first_pass_s,
        real_tokens=sum(len(ids) for ids, _ in examples),
        precision="fp32",
        sizes=sizes,
        strategy=strategy,
        adapters=adapter_weights(sizes["n_embd"], rank, is_shared=False),
    )


def _peer(sizes: dict[str, int], strategy: str, width: int) -> Peer:
    model = Model(sizes)
    torch.manual_seed(SEED)
    from_dict(STRATEGIES[strategy]).apply(model)
    return Peer(
        model,
        lambda input_ids, lengths: model(input_ids),
        width=width,
        groups=False,
        bf16=False,
        fused=False,
    )
