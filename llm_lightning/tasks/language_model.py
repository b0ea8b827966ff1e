"""Language modelling: a backbone with an output embedding, trained on the tokens that have a label.

Instruction tuning and pretraining are the same task; they differ in the labels of their data.
"""

from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llm_lightning.backbone.families import load_weights
from llm_lightning.backbone.inputs import ModelInputs
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.data.sequences import NO_LABEL, SequenceBatch
from llm_lightning.run_format.splits import EVALUATED
from llm_lightning.tasks.language_metrics import LanguageMetrics
from llm_lightning.tasks.options import LanguageModelOptions
from llm_lightning.tasks.split_metrics import SplitMetrics
from llm_lightning.tasks.task import Task
from llm_lightning.tasks.token_losses import token_losses


class LanguageModel(Task):
    """A causal backbone that predicts the next token; for the other arguments see the base class.

    Args:
        task: fields of :class:`~llm_lightning.tasks.options.LanguageModelOptions`.
        finetune: fields of a strategy.
        text: how records become prompts; kept for generation.

    Raises:
        ValueError: if the backbone cannot generate text.
    """

    metric_names: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "response_loss")
    training_metric_names: ClassVar[tuple[str, ...]] = ("loss",)
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
        self.hparams = {
            "task": task,
            "model": model,
            "finetune": finetune,
            "optim": optim,
            "text": text,
            "seed": seed,
        }
        if reason := self.backbone.why_no_language_model():
            raise ValueError(reason)
        generation = GenerationOptions(**task["generation"])
        self.options = LanguageModelOptions(**task | {"generation": generation})
        embedding = self.backbone.input_embedding.weight  # (V, C)
        self.head = nn.Linear(embedding.shape[1], embedding.shape[0], bias=False, device="meta")
        self.head.weight = (
            embedding if self.options.tie_weights else nn.Parameter(embedding.detach().clone())
        )
        self.set_trainable(finetune)
        self.metrics = SplitMetrics(LanguageMetrics)

    def load_backbone(self, path: Path, expected_sha256: str | None) -> str:
        """Loads a checkpoint; an untied head is the file's, or else a copy of its embedding.

        Raises:
            ValueError: if the file does not fit, or contains an output embedding of its own that
                ``task.tie_weights`` would discard.
        """
        heads = {} if self.options.tie_weights else {"lm_head.weight": self.head.weight}
        loaded = load_weights(self.backbone, path, expected_sha256=expected_sha256, heads=heads)
        self.head_is_loaded = "lm_head.weight" in loaded.heads
        if self.head_is_loaded and self.options.tie_weights:
            raise ValueError(
                f"model.weights: {path} contains an output embedding that differs from the input "
                f"embedding; task.tie_weights=true would discard it: set task.tie_weights=false"
            )
        if not self.head_is_loaded and not self.options.tie_weights:
            with torch.no_grad():
                self.head.weight.copy_(self.backbone.input_embedding.weight)
        self.unused_weights = loaded.unused
        return loaded.sha256

    def forward(self, input_ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Computes the logits of all positions."""
        return cast(Tensor, self.head(self.backbone(input_ids)))

    def model_inputs(self, batch: SequenceBatch) -> ModelInputs:
        """Selects the positions with a label, or all if the data label all; see :class:`Task`.

        Padding needs no mask: it is on the right, where a causal network does not attend to it.
        """
        is_labelled = batch.labels != NO_LABEL  # (B, T)
        counts = is_labelled.sum(dim=1)
        positions = None
        if self.hparams["text"].get("mask", "none") != "none":
            labelled_first = is_labelled.to(torch.int8).argsort(dim=1, descending=True, stable=True)
            positions = labelled_first[:, : int(counts.max())]
        return ModelInputs(batch.input_ids, None, batch.lengths, positions, counts)

    def token_losses(
        self, batch: SequenceBatch, split: str | None = None
    ) -> tuple[Float[Tensor, " N"], Bool[Tensor, " N"]]:
        """Computes the loss of every label; logits are computed at no other position.

        Args:
            batch: B sequences.
            split: see :meth:`~llm_lightning.tasks.task.Task.hidden`.

        Returns:
            Losses of the N labels in nats; and whether each label is part of a response.
        """
        is_labelled = batch.labels != NO_LABEL  # (B, T)
        hidden, inputs = self.hidden(batch, split)
        if inputs.positions is None:
            hidden = hidden[is_labelled]  # (N, C)
        else:
            at = torch.arange(hidden.shape[1], device=hidden.device)
            hidden = hidden[at < inputs.counts[:, None]]  # (N, C)
        losses = token_losses(self.head, hidden, batch.labels[is_labelled])
        return losses, batch.in_response[is_labelled]

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Float[Tensor, ""]:
        """Returns the batch's share of the step's mean loss over all labels."""
        losses, in_response = self.token_losses(batch, "train")
        self.count("train", batch, losses.detach(), in_response)
        self.log_batch_loss(losses.detach().mean(), 0.0 if batch.is_filler else float(len(losses)))
        return self.step_loss(batch, losses.sum(), float(len(losses)))

    def validation_step(self, batch: SequenceBatch, batch_idx: int) -> None:
        """Adds a batch to the validation losses."""
        self.count("val", batch, *self.token_losses(batch, "val"))

    def test_step(self, batch: SequenceBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Adds a batch to the losses of one of ``EVALUATED``."""
        split = EVALUATED[dataloader_idx]
        self.count(split, batch, *self.token_losses(batch, split))
