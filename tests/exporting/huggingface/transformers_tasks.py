"""Small tasks on models of transformers, with a tokenizer of each kind, as if trained."""

from functools import cache
from typing import Any

import torch
from exporting.tasks_to_export import ALL, moved
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from llm_lightning.backbone.huggingface.tokenizer import FastTokenizer
from llm_lightning.exporting.huggingface.gguf_tokenizer import _WORDS
from llm_lightning.exporting.samples import SAMPLES
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.language_model import LanguageModel

CONTEXT = 64
_SIZES: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": CONTEXT, "vocab_size": 320, "initializer_range": 0.2,
}  # fmt: skip
_GROUPED = _SIZES | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **_GROUPED, "tie_word_embeddings": False},
    "llama3": {
        "model_type": "llama", **_GROUPED, "hidden_act": "silu", "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8,
        },
    },
    "qwen2": {
        "model_type": "qwen2", **_SIZES, "num_attention_heads": 4, "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "qwen3": {"model_type": "qwen3", **_GROUPED, "tie_word_embeddings": True},
    "gemma3": {
        "model_type": "gemma3_text", **_GROUPED, "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    # Its final LayerNorm has a bias, into which that of a classifier can move.
    "gpt_neox": {"model_type": "gpt_neox", **_SIZES, "tie_word_embeddings": False},
    "bert": {"model_type": "bert", **_SIZES},
    "distilbert": {
        "model_type": "distilbert", "dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2,
        "max_position_embeddings": CONTEXT, "vocab_size": 320, "initializer_range": 0.2,
    },
    "modernbert": {
        "model_type": "modernbert", **_SIZES, "local_attention": 6, "pad_token_id": 0,
        "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3,
    },
}  # fmt: skip
ENCODERS = ("bert", "distilbert", "modernbert")
_SPLITS = {
    "smollm": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    ),
    "gpt-2": pre_tokenizers.ByteLevel(False),
    "qwen2": pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_WORDS % ""), "isolated"),
        pre_tokenizers.ByteLevel(False, use_regex=False),
    ]),
    "llama-bpe": pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_WORDS % "{1,3}"), "isolated"),
        pre_tokenizers.ByteLevel(False, use_regex=False),
    ]),
}  # fmt: skip


@cache
def byte_level(split: str = "smollm", *, has_start: bool = False) -> FastTokenizer:
    """Byte-pair encoding with a token that ends a text, and perhaps one that starts it."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=split == "llama-bpe"))
    tokenizer.pre_tokenizer = _SPLITS[split]
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        SAMPLES,
        trainers.BpeTrainer(
            vocab_size=310, special_tokens=["<|start|>", "<|end|>"], initial_alphabet=alphabet,
            show_progress=False,
        ),
    )  # fmt: skip
    if has_start:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|start|> $A", special_tokens=[("<|start|>", 0)]
        )
    return FastTokenizer(
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, eos_token="<|end|>", bos_token="<|start|>"
        )
    )


@cache
def word_pieces() -> FastTokenizer:
    """BERT's kind, with special tokens around a text."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(
        SAMPLES,
        trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return FastTokenizer(
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
            sep_token="[SEP]",
        )
    )  # fmt: skip


def architecture(family: str) -> dict[str, Any]:
    return {
        "config": CONFIGS[family], "dropout": 0.0, "context_length": None, "init": "transformers",
    }  # fmt: skip


def classifier(
    family: str, finetune: dict[str, Any] = ALL, num_classes: int = 3, **fields: Any
) -> Classifier:
    tokenizer = fields.pop("tokenizer", word_pieces() if family in ENCODERS else byte_level())
    text = {
        "max_length": 40, "padding": "batch", "prefix": list(tokenizer.prefix),
        "suffix": list(tokenizer.suffix), "pad_id": tokenizer.pad_id, "end_id": tokenizer.end_id,
    }  # fmt: skip
    defaults: dict[str, Any] = {
        "task": {"mask_padding": True},
        "model": architecture(family),
        "finetune": finetune,
        "optim": {},
        "class_names": [f"class {index}" for index in range(num_classes)],
        "class_weights": None,
        "text": text,
        "seed": 1,
    }
    return _with_tokenizer(Classifier(**defaults | fields), tokenizer)


def language_model(
    family: str, finetune: dict[str, Any] = ALL, *, tie_weights: bool | None = None, **fields: Any
) -> LanguageModel:
    tokenizer = fields.pop("tokenizer", byte_level())
    if tie_weights is None:
        tie_weights = CONFIGS[family].get("tie_word_embeddings", True)
    defaults: dict[str, Any] = {
        "task": {"tie_weights": tie_weights, "generation": {}},
        "model": architecture(family),
        "finetune": finetune,
        "optim": {},
        "text": {"prompt_style": "alpaca"},
        "seed": 1,
    }
    return _with_tokenizer(LanguageModel(**defaults | fields), tokenizer)


@torch.no_grad()
def _with_tokenizer(task: Any, tokenizer: FastTokenizer) -> Any:
    task.tokenizer = tokenizer
    return moved(task)
