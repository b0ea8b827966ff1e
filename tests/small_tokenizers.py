"""Fast tokenizers of the usual kinds, trained on a few sentences."""

import json
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from llm_lightning.backbone.huggingface.tokenizer import FastTokenizer

SENTENCES = [
    "Name a colour of the sky. The sky is blue, and the grass is green.",
    "What is the plural of mouse? The plural of mouse is mice.",
    "You are a helpful assistant that answers in few words.",
    "A good film: I would see it again. A bad film, too long and too loud!",
]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As SmolLM2's, which adds a system message of its own.
CHATML_WITH_DEFAULT = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are small.<|im_end|>\n"
    "{% endif %}" + CHATML
)
# As Qwen3's: text before the last message of the assistant alone.
CHATML_THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if loop.last and m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
)
# As Gemma's: no system message, and the beginning of a text is part of the template.
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<|im_end|>\n{% endfor %}"
)
# As Llama 2's: the system message within the first instruction, spaces around messages.
LLAMA = (
    "{% if messages[0].role == 'system' %}"
    "{% set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}[INST] "
    "{% if loop.first %}{{ system }}{% endif %}{{ m.content }} [/INST]"
    "{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
# As that of an early base model: no special token after a message.
PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def byte_level(template: str | None = None, *, with_bos: bool = False) -> FastTokenizer:
    """Byte-level BPE, as GPT-2's; with ``<s>`` before a text, as Llama 3's, if wanted."""
    special = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet,
                                       special_tokens=special, show_progress=False)
    )  # fmt: skip
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    if with_bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
        )
    return FastTokenizer(fast(backend, template))


def sentencepiece_like(template: str | None = None, *, rstrip: bool = False) -> FastTokenizer:
    """BPE with word boundaries as characters and bytes for what is unknown, as Llama 2's.

    Args:
        template: chat template.
        rstrip: whether ``<|im_end|>`` takes the white space after it, as tokens of Phi-3 do.
    """
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    special = ["<pad>", "<s>", "</s>", "<|im_start|>", "<unk>"]
    backend.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    )
    # The tokens of bytes are ordinary ones, which the trainer does not make.
    trained = json.loads(backend.to_str())["model"]
    vocabulary = trained["vocab"]
    vocabulary |= {f"<0x{byte:02X}>": len(vocabulary) + byte for byte in range(256)}
    merges = [tuple(merge) for merge in trained["merges"]]
    backend.model = models.BPE(
        vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )  # fmt: skip
    backend.add_special_tokens([AddedToken("<|im_end|>", rstrip=rstrip, normalized=False)])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    return FastTokenizer(fast(backend, template))


def word_piece() -> FastTokenizer:
    """WordPiece between ``[CLS]`` and ``[SEP]``, as BERT's: no end of text, no white space."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend.train_from_iterator(
        SENTENCES,
        trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False),
    )
    ids = [(token, backend.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=ids
    )
    # As in the files of sentence encoders: of no use to anyone who pads batches.
    backend.enable_truncation(8)
    backend.enable_padding(length=8)
    return FastTokenizer(
        PreTrainedTokenizerFast(
            tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
            sep_token="[SEP]", mask_token="[MASK]",
        )
    )  # fmt: skip


def fast(backend: Tokenizer, template: str | None = None, **tokens: Any) -> Any:
    """The tokenizer as transformers has it."""
    given = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"} | tokens
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=template,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        **given,
    )
