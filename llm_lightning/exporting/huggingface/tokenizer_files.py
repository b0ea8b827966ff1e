"""A model's tokenizer beside its weights, set to encode texts as the run did."""

import json
from pathlib import Path
from typing import Any

from llm_lightning.backbone.huggingface.quiet import quiet
from llm_lightning.exporting.samples import SAMPLES, max_length, sample_rows
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.text_classifier import TextClassifier


def write_tokenizer(task: FineTunedModel, folder: Path) -> None:
    """Writes the tokenizer's files.

    Raises:
        ValueError: if transformers encodes texts otherwise with them than the run.
    """
    task.tokenizer.save(folder)
    loaded = _loaded(folder)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config |= {"model_max_length": max_length(task), "padding_side": "right"}
    if loaded.pad_token_id != task.tokenizer.pad_id:
        config["pad_token"] = loaded.convert_ids_to_tokens(task.tokenizer.pad_id)
    if isinstance(task, TextClassifier):
        # A special token in a text is plain text, as in training. Saving does not keep this.
        config["split_special_tokens"] = True
        if task.hparams["text"].get("truncate") == "start":
            config["truncation_side"] = "left"
    text = json.dumps(config, indent=2, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")
    with quiet():  # also of a text that is longer than the limit
        _check(task, _loaded(folder))


def _loaded(folder: Path) -> Any:
    from transformers import AutoTokenizer

    with quiet():
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _check(task: FineTunedModel, tokenizer: Any) -> None:
    for text, expected in zip(SAMPLES, sample_rows(task), strict=True):
        if isinstance(task, TextClassifier):
            ids = tokenizer(text)["input_ids"]
        else:  # where a prompt ends, no special token follows
            ids = [*task.tokenizer.prefix, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        if len(ids) <= max_length(task) and ids != expected:
            raise ValueError(
                f"the exported tokenizer encodes {text!r} as {ids}, the run as {expected}"
            )
