"""A few responses after every epoch, which show what the loss means."""

from collections.abc import Sequence
from dataclasses import replace

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger

from llm_lightning.backbone.generation import generate
from llm_lightning.data.instructions import Instructions
from llm_lightning.data.prompts import Prompts
from llm_lightning.distributed.sharding import is_sharded
from llm_lightning.evaluation.responses import prompt_tokens
from llm_lightning.presentation.markdown import literal, table
from llm_lightning.tasks.language_model import LanguageModel


class SampleResponses(L.Callback):
    """Logs responses to some validation records as a text in TensorBoard after each epoch.

    Args:
        num_samples: how many records, from the first; at least 1.
        max_new_tokens: longest response, in tokens.

    Raises:
        ValueError: if ``num_samples`` is below 1.
    """

    def __init__(self, num_samples: int = 4, max_new_tokens: int = 64) -> None:
        if num_samples < 1:
            raise ValueError(
                f"callbacks.sample_responses.num_samples must be at least 1, got {num_samples}"
            )
        self._num_samples = num_samples
        self._max_new_tokens = max_new_tokens

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Generates and logs the responses."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, Instructions) or not isinstance(pl_module, LanguageModel):
            return
        if not trainer.is_global_zero and not is_sharded(pl_module):
            return  # it logs nothing; sharded blocks need it all the same
        backbone, head = pl_module.backbone, pl_module.head
        records = data.records["val"][: self._num_samples]
        options = replace(pl_module.options.generation, max_new_tokens=self._max_new_tokens)
        look = Prompts(data.prompt_style, data.tokenizer)
        prompts = [
            prompt_tokens(record, look, backbone.context_length, options) for record in records
        ]
        rows = generate(backbone, head, prompts, options, stop_id=look.stop_id)
        text = responses_table(
            [
                (record.instruction, record.input, record.output, data.tokenizer.decode(tokens))
                for record, tokens in zip(records, rows, strict=True)
            ]
        )
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("val/responses", text, trainer.global_step)


def responses_table(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """Returns a Markdown table of instructions, inputs, references and responses.

    Args:
        rows: the four texts of each row, which are shown literally.
    """
    header = ("instruction", "input", "reference", "response")
    cells = [list(map(literal, row)) for row in rows]
    return table(header, cells, left=range(len(header)))
