"""Whether an export computes the same as the run: the largest difference of logits."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llm_lightning.exporting.libraries import quiet
from llm_lightning.exporting.samples import sample_batch
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.text_classifier import TextClassifier

TOLERANCE = 1e-3
"""Largest difference of logits allowed for a format in full precision."""


@dataclass
class LogitDifference:
    """How far logits are from the run's."""

    what: str
    """What computed them."""
    difference: float
    """The largest absolute one; NaN if any logit is."""
    limit: float
    """The largest allowed; infinite if it need only be finite."""
    same_top: tuple[int, int] | None = None
    """In how many places the most likely class or token is the run's, and of how many; ``None``
    where the logits are the same."""

    def text(self) -> str:
        """Returns it as a line."""
        line = f"{self.what}: {self.difference:.1e}"
        if self.same_top is None:
            return line
        same, total = self.same_top
        return f"{line}; the top choice is the same in {same} of {total} places of the sample texts"

    @property
    def is_close(self) -> bool:
        """Whether the difference is within its limit; NaN and infinity never are."""
        return math.isfinite(self.difference) and self.difference <= self.limit


@torch.no_grad()
def logits_of(task: FineTunedModel) -> list[Float[Tensor, "..."]]:
    """Returns each sample's logits: (classes,) of a classifier, (tokens, V) of a language model."""
    ids, lengths = sample_batch(task)
    if isinstance(task, TextClassifier):
        return list(task(ids, lengths))
    return _unpadded(task(ids), lengths)


@torch.no_grad()
def transformers_logits(model: nn.Module, task: FineTunedModel) -> list[Float[Tensor, "..."]]:
    """Returns the same of a transformers model, with its own treatment of padding.

    Args:
        model: a transformers model.
        task: the run's, for the length of the samples and the kind of model.
    """
    ids, lengths = sample_batch(task)
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    logits = model(input_ids=ids, attention_mask=mask).logits
    return list(logits) if isinstance(task, TextClassifier) else _unpadded(logits, lengths)


def largest_difference(
    ours: list[Float[Tensor, "..."]], theirs: list[Float[Tensor, "..."]]
) -> float:
    """Returns the largest absolute difference; NaN if any logit is.

    Args:
        ours: logits of each sample.
        theirs: of the same shapes.
    """
    pairs = zip(ours, theirs, strict=True)
    # torch's max propagates NaN, Python's does not.
    return float(torch.stack([(a.float() - b.float()).abs().max() for a, b in pairs]).max())


def same_top_choices(
    ours: list[Float[Tensor, "..."]], theirs: list[Float[Tensor, "..."]]
) -> tuple[int, int]:
    """Counts where the largest logit is at the same place, and all places.

    Args:
        ours: logits of each sample.
        theirs: of the same shapes.
    """
    pairs = list(zip(ours, theirs, strict=True))
    same = sum(int((a.argmax(dim=-1) == b.argmax(dim=-1)).sum()) for a, b in pairs)
    return same, sum(a.argmax(dim=-1).numel() for a, _ in pairs)


def from_pretrained(kind: Any, folder: Path, *, is_whole: bool = True, **options: Any) -> Any:
    """Loads a folder with transformers.

    Args:
        kind: a class of transformers.
        folder: with its files.
        is_whole: whether the folder must have every parameter, and no others.
        options: of ``from_pretrained``.

    Raises:
        ValueError: if transformers reports missing or unexpected keys.
    """
    with quiet():
        from transformers import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # loading takes no time
        model, info = kind.from_pretrained(folder, output_loading_info=True, **options)
    if is_whole and (wrong := {key: value for key, value in info.items() if value}):
        raise ValueError(f"transformers does not load {folder.name} as it is: {wrong}")
    return model.eval()


def with_adapters(base: nn.Module, folder: Path) -> nn.Module:
    """Loads an exported adapter with PEFT.

    Args:
        base: a transformers model, which changes.
        folder: the adapter's.
    """
    with quiet():
        import peft

        model: Any = base
        loaded: nn.Module = peft.PeftModel.from_pretrained(model, folder).eval()
    return loaded


def _unpadded(
    logits: Float[Tensor, "B T V"], lengths: Int[Tensor, " B"]
) -> list[Float[Tensor, "T_own V"]]:
    return [row[:length] for row, length in zip(logits, lengths, strict=True)]
