"""Text classification: GPT-2, a linear head, and the position that the head reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm_lightning.backbone.checkpoint import load_weights
from llm_lightning.data.batching import Batch
from llm_lightning.evaluation.metrics import METRICS, ClassificationMetrics
from llm_lightning.finetuning.frozen_activations.cache import Reading
from llm_lightning.tasks import pooling as reading
from llm_lightning.tasks.task import EVALUATED, Task


@dataclass
class ClassifierOptions:
    """What the head reads and what it is asked to minimise: the ``task`` group.

    Raises:
        ValueError: if a field is out of range.
    """

    _target_: str = "llm_lightning.tasks.classifier.Classifier"
    position: str = "last_real"
    """Hidden state that the head reads: of the ``last_real`` token, of the ``last`` position
    (padding or not, as the book's first rows), of the ``first``; or the mean over the real
    tokens (``mean_real``) or over all positions (``mean``)."""
    mask_padding: bool = True
    """Whether real tokens and the head are kept from seeing padding through attention."""
    head_dropout: float = 0.0
    """Dropout before the head, in [0, 1)."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes in the training loss, in [0, 1)."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.position not in reading.POSITIONS:
            raise ValueError(
                f"task.position must be one of {', '.join(reading.POSITIONS)}, "
                f"got {self.position!r}"
            )
        for key in ("head_dropout", "label_smoothing"):
            if not 0 <= getattr(self, key) < 1:
                raise ValueError(f"task.{key} must lie in [0, 1), got {getattr(self, key)}")


class Classifier(Task):
    """GPT-2 with a linear head.

    All arguments are plain values, which a checkpoint keeps and rebuilds the model from.

    Args:
        task: fields of :class:`ClassifierOptions`.
        model: fields of :class:`~llm_lightning.backbone.gpt2.GPTConfig`.
        finetune: fields of a strategy.
        optim: fields of :class:`~llm_lightning.training.optim.AdamW`.
        class_names: name of each output.
        class_weights: weight of each class in the training loss, or ``None``.
        text: fields of :class:`~llm_lightning.data.batching.Padder`; kept for prediction.
        seed: draws the starting weights; backbone and head each start from it, so that the head
            is the same whatever the backbone.
    """

    metric_names: ClassVar[tuple[str, ...]] = METRICS
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
        self.class_weights: Tensor | None
        self.save_hyperparameters(logger=False)
        self.options = ClassifierOptions(**task)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(self.backbone.config.n_embd, len(class_names))
        self.head_dropout = nn.Dropout(self.options.head_dropout)
        self.set_trainable(finetune)
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)
        # One set a split. A ModuleDict refuses the key "train", which is a method's name.
        self.metrics = nn.ModuleDict(
            {
                f"{split}_metrics": ClassificationMetrics(len(class_names))
                for split in ("train", "val", *EVALUATED)
            }
        )

    def load_backbone(self, path: Path, expected_sha256: str | None) -> str:
        """Loads a checkpoint, and its head if that is for as many classes; it has no bias."""
        heads = {"score.weight": self.head.weight}
        loaded = load_weights(self.backbone, path, expected_sha256=expected_sha256, heads=heads)
        self.head_is_loaded = loaded.heads.get("score.weight") == tuple(self.head.weight.shape)
        if self.head_is_loaded:
            nn.init.zeros_(self.head.bias)
        return loaded.sha256

    def forward(self, input_ids: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) token ids and (B,) lengths to (B, num_classes) logits."""
        unknown = torch.full_like(lengths, -1)
        return self.logits(Batch(input_ids, lengths, unknown, unknown))

    def logits(self, batch: Batch, split: str | None = None) -> Tensor:
        """Classifies a batch; see :meth:`~llm_lightning.tasks.task.Task.hidden`.

        Returns:
            (B, num_classes) logits.
        """
        hidden, read = self.hidden(batch, split)
        if read.positions is None:
            vector = reading.mean(hidden, batch.lengths, self.options.position)
        else:
            vector = hidden[:, 0]
        return cast(Tensor, self.head(self.head_dropout(vector)))  # of (B, C)

    def reading(self, batch: Batch) -> Reading:
        """Leaves out the padding that makes no difference; see :class:`Task`."""
        position, causal = self.options.position, self.backbone.config.causal
        is_masked, lengths, input_ids = self.options.mask_padding, batch.lengths, batch.input_ids
        widths = lengths
        if reading.needs_padding(position, causal=causal, is_masked=is_masked):
            widths = torch.full_like(lengths, input_ids.shape[1])
        elif position == "first" and causal:
            widths = torch.ones_like(lengths)  # nothing behind it is seen
        input_ids = input_ids[:, : int(widths.max())]
        T = input_ids.shape[1]
        hides = is_masked and reading.sees_padding(position, causal=causal)
        return Reading(
            input_ids,
            reading.real_tokens(lengths, T) if hides else None,
            widths,
            reading.positions_read(lengths, T, position),
            torch.ones_like(lengths),
        )

    def why_not_cached(self) -> str | None:
        """Padding that is read, or seen, is not the same in every batch if batches differ."""
        padding = self.hparams["text"]["padding"]
        needs_padding = reading.needs_padding(
            self.options.position,
            causal=self.backbone.config.causal,
            is_masked=self.options.mask_padding,
        )
        if padding == "batch" and needs_padding:
            return (
                f"with data.padding=batch, task.position={self.options.position} and "
                f"task.mask_padding={str(self.options.mask_padding).lower()} the states of an "
                f"example depend on its batch"
            )
        return None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the batch's summed loss, which the step divides by all of its examples."""
        B = len(batch.labels)
        logits = self.logits(batch, "train")
        total = F.cross_entropy(
            logits,
            batch.labels,
            weight=self.class_weights,
            label_smoothing=self.options.label_smoothing,
            reduction="sum",
        )
        weight = (
            float(B)
            if self.class_weights is None
            else self.class_weights[batch.labels].sum().item()
        )
        # Logged as it is evaluated, so that the two curves of a plot speak of the same thing.
        loss, _ = self._update("train", logits.detach(), batch.labels)
        self.log_batch_loss(loss)
        return self.share_of_step(total, weight)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds a batch to the validation metrics."""
        self._update("val", self.logits(batch, "val"), batch.labels)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Adds a batch to one of ``EVALUATED``; returns (B, num_classes) probabilities."""
        split = EVALUATED[dataloader_idx]
        return self._update(split, self.logits(batch, split), batch.labels)[1]

    def on_train_epoch_end(self) -> None:
        """Logs the running loss and metrics of the epoch."""
        super().on_train_epoch_end()
        values = self._metrics("train").compute_and_reset()
        values["epoch_loss"] = values.pop("loss")  # a step's loss has the shorter name
        self.log_dict({f"train/{name}": value for name, value in values.items()})

    def on_validation_epoch_end(self) -> None:
        """Logs loss and metrics of the validation split."""
        self._log("val")

    def on_test_epoch_end(self) -> None:
        """Logs the final loss and metrics of all three splits."""
        for split in EVALUATED:
            self._log(split)

    def _update(self, split: str, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Adds (B, num_classes) logits to a split; returns their mean loss and probabilities."""
        # The loss is neither weighted nor smoothed, so that runs with different objectives can be
        # compared. Half precision would round probabilities to a few hundred values.
        logits = logits.float()
        losses = F.cross_entropy(logits, labels, reduction="none")
        probabilities = logits.softmax(dim=-1)
        self._metrics(split).update(losses, probabilities, labels)
        return losses.mean(), probabilities

    def _log(self, split: str) -> None:
        values = self._metrics(split).compute_and_reset()
        self.log_dict({f"{split}/{name}": value for name, value in values.items()})

    def _metrics(self, split: str) -> ClassificationMetrics:
        return cast(ClassificationMetrics, self.metrics[f"{split}_metrics"])
