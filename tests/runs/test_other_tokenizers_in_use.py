"""Predictions and responses of a model that has a tokenizer of its own."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import small_tokenizers as small
import torch

from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.backbone.tokenizer import GPT2Tokenizer, Tokenizer
from llm_lightning.data.batching import Padder
from llm_lightning.data.prompts import Prompts, Record
from llm_lightning.evaluation import responses
from llm_lightning.runs import generation
from llm_lightning.runs.generation import decode_stream, stream_text
from llm_lightning.runs.prediction import predict
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.language_model import LanguageModel

SIZES = {"n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 96}
ALL = {"_target_": "llm_lightning.finetuning.strategies.AllLayers"}
TEXT = "A good film: 日本 🎉👍🏽, I'd see it again!\n\nToo."


def sizes(tokenizer: Tokenizer) -> dict[str, Any]:
    return SIZES | {"vocab_size": tokenizer.vocab_size}


def language_model(tokenizer: Tokenizer, style: str) -> LanguageModel:
    model = LanguageModel(
        task={"generation": {}}, model=sizes(tokenizer), finetune=ALL, optim={},
        text={"prompt_style": style}, seed=1,
    )  # fmt: skip
    assert model.tokenizer == GPT2Tokenizer()
    model.tokenizer = tokenizer
    return model.eval()


def test_predictions_put_the_models_special_tokens_around_a_text() -> None:
    tokenizer = small.word_piece()
    padder = Padder.of(tokenizer, max_length=8, padding="batch", truncate="start")
    model = Classifier(
        task={}, model=sizes(tokenizer), finetune=ALL, optim={}, class_names=["a", "b"],
        class_weights=None, text=asdict(padder), seed=1,
    )  # fmt: skip
    model.tokenizer = tokenizer
    texts = ["a good film", "", "a bad film, too long and too loud and too bad"]
    found = predict(model.eval(), texts)
    (cls,), (sep,) = tokenizer.prefix, tokenizer.suffix
    for text, prediction in zip(texts, found, strict=True):
        ids = torch.tensor([[cls, *tokenizer.encode(text)[-6:], sep]])
        with torch.inference_mode():
            expected = model(ids, torch.tensor([ids.shape[1]])).softmax(dim=-1)[0]
        assert list(prediction.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-6)
    assert [one.truncated for one in found] == [False, False, True]


@pytest.mark.parametrize(
    "tokenizer", [GPT2Tokenizer(), small.byte_level(), small.sentencepiece_like()]
)
def test_streamed_pieces_are_whole_characters(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(TEXT)
    pieces = list(decode_stream(ids, tokenizer))
    assert "".join(pieces) == TEXT
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
    assert len(pieces) > 10
    assert all(
        any(character in piece for piece in pieces) for character in ("日", "本", "🎉", "👍", "🏽")
    )


@pytest.mark.parametrize("tokenizer", [GPT2Tokenizer(), small.byte_level()])
def test_bytes_that_are_no_character_come_out_all_the_same(tokenizer: Tokenizer) -> None:
    first = tokenizer.encode("🎉")[:-1]
    for ids in (first, [*first, *tokenizer.encode("film")], [*tokenizer.encode("a"), *first]):
        assert "".join(decode_stream(ids, tokenizer)) == tokenizer.decode(ids)


def test_responses_stop_at_the_chat_templates_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = small.byte_level(small.CHATML)
    prompts = Prompts("chat", tokenizer)
    end = tokenizer.special_id("<|im_end|>")
    stops = []

    def remember(*args: Any, stop_id: int) -> Any:
        stops.append(stop_id)
        return [tokenizer.encode(" Blue")] * len(args[2])

    model = language_model(tokenizer, "chat")
    options = GenerationOptions(max_new_tokens=4)
    monkeypatch.setattr(responses, "generate", remember)
    written, _ = responses.generate_responses(
        model.backbone, model.head, [Record("Name a colour.")], prompts, options, tmp_path / "r"
    )
    assert written == ["Blue"]
    monkeypatch.setattr(
        generation, "stream_tokens", lambda *args, stop_id: stops.append(stop_id) or []
    )
    assert list(stream_text(model, Record("Name a colour."), options)) == []
    assert stops == [end, end]
