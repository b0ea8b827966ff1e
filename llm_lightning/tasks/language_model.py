"""Language modelling: GPT-2, its output embedding, and the tokens that carry a label.

Instruction tuning and pretraining are this one task; they differ in the labels of their data.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torchmetrics import MeanMetric

from llm_lightning.backbone.checkpoint import load_weights
from llm_lightning.backbone.generation import GenerationOptions
from llm_lightning.data.sequences import NO_LABEL, SequenceBatch
from llm_lightning.finetuning.frozen_activations.cache import Reading
from llm_lightning.tasks.task import EVALUATED, Task

# Positions whose logits exist at one time. 128 x 50,257 floats stay below the 32 MiB from which
# glibc gives freed blocks back to the system, to be mapped and zeroed again for the next ones.
_POSITIONS_AT_ONCE = 128


@dataclass
class LanguageModelOptions:
    """How the head relates to the embedding: the ``task`` group."""

    _target_: str = "llm_lightning.tasks.language_model.LanguageModel"
    tie_weights: bool = True
    """Whether the output embedding is the input embedding, as in GPT-2; otherwise it starts as a
    copy of it and trains on its own, as in the book."""
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    """How answers are written once the model is trained."""


class LanguageModel(Task):
    """GPT-2 that predicts the next token.

    All arguments are plain values, which a checkpoint keeps and rebuilds the model from.

    Args:
        task: fields of :class:`LanguageModelOptions`.
        model: fields of :class:`~llm_lightning.backbone.gpt2.GPTConfig`.
        finetune: fields of a strategy.
        optim: fields of :class:`~llm_lightning.training.optim.AdamW`.
        text: how prompts are made of records; kept for generation.
        seed: draws the starting weights.
    """

    metric_names: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "response_loss")
    data_kinds: ClassVar[tuple[str, ...]] = ("instructions", "text")
    pretrained_parts: ClassVar[tuple[str, ...]] = ("backbone.", "head.weight")

    def __init__(
        self,
        *,
        task: dict[str, Any],
        model: dict[str, Any],
        finetune: dict[str, Any],
        optim: dict[str, Any],
        text: dict[str, Any],
        seed: int,
    ) -> None:
        super().__init__(model=model, optim=optim, seed=seed)
        self.save_hyperparameters(logger=False)
        generation = GenerationOptions(**task["generation"])
        self.options = LanguageModelOptions(**task | {"generation": generation})
        embedding = self.backbone.wte.weight  # (V, C)
        self.head = nn.Linear(embedding.shape[1], embedding.shape[0], bias=False, device="meta")
        self.head.weight = (
            embedding if self.options.tie_weights else nn.Parameter(embedding.detach().clone())
        )
        self.set_trainable(finetune)
        splits = ("train", "val", *EVALUATED)
        self.losses = nn.ModuleDict({f"{split}_loss": MeanMetric() for split in splits})
        self.response_losses = nn.ModuleDict({f"{split}_loss": MeanMetric() for split in splits})

    def load_backbone(self, path: Path, expected_sha256: str | None) -> str:
        """Loads a checkpoint; an untied head is the file's own, or a copy of the embedding again.

        Raises:
            ValueError: as ever, or if the file's output embedding is its own and this one's not.
        """
        heads = {} if self.options.tie_weights else {"lm_head.weight": self.head.weight}
        loaded = load_weights(self.backbone, path, expected_sha256=expected_sha256, heads=heads)
        self.head_is_loaded = "lm_head.weight" in loaded.heads
        if self.head_is_loaded and self.options.tie_weights:
            raise ValueError(
                f"model.weights: {path} has an output embedding of its own, which "
                f"task.tie_weights=true would lose: set task.tie_weights=false"
            )
        if not self.head_is_loaded and not self.options.tie_weights:
            with torch.no_grad():
                self.head.weight.copy_(self.backbone.wte.weight)
        return loaded.sha256

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, T) token ids to (B, T, V) logits."""
        return cast(Tensor, self.head(self.backbone(input_ids)))

    def reading(self, batch: SequenceBatch) -> Reading:
        """Positions with a label, unless nearly all have one; see :class:`Task`.

        Padding needs no mask: it stands on the right, where a causal network does not look.
        """
        labelled = batch.labels != NO_LABEL  # (B, T)
        counts = labelled.sum(dim=1)
        positions = None
        if self.hparams["text"].get("mask", "none") != "none":
            first = labelled.to(torch.int8).argsort(dim=1, descending=True, stable=True)
            positions = first[:, : int(counts.max())]
        return Reading(batch.input_ids, None, batch.lengths, positions, counts)

    def token_losses(self, batch: SequenceBatch, split: str | None = None) -> tuple[Tensor, Tensor]:
        """Computes the loss of every label; logits exist at these positions only.

        Args:
            batch: B sequences.
            split: see :meth:`~llm_lightning.tasks.task.Task.hidden`.

        Returns:
            (N,) losses of the N labels in nats, and (N,) bool, true where a label is part of a
            response.
        """
        labelled = batch.labels != NO_LABEL  # (B, T)
        hidden, read = self.hidden(batch, split)
        if read.positions is None:
            hidden = hidden[labelled]  # (N, C)
        else:
            at = torch.arange(hidden.shape[1], device=hidden.device)
            hidden = hidden[at < read.num_positions[:, None]]  # (N, C)
        chunks = zip(
            torch.split(hidden, _POSITIONS_AT_ONCE),
            torch.split(batch.labels[labelled], _POSITIONS_AT_ONCE),
            strict=True,
        )
        # Logits are computed again for the gradient rather than kept: they are by far the largest
        # tensor of a step, and the head is a small part of its arithmetic.
        losses = torch.cat(
            [cast(Tensor, checkpoint(self._losses, *c, use_reentrant=False)) for c in chunks]
        )
        return losses, batch.in_response[labelled]

    def _losses(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """(N, C) hidden states and (N,) labels to (N,) losses."""
        # Half precision would round logits near 20 to eighths.
        return F.cross_entropy(self.head(hidden).float(), labels, reduction="none")

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        """Returns the summed loss of the batch's labels; the step divides by all of its labels."""
        losses, in_response = self.token_losses(batch, "train")
        self._update("train", losses.detach(), in_response)
        self.log_batch_loss(losses.detach().mean())
        return self.share_of_step(losses.sum(), len(losses))

    def validation_step(self, batch: SequenceBatch, batch_idx: int) -> None:
        """Adds a batch to the validation losses."""
        self._update("val", *self.token_losses(batch, "val"))

    def test_step(self, batch: SequenceBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Adds a batch to the losses of one of ``EVALUATED``."""
        split = EVALUATED[dataloader_idx]
        self._update(split, *self.token_losses(batch, split))

    def on_train_epoch_end(self) -> None:
        """Logs the running loss of the epoch."""
        super().on_train_epoch_end()
        self.log("train/epoch_loss", self._compute("train")["loss"])

    def on_validation_epoch_end(self) -> None:
        """Logs losses over all tokens of the validation split."""
        self._log("val")

    def on_test_epoch_end(self) -> None:
        """Logs the final losses of all three splits."""
        for split in EVALUATED:
            self._log(split)

    def _update(self, split: str, losses: Tensor, in_response: Tensor) -> None:
        # MeanMetric weighs every token alike, whichever batch it came in.
        _metric(self.losses, split).update(losses)
        if in_response.any():
            _metric(self.response_losses, split).update(losses[in_response])

    def _log(self, split: str) -> None:
        self.log_dict({f"{split}/{name}": value for name, value in self._compute(split).items()})

    def _compute(self, split: str) -> dict[str, Tensor]:
        """The split's mean losses; a response loss only where there are responses."""
        loss = _metric(self.losses, split)
        values = {"loss": loss.compute()}
        values["perplexity"] = values["loss"].exp()
        loss.reset()
        response_loss = _metric(self.response_losses, split)
        if response_loss.update_called:
            values["response_loss"] = response_loss.compute()
            response_loss.reset()
        return values


def _metric(metrics: nn.ModuleDict, split: str) -> MeanMetric:
    return cast(MeanMetric, metrics[f"{split}_loss"])
