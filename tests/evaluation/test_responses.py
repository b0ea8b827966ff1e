import json
from pathlib import Path

import pytest
import torch
from torch import nn

from llm_lightning.backbone.generation import generate
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.backbone.tokenizer import GPT2Tokenizer, gpt2_encoding
from llm_lightning.data.prompts import Prompts, Record, Turn
from llm_lightning.evaluation import responses as module
from llm_lightning.evaluation.responses import generate_responses, prompt_tokens

RECORDS = [
    Record("Name a colour.", output="Red is a colour."),
    Record("Spell it right.", "freind", "friend"),
    Record("What is the plural of mouse?", output="The plural of mouse is mice."),
    Record("And of house?", output="Houses.", history=(Turn("Plural of mouse?", "Mice."),)),
]
ALPACA = Prompts("alpaca", GPT2Tokenizer())
OPTIONS = GenerationOptions(max_new_tokens=5, batch_size=2, temperature=1.0)


@pytest.fixture
def network() -> tuple[GPT2, nn.Linear]:
    torch.manual_seed(0)
    backbone = GPT2(GPTConfig(n_layer=1, n_head=2, n_embd=8, n_positions=96))
    head = nn.Linear(8, 50257, bias=False)
    head.weight = backbone.wte.weight
    return backbone, head


def test_file_has_the_books_fields_and_the_references(
    network: tuple[GPT2, nn.Linear], tmp_path: Path
) -> None:
    file = tmp_path / "responses.json"
    responses, num_tokens = generate_responses(*network, RECORDS, ALPACA, OPTIONS, file)
    entries = json.loads(file.read_text())
    assert [entry["model_response"] for entry in entries] == responses
    assert num_tokens == len(RECORDS) * 5
    assert list(entries[1]) == ["instruction", "input", "output", "model_response"]
    assert entries[1]["output"] == "friend"
    assert entries[3]["history"] == [["Plural of mouse?", "Mice."]]
    assert [path.name for path in tmp_path.iterdir()] == ["responses.json"]


def test_responses_are_what_the_model_writes_after_each_prompt(
    network: tuple[GPT2, nn.Linear], tmp_path: Path
) -> None:
    greedy = GenerationOptions(max_new_tokens=5, batch_size=3)
    responses, _ = generate_responses(*network, RECORDS, ALPACA, greedy, tmp_path / "a.json")
    for record, response in zip(RECORDS, responses, strict=True):
        prompt = prompt_tokens(record, ALPACA, 96, greedy)
        (tokens,) = generate(*network, [prompt], greedy)
        assert response == gpt2_encoding().decode(tokens).strip()


def test_an_interrupted_call_continues_and_ends_the_same(
    network: tuple[GPT2, nn.Linear], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = generate_responses(*network, RECORDS, ALPACA, OPTIONS, tmp_path / "whole.json")
    calls = []

    def interrupted(*args: object, **options: object) -> list[list[int]]:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return generate(*args, **options)  # type: ignore[arg-type]

    file = tmp_path / "responses.json"
    monkeypatch.setattr(module, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate_responses(*network, RECORDS, ALPACA, OPTIONS, file)
    assert not file.exists()
    responses, num_tokens = generate_responses(*network, RECORDS, ALPACA, OPTIONS, file)
    assert len(calls) == 3, "one batch of two was left to do"
    assert num_tokens == 2 * 5
    assert responses == whole
    assert json.loads(file.read_text())[0]["model_response"] == whole[0]


def test_responses_made_with_other_options_are_not_continued(
    network: tuple[GPT2, nn.Linear], tmp_path: Path
) -> None:
    file = tmp_path / "responses.json"
    part = tmp_path / "responses.json.part"
    part.write_text('{"options": {}, "prompts": []}\n{"index": 0, "model_response": "old"}\n')
    responses, _ = generate_responses(*network, RECORDS, ALPACA, OPTIONS, file)
    assert "old" not in responses


def test_half_a_line_of_a_killed_process_is_generated_again(
    network: tuple[GPT2, nn.Linear], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "responses.json"
    whole, _ = generate_responses(*network, RECORDS, ALPACA, OPTIONS, tmp_path / "whole.json")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda self, **_: None)  # a copy of what a batch leaves
        generate_responses(*network, RECORDS, ALPACA, OPTIONS, file)
    part = tmp_path / "responses.json.part"
    text = part.read_text()
    part.write_text(text[: text.rindex('"model_response"') + 5])
    responses, _ = generate_responses(*network, RECORDS, ALPACA, OPTIONS, file)
    assert responses == whole


def test_prompts_leave_room_for_a_response_and_keep_the_instruction() -> None:
    record = Record("Count the words.", "word " * 200, "200")
    options = GenerationOptions(max_new_tokens=20)
    tokens = prompt_tokens(record, ALPACA, 96, options)
    assert len(tokens) == 96 - 20
    text = gpt2_encoding().decode(tokens)
    assert "Count the words." in text
    assert text.endswith("\n\n### Response:\n")
    assert len(prompt_tokens(record, ALPACA, 96, GenerationOptions(max_new_tokens=80))) == 48
