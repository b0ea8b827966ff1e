"""A few answers after every epoch, so that one can read what the loss means."""

import html
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger

from llm_lightning.backbone.generation import generate
from llm_lightning.backbone.tokenizer import gpt2_encoding
from llm_lightning.data.instructions import Instructions
from llm_lightning.evaluation.responses import prompt_tokens


class SampleAnswers(L.Callback):
    """Writes answers to validation records to TensorBoard's text page after each epoch.

    Args:
        num_samples: how many records, from the first on; at least 1.
        max_new_tokens: longest answer, in tokens.
    """

    def __init__(self, num_samples: int = 4, max_new_tokens: int = 64) -> None:
        if num_samples < 1:
            raise ValueError(
                f"callbacks.sample_answers.num_samples must be at least 1, got {num_samples}"
            )
        self._num_samples = num_samples
        self._max_new_tokens = max_new_tokens

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Answers and logs."""
        model = cast(Any, pl_module)  # a LanguageModel, which lives a floor above
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, Instructions):
            return
        records = data.records["val"][: self._num_samples]
        options = replace(model.options.generation, max_new_tokens=self._max_new_tokens)
        n_positions = model.backbone.config.n_positions
        prompts = [prompt_tokens(r, data.prompt_style, n_positions, options) for r in records]
        answers = generate(model.backbone, model.head, prompts, options)
        table = answers_table(
            [
                (record.instruction, record.input, record.output, gpt2_encoding().decode(tokens))
                for record, tokens in zip(records, answers, strict=True)
            ]
        )
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("val/answers", table, trainer.global_step)


def answers_table(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """A table in Markdown of instruction, input, reference and answer, whatever they hold."""
    lines = ["| instruction | input | reference | answer |", "|---" * 4 + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(_cell, row))} |" for row in rows)])


def _cell(text: str) -> str:
    """A text as it stands: what means something in Markdown or HTML is shown instead."""
    shown = re.sub(r"([\\`*_\[\]|])", r"\\\1", html.escape(text.strip(), quote=False))
    return shown.replace("\n", "<br>")
