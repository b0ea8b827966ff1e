"""A training loop in plain torch that every peer goes through, and its clock.

Shapes: B examples, T positions.
"""

import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PADDING_ID = 50256
BATCH_SIZE, EVAL_BATCH_SIZE = 8, 32
LEARNING_RATES = {"lora": 8e-4}  # as in our configuration; elsewhere 5e-5
WEIGHT_DECAY = 0.1
BATCHES_PER_POOL = 50  # sorted together, as transformers' group_by_length does

Example = Sequence[Any]  # token ids and label


@dataclass
class Peer:
    """A model and how it is fed."""

    module: nn.Module
    logits: Callable[[Tensor, Tensor], Tensor]
    """(B, T) token ids and (B,) lengths to (B, classes)."""
    width: int | None
    """Columns of every batch; ``None``: as many as its longest example has."""
    groups: bool
    """Whether training batches hold examples of similar length."""
    bf16: bool
    """Whether it computes under autocast."""
    fused: bool
    """Whether AdamW updates all parameters in one go."""
    device: str = "cpu"
    """Where it computes."""

    def autocast(self) -> AbstractContextManager[Any]:
        """What forward passes run under."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bf16)

    def optimizer(self, strategy: str) -> torch.optim.AdamW:
        """AdamW over what trains, with the settings of our configuration."""
        trained = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        rate = LEARNING_RATES.get(strategy, 5e-5)
        return torch.optim.AdamW(trained, lr=rate, weight_decay=WEIGHT_DECAY, fused=self.fused)

    def collate(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor]:
        """Pads on the right: (B, T) token ids, (B,) lengths, (B,) labels."""
        lengths = [len(ids) for ids, _ in examples]
        input_ids = torch.full((len(examples), self.width or max(lengths)), PADDING_ID)
        for row, (ids, _) in zip(input_ids, examples, strict=True):
            row[: len(ids)] = torch.tensor(ids)
        labels = torch.tensor([label for _, label in examples])
        on_cpu = (input_ids, torch.tensor(lengths), labels)
        input_ids, lengths_, labels = (part.to(self.device, non_blocking=True) for part in on_cpu)
        return input_ids, lengths_, labels


def read(file: str) -> Any:
    """Reads what ``prepare.py`` wrote."""
    return json.loads(Path(file).read_text(encoding="utf-8"))


def step(peer: Peer, optimizer: torch.optim.Optimizer, examples: Sequence[Example]) -> float:
    """One optimizer step; returns the loss."""
    input_ids, lengths, labels = peer.collate(examples)
    with peer.autocast():
        loss = F.cross_entropy(peer.logits(input_ids, lengths).float(), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.inference_mode()
def num_right(peer: Peer, examples: Sequence[Example]) -> int:
    """How many of a batch are classified rightly."""
    input_ids, lengths, labels = peer.collate(examples)
    with peer.autocast():
        return int((peer.logits(input_ids, lengths).argmax(dim=-1) == labels).sum())


def accuracy(peer: Peer, examples: Sequence[Example]) -> float:
    """A whole split, sorted by length where the peer pads to the batch."""
    peer.module.eval()
    if peer.width is None:
        examples = sorted(examples, key=lambda example: len(example[0]))
    right = sum(num_right(peer, batch) for batch in batches_of(examples, EVAL_BATCH_SIZE))
    return right / len(examples)


def batches_of(examples: Sequence[Example], size: int) -> Iterator[Sequence[Example]]:
    """Cuts examples into batches in their order."""
    for start in range(0, len(examples), size):
        yield examples[start : start + size]


def epoch(peer: Peer, examples: Sequence[Example], order: random.Random) -> list[list[Example]]:
    """Shuffled batches of a whole split."""
    shuffled = order.sample(list(examples), len(examples))
    if not peer.groups:
        return [list(batch) for batch in batches_of(shuffled, BATCH_SIZE)]
    batches: list[list[Example]] = []
    for pool in batches_of(shuffled, BATCH_SIZE * BATCHES_PER_POOL):
        in_order = sorted(pool, key=lambda example: len(example[0]))
        batches += [list(batch) for batch in batches_of(in_order, BATCH_SIZE)]
    order.shuffle(batches)
    return batches


def train_and_evaluate(
    peer: Peer, splits: dict[str, list[Example]], strategy: str, epochs: int
) -> dict[str, Any]:
    """What our program does: validation after every epoch, all three splits at the end."""
    optimizer, order = peer.optimizer(strategy), random.Random(123)
    steps = seen = 0
    for _ in range(epochs):
        peer.module.train()
        for batch in epoch(peer, splits["train"], order):
            step(peer, optimizer, batch)
            steps += 1
            seen += len(batch)
        accuracy(peer, splits["val"])
    found = {name: accuracy(peer, examples) for name, examples in splits.items()}
    return {"optimizer_steps": steps, "examples": seen, "accuracy": found}


def evaluated_batches(splits: dict[str, list[Example]], epochs: int) -> int:
    """Batches that :func:`train_and_evaluate` evaluates."""
    count = {name: -(-len(rows) // EVAL_BATCH_SIZE) for name, rows in splits.items()}
    return sum(count.values()) + epochs * count["val"]


def estimated(
    peer: Peer,
    splits: dict[str, list[Example]],
    strategy: str,
    epochs: int,
    timed: int,
) -> dict[str, Any]:
    """Times a few steps of each kind and works out how long the others would take.

    Only for a peer whose batches are all equally wide.
    """
    optimizer, order = peer.optimizer(strategy), random.Random(123)
    peer.module.train()
    training = epoch(peer, splits["train"], order)
    step_s = seconds_each(lambda batch: step(peer, optimizer, batch), training[:timed])
    peer.module.eval()
    evaluation = list(batches_of(splits["train"], EVAL_BATCH_SIZE))[:timed]
    eval_s = seconds_each(lambda batch: num_right(peer, batch), evaluation)
    return left_out(splits, epochs, step_s, eval_s)


def left_out(
    splits: dict[str, list[Example]], epochs: int, step_s: list[float], eval_s: list[float]
) -> dict[str, Any]:
    """The result of a run of which only these steps and evaluation batches were done."""
    steps = epochs * -(-len(splits["train"]) // BATCH_SIZE)
    batches = evaluated_batches(splits, epochs)
    return {
        "optimizer_steps": steps,
        "examples": epochs * len(splits["train"]),
        "left_out_s": (steps - len(step_s)) * statistics.median(step_s)
        + (batches - len(eval_s)) * statistics.median(eval_s),
    }


def seconds_each(work: Callable[[Any], Any], items: Sequence[Any]) -> list[float]:
    """Does the work on each item; seconds of each."""
    seconds = []
    for item in items:
        started = time.perf_counter()
        work(item)
        seconds.append(time.perf_counter() - started)
    return seconds


def timed_steps(
    peer: Peer, examples: list[Example], strategy: str, warmup: int, batch_size: int = BATCH_SIZE
) -> tuple[list[float], list[list[int]], float | None]:
    """Steps on given batches in their order.

    Returns:
        Seconds and [rows, width] of each step after warm-up; and the seconds of a first pass over
        all batches, which is made where widths differ, because kernels are prepared for each.
    """
    optimizer = peer.optimizer(strategy)
    peer.module.train()
    batches = list(batches_of(examples, batch_size))

    def run() -> list[float]:
        return seconds_each(lambda batch: step(peer, optimizer, batch), batches)

    first_pass_s = sum(run()) if peer.width is None else None
    shapes = [list(peer.collate(batch)[0].shape) for batch in batches[warmup:]]
    return run()[warmup:], shapes, first_pass_s
