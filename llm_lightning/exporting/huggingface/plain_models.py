"""transformers' own models around a plain backbone and its head, ready to be saved."""

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from llm_lightning.backbone.huggingface.generation import language_model
from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.backbone.huggingface.quiet import quiet
from llm_lightning.exporting.dense import Dense, rebuilt, with_bias_in_norm
from llm_lightning.exporting.run_prompts import stop_id
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.text_classifier import TextClassifier

SCORE = "score.weight"
"""Name of a classification head without a bias, as most decoders of transformers have it."""


def plain_model(task: FineTunedModel, model: Dense, final_norm: str | None = None) -> Any:
    """Returns the model of transformers that computes what the run computes.

    Args:
        task: the run's.
        model: its plain weights.
        final_norm: of a classifier: the name of the bias into which that of the head moves;
            ``None``: the model has no head.

    Returns:
        A language model, a classifier of the family's own class, or the base model alone.
    """
    if final_norm is not None:
        model = with_bias_in_norm(model, final_norm)
    plain = rebuilt(task, model)
    backbone = cast(TransformersBackbone, plain.backbone)
    _describe(backbone.config, task)
    if not isinstance(task, TextClassifier):
        backbone.config.tie_word_embeddings = model.is_tied
        made = language_model(backbone, plain.head)
        end, pad = stop_id(task), task.tokenizer.pad_id
        made.generation_config.update(
            bos_token_id=backbone.config.bos_token_id, eos_token_id=end, pad_token_id=pad
        )
        return made
    if final_norm is None:
        return backbone.model
    made = empty_classifier(backbone)
    setattr(made, made.base_model_prefix, backbone.model)
    made.score.weight = nn.Parameter(model.head)
    return made.eval()


def final_norm_bias(backbone: TransformersBackbone) -> str | None:
    """Returns the name in the backbone of the bias right before a linear head, if there is one."""
    final = backbone.final_modules()[-1:]
    if not final or not isinstance(final[0], nn.LayerNorm) or final[0].bias is None:
        return None
    return next(f"{name}.bias" for name, module in backbone.named_modules() if module is final[0])


def has_plain_score(backbone: TransformersBackbone) -> bool:
    """Whether the family's classifier is the base model and a head without a bias."""
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    if type(backbone.config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        return False
    made = empty_classifier(backbone)
    own = [n for n, _ in made.named_parameters() if not n.startswith(f"{made.base_model_prefix}.")]
    return own == [SCORE]


def empty_classifier(backbone: TransformersBackbone) -> Any:
    """Returns the family's classifier without any weights."""
    import transformers

    library: Any = transformers
    with torch.device("meta"), quiet():
        return library.AutoModelForSequenceClassification.from_config(
            backbone.config,
            dtype=torch.float32,
            attn_implementation=backbone.options["attn_implementation"],
        )


def output_embedding_name(made: Any) -> str:
    """Returns the name of a language model's head."""
    head, modules = made.get_output_embeddings(), dict(made.named_modules())
    return str(next(name for name, module in modules.items() if module is head))


def save(made: Any, folder: Path) -> None:
    """Writes ``model.safetensors``, ``config.json`` and, of a language model, its end of text."""
    with quiet():
        made.save_pretrained(folder, max_shard_size="1000GB")  # all in one file


def add_to_file(file: Path, tensors: dict[str, Tensor]) -> None:
    """Adds tensors to a file of weights."""
    from safetensors.torch import load_file, save_file

    save_file(load_file(file) | tensors, file, metadata={"format": "pt"})


def _describe(config: Any, task: FineTunedModel) -> None:
    """Adds to a configuration what the run decided."""
    config.pad_token_id = task.tokenizer.pad_id
    if isinstance(task, TextClassifier):
        names = task.hparams["class_names"]
        config.id2label = dict(enumerate(names))
        config.label2id = {name: index for index, name in enumerate(names)}
        config.problem_type = "single_label_classification"
