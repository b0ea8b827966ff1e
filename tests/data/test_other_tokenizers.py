"""Data for models with tokenizers of their own: special tokens, padding, ends of texts."""

import json
from pathlib import Path
from typing import Any

import pytest
import small_tokenizers as small

from llm_lightning.backbone.tokenizer import GPT2Tokenizer
from llm_lightning.data.instructions import Instructions
from llm_lightning.data.module import DataModule
from llm_lightning.data.table import Table
from llm_lightning.data.text import TextFiles

WORDS = [
    "A",
    "good",
    "film",
    "I",
    "would",
    "see",
    "again",
    "and",
    "a",
    "bad",
    "film",
    "too",
    "long",
]


def ready(data: Any, tokenizer: Any, context_length: int = 64) -> Any:
    data.prepare_data()
    data.use_model(tokenizer, context_length)
    data.setup()
    return data


@pytest.fixture
def table(tmp_path: Path) -> str:
    """20 texts of 3 to 12 words, of two classes."""
    rows = [f"{' '.join(WORDS[: 3 + i % 10])} {i},{'ab'[i % 2]}" for i in range(20)]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return str(path)


def test_without_a_model_data_are_for_gpt2(table: str) -> None:
    data: DataModule = Table(path=table)
    assert (data.tokenizer, data.context_length) == (GPT2Tokenizer(), 1024)
    assert Table(path=table).tokenizer is data.tokenizer


def test_texts_have_the_models_special_tokens_and_padding(table: str) -> None:
    tokenizer = small.word_piece()
    data = ready(Table(path=table), tokenizer)
    (batch,) = data.val_dataloader()
    assert batch.lengths.min() < batch.lengths.max()
    for row, length, text in zip(
        batch.input_ids.tolist(), batch.lengths.tolist(), data.splits.val["Text"], strict=True
    ):
        (cls,), (sep,) = tokenizer.prefix, tokenizer.suffix
        assert row[:length] == [cls, *tokenizer.encode(text), sep]
        assert set(row[length:]) <= {tokenizer.pad_id}


def test_the_longest_training_text_counts_its_special_tokens(table: str) -> None:
    tokenizer = small.word_piece()
    data = ready(Table(path=table), tokenizer)
    longest = max(len(tokenizer.encode(text)) for text in data.splits.train["Text"])
    assert data.padder.max_length == longest + 2
    assert data.facts()["splits"]["train"]["truncated"] == 0
    assert ready(Table(path=table), tokenizer, context_length=9).padder.max_length == 9


@pytest.mark.parametrize("truncate", ["end", "start", "middle"])
def test_special_tokens_survive_every_cut(table: str, truncate: str) -> None:
    tokenizer = small.word_piece()
    data = ready(Table(path=table, max_length=7, truncate=truncate), tokenizer)
    batch = next(iter(data.test_dataloader()[0]))
    cut = [row for row in batch.input_ids.tolist() if tokenizer.pad_id not in row]
    assert len(cut) > 5
    assert {(row[0], row[-1]) for row in cut} == {(*tokenizer.prefix, *tokenizer.suffix)}
    counts = [
        sum(len(tokenizer.encode(text)) > 5 for text in frame["Text"])
        for _, frame in data.splits.items()
    ]
    assert [split["truncated"] for split in data.facts()["splits"].values()] == counts
    named = f"longer texts lose their {truncate}" in data.describe()[3]
    assert named == (truncate != "end")


def test_the_treatment_of_texts_is_saved_as_plain_values(table: str) -> None:
    tokenizer = small.word_piece()
    data = ready(Table(path=table, max_length=7, truncate="middle"), tokenizer)
    text = data.task_arguments()["text"]
    assert (
        json.loads(json.dumps(text))
        == text
        == {
            "max_length": 7,
            "padding": "batch",
            "truncate": "middle",
            "prefix": list(tokenizer.prefix),
            "suffix": list(tokenizer.suffix),
            "pad_id": tokenizer.pad_id,
            "end_id": tokenizer.end_id,
        }
    )


def test_prompts_of_a_chat_model_end_with_its_own_token(tmp_path: Path) -> None:
    tokenizer = small.byte_level(small.CHATML)
    records = [{"instruction": "Name " * (1 + i), "output": "Blue"} for i in range(20)]
    (tmp_path / "records.json").write_text(json.dumps(records))
    path = str(tmp_path / "records.json")
    data = ready(Instructions(path=path, prompt_style="chat"), tokenizer, context_length=256)
    batch = next(iter(data.train_dataloader()))
    for row, labels, length in zip(
        batch.input_ids.tolist(), batch.labels.tolist(), batch.lengths.tolist(), strict=True
    ):
        assert labels[length - 1] == tokenizer.special_id("<|im_end|>")
        assert set(row[length:]) <= {tokenizer.pad_id}
        assert row[0] == tokenizer.special_id("<|im_start|>")
    assert batch.lengths.min() < batch.lengths.max()
    assert data.task_arguments()["text"]["prompt_style"] == "chat"
    with pytest.raises(ValueError, match=r"data\.prompt_style=chat needs a chat template"):
        ready(Instructions(path=path, prompt_style="chat"), GPT2Tokenizer())


def test_every_plain_text_is_between_the_models_beginning_and_end(tmp_path: Path) -> None:
    tokenizer = small.byte_level(with_bos=True)
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text(f"{name} good film")
    fields: dict[str, Any] = {"val_files": ["b.txt"], "test_files": ["c.txt"]}
    data = ready(TextFiles(path=str(tmp_path), **fields), tokenizer)
    (block,) = data.sequences["train"]
    whole = [*block.ids.tolist(), int(block.labels[-1])]
    assert whole == [*tokenizer.prefix, *tokenizer.encode("a good film"), tokenizer.end_id]
