"""A text classifier as it is used: a backbone with a linear head over a pooled hidden state."""

from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llm_lightning.backbone.families import load_weights
from llm_lightning.backbone.inputs import ModelInputs
from llm_lightning.data.batching import Batch
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.options import ClassifierOptions
from llm_lightning.tasks.pooling import depends_on_padding, mean, pooling_inputs, resolved_pooling


class TextClassifier(FineTunedModel):
    """A backbone with a linear head; for the other arguments see the base class.

    Args:
        task: fields of :class:`~llm_lightning.tasks.options.ClassifierOptions`.
        finetune: fields of a strategy.
        class_names: name of each output.
        class_weights: weight of each class in the training loss, or ``None``.
        text: fields of :class:`~llm_lightning.data.batching.Padder`; kept for prediction.
    """

    data_kinds: ClassVar[tuple[str, ...]] = ("classification",)

    def __init__(
        self,
        *,
        task: dict[str, Any],
        model: dict[str, Any],
        finetune: dict[str, Any],
        optim: dict[str, Any],
        class_names: list[str],
        class_weights: list[float] | None,
        text: dict[str, Any],
        seed: int,
    ) -> None:
        super().__init__(model=model, optim=optim, seed=seed)
        self.hparams = {
            "task": task,
            "model": model,
            "finetune": finetune,
            "optim": optim,
            "class_names": class_names,
            "class_weights": class_weights,
            "text": text,
            "seed": seed,
        }
        self.options = ClassifierOptions(**task)
        self.pooling = resolved_pooling(self.options.pooling, is_causal=self.backbone.is_causal)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(self.backbone.hidden_size, len(class_names))
        self.head_dropout = nn.Dropout(self.options.head_dropout)
        self.set_trainable(finetune)

    def load_backbone(self, path: Path, expected_sha256: str | None) -> str:
        """Loads a checkpoint, and its head if that has as many classes; it may have no bias."""
        heads = {"score.weight": self.head.weight, "score.bias": self.head.bias}
        loaded = load_weights(self.backbone, path, expected_sha256=expected_sha256, heads=heads)
        self.head_is_loaded = loaded.heads.get("score.weight") == tuple(self.head.weight.shape)
        if self.head_is_loaded and "score.bias" not in loaded.heads:
            nn.init.zeros_(self.head.bias)
        self.unused_weights = loaded.unused
        return loaded.sha256

    def forward(
        self, input_ids: Int[Tensor, "B T"], lengths: Int[Tensor, " B"]
    ) -> Float[Tensor, "B num_classes"]:
        """Computes the logits of texts, given as padded token ids and their lengths."""
        unknown = torch.full_like(lengths, -1)
        return self.logits(Batch(input_ids, lengths, unknown, unknown))

    def logits(self, batch: Batch, split: str | None = None) -> Float[Tensor, "B num_classes"]:
        """Computes the logits of a batch; see :meth:`hidden`."""
        hidden, inputs = self.hidden(batch, split)
        is_mean = inputs.positions is None
        pooled = mean(hidden, batch.lengths, self.pooling) if is_mean else hidden[:, 0]
        return cast(Tensor, self.head(self.head_dropout(pooled)))  # from (B, C)

    def model_inputs(self, batch: Batch) -> ModelInputs:
        """Leaves out padding that cannot change the result; see the base class."""
        return pooling_inputs(
            batch.input_ids,
            batch.lengths,
            self.pooling,
            is_causal=self.backbone.is_causal,
            is_masked=self.options.mask_padding,
        )

    def why_not_cacheable(self) -> str | None:
        """Padding to the longest text of a batch differs between batches, and may matter."""
        pooling, is_masked = self.pooling, self.options.mask_padding
        if self.hparams["text"]["padding"] != "batch" or not depends_on_padding(
            pooling, is_causal=self.backbone.is_causal, is_masked=is_masked
        ):
            return None
        return (
            f"with data.padding=batch, task.pooling={pooling} and "
            f"task.mask_padding={str(is_masked).lower()} the activations of an example depend on "
            f"its batch"
        )
