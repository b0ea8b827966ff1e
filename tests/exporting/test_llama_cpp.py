"""llama.cpp computes and generates the same as the run."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.request import urlopen

import pytest
import torch
import xllamacpp
from exporting.llama_server import post, served
from exporting.test_tokenizer_files import TEXTS

from llm_lightning.backbone.generation import generate
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.backbone.tokenizer import GPT2Tokenizer, encode
from llm_lightning.backbone.weights import ModelConfig, locate
from llm_lightning.data.prompts import Prompts, Record
from llm_lightning.exporting.dense import dense
from llm_lightning.exporting.gpt2.gguf_files import write_gguf
from llm_lightning.tasks.language_model import LanguageModel

NANO = {"n_layer": 6, "n_head": 4, "n_embd": 128, "n_positions": 512}
PROMPTS = (
    encode("Once upon a time"),
    encode("The capital of France is"),
    encode("naïve café ☕ 日本語"),
    encode("I'm at the station.\n\nShe said"),
    Prompts("alpaca", GPT2Tokenizer()).prompt_ids(Record("Name a colour."), 512),
)
NUM_TOKENS = 24
VOCABULARY = 50257
GREEDY = {"temperature": 0.0, "repeat_penalty": 1.0, "cache_prompt": False}

Start = Callable[[bool, str], tuple[LanguageModel, xllamacpp.Server]]


def model(*, tie_weights: bool) -> LanguageModel:
    """The packaged nano, which writes varied words; an untied head is moved a little."""
    config = ModelConfig(name="nano", packaged="nano", **NANO)
    made = LanguageModel(
        task={"tie_weights": tie_weights, "generation": {}}, model=config.architecture(),
        finetune={"_target_": "llm_lightning.finetuning.strategies.AllLayers"}, optim={},
        text={"prompt_style": "alpaca"}, seed=1,
    )  # fmt: skip
    made.load_base(config, locate(config))
    if not tie_weights:
        with torch.no_grad():
            made.head.weight += 0.01 * torch.randn_like(made.head.weight)
    return made.eval()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """A run and llama.cpp's server of its export, for a kind of head and a quantization."""

    @cache
    def started(tie_weights: bool, quantization: str) -> tuple[LanguageModel, xllamacpp.Server]:
        file = tmp_path_factory.mktemp("gguf") / "m.gguf"
        task = model(tie_weights=tie_weights)
        write_gguf(dense(task), file, "nano", quantization)
        return task, served(file, 512)

    return started


def complete(server: xllamacpp.Server, prompt: list[int], num: int, top: int) -> dict[str, Any]:
    """Greedy ``tokens``, and of whole characters ``completion_probabilities`` of the best."""
    return dict(post(server, "/completion", {
        "prompt": prompt, "n_predict": num, "n_probs": top, "return_tokens": True, **GREEDY,
    }))  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["f16", "q8_0"])
@pytest.mark.parametrize("tie_weights", [True, False])
@torch.no_grad()
def test_greedy_tokens_and_probabilities_are_the_runs(
    start: Start, tie_weights: bool, quantization: str
) -> None:
    # llama.cpp rounds activations to the weights' precision too; these logits spread by 2.8.
    tolerance = 0.1 if quantization == "f16" else 1.0
    task, server = start(tie_weights, quantization)
    options = GenerationOptions(max_new_tokens=NUM_TOKENS)
    num_compared = 0
    for prompt in PROMPTS:
        ours = task(torch.tensor([prompt]))[0].log_softmax(dim=-1)
        for length in range(1, len(prompt) + 1):
            top = VOCABULARY if length == len(prompt) else 20
            answer = complete(server, prompt[:length], 1, top)
            for found in answer.get("completion_probabilities", ()):
                theirs = {entry["id"]: entry["logprob"] for entry in found["top_logprobs"]}
                assert len(theirs) == top
                difference = ours[length - 1, list(theirs)] - torch.tensor(list(theirs.values()))
                assert difference.abs().max() < tolerance
                num_compared += 1
        (expected,) = generate(task.backbone, task.head, [prompt], options)
        got = complete(server, prompt, NUM_TOKENS, 0)["tokens"]
        # Two logits may be closer to each other than eight bits are to the weight.
        same = len(expected) if quantization == "f16" else 4
        assert got[:same] == expected[:same]
    assert num_compared > 0.8 * sum(map(len, PROMPTS))


def test_the_tokenizer_in_the_file_is_ours(start: Start) -> None:
    _, server = start(True, "f16")
    for text in TEXTS:
        plain = {"content": text, "add_special": False, "parse_special": False}
        ids = post(server, "/tokenize", plain)["tokens"]
        assert ids == encode(text), text
        assert post(server, "/detokenize", {"tokens": ids})["content"] == text
    with urlopen(server.listening_address + "/props") as answer:
        assert json.load(answer)["eos_token"] == "<|endoftext|>"
