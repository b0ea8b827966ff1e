"""What a family of models offers to be exported and read again."""

from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from llm_lightning.exporting.dense import Dense
from llm_lightning.tasks.finetuned_model import FineTunedModel


class Objection(NamedTuple):
    """Why a format cannot hold a run."""

    reason: str
    remedy: str = ""
    """How to train a run that it can hold; empty if another format is the only way."""


@runtime_checkable
class Exporter(Protocol):
    """Writes one run's model, and reads what it wrote.

    ``model`` is always the run's model as plain weights, adapters merged; folders exist.
    """

    def description(self) -> str:
        """Returns architecture and size, for people."""

    def auto_class(self) -> str:
        """Returns the name of the class of transformers that loads the model."""

    def end_of_text(self) -> str:
        """Returns the token that ends a response, as text."""

    def start_of_text(self) -> str:
        """Returns the token that llama.cpp puts before a text, as text; empty if it does not."""

    def settings(self) -> str:
        """Returns those with which a classifier must be loaded again, beside its weights."""

    def head_code(self) -> str:
        """Returns Python that makes ``classify`` of ``model`` and ``tokenizer``.

        Empty if they need no head beside them.
        """

    def loading_options(self) -> dict[str, str]:
        """Returns arguments, as Python, with which the code on a card loads the model."""

    def objection(self, kind: str) -> Objection | None:
        """Returns why a format cannot hold the run, beside what all families have in common."""

    def write_merged(self, model: Dense, folder: Path) -> None:
        """Writes what ``model.weights=<folder>`` loads."""

    def write_transformers(self, model: Dense, folder: Path) -> None:
        """Writes what transformers loads, tokenizer included."""

    def write_peft(self, model: Dense, folder: Path) -> None:
        """Writes the adapters, and what they need beside their base."""

    def write_tokenizer(self, folder: Path) -> None:
        """Writes what transformers' ``AutoTokenizer`` loads, set to encode as the run did."""

    def write_gguf(self, model: Dense, file: Path, name: str, quantization: str) -> None:
        """Writes one file for llama.cpp."""

    def reloaded(self, folder: Path) -> FineTunedModel:
        """Loads a folder as ``model.weights=<folder>`` does."""

    def transformers_logits(self, folder: Path) -> list[Tensor]:
        """Returns the samples' logits by transformers, from a folder."""

    def peft_logits(self, folder: Path) -> list[Tensor]:
        """Returns the samples' logits by PEFT, with the adapters in a folder."""

    def read_gguf(self, file: Path, model: Dense) -> Dense:
        """Reads a file of :meth:`write_gguf`, dequantized to full precision."""
