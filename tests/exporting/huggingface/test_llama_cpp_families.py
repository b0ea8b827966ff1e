"""llama.cpp computes, tokenizes and generates the same as runs with models of transformers."""

import json
from collections.abc import Callable
from functools import cache
from urllib.request import urlopen

import pytest
import torch
import xllamacpp
from exporting.huggingface.transformers_tasks import CONFIGS, byte_level, language_model
from exporting.llama_server import post, served
from exporting.tasks_to_export import lora

from llm_lightning.backbone.generation import generate
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.exporting.dense import dense
from llm_lightning.exporting.families import exporter_of
from llm_lightning.tasks.language_model import LanguageModel

TEXTS = [
    "ok", "see you at 7?", "I'm at the café, it's 12345 o'clock\n\n  naïve ☕ 日本語",
    " two  spaces ", "the <|end|> of it",
]  # fmt: skip
# With heads as wide as llama.cpp's kernels want them.
WIDE = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16, "initializer_range": 0.15}
# A family, and the kind of tokenizer that it usually has.
CASES = {
    "llama": ("smollm", False),
    "llama3": ("llama-bpe", True),
    "qwen2": ("qwen2", False),
    "qwen3": ("gpt-2", False),
}
Start = Callable[[str], tuple[LanguageModel, xllamacpp.Server]]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """A run and llama.cpp's server of its export."""

    @cache
    def started(family: str) -> tuple[LanguageModel, xllamacpp.Server]:
        split, has_start = CASES[family]
        config = CONFIGS[family] | WIDE
        if family == "qwen2":
            del config["head_dim"]
        model = {"config": config, "dropout": 0.0, "context_length": None, "init": "transformers"}
        task = language_model(
            family, lora(), model=model, tokenizer=byte_level(split, has_start=has_start)
        )
        file = tmp_path_factory.mktemp("gguf") / "m.gguf"
        exporter_of(task).write_gguf(dense(task), file, family, "f16")
        return task, served(file, 64)

    return started


@pytest.mark.parametrize("family", CASES)
@torch.no_grad()
def test_tokens_and_probabilities_are_the_runs(start: Start, family: str) -> None:
    task, server = start(family)
    prompt = [5, 70, 270, 33, 8, 140, 299, 61, 17]
    answer = post(server, "/completion", {
        "prompt": prompt, "n_predict": 8, "n_probs": 300, "return_tokens": True, "temperature": 0.0,
        "repeat_penalty": 1.0, "cache_prompt": False,
    })  # fmt: skip
    tokens = answer["tokens"]
    options = GenerationOptions(max_new_tokens=8)
    expected = generate(task.backbone, task.head, [prompt], options, stop_id=task.tokenizer.end_id)
    assert tokens == expected[0]
    ours = task(torch.tensor([prompt + tokens]))[0].log_softmax(dim=-1)
    assert ours.std() > 0.5
    assert answer["completion_probabilities"]
    for found in answer["completion_probabilities"]:  # one a whole character, at any position
        theirs = {entry["id"]: entry["logprob"] for entry in found["top_logprobs"]}
        rows = ours[len(prompt) - 1 :, list(theirs)]
        differences = (rows - torch.tensor(list(theirs.values()))).abs().amax(dim=1)
        # llama.cpp rounds activations to 16 bits too; other positions differ by several.
        assert differences.min() < 0.15


@pytest.mark.parametrize("family", CASES)
def test_the_tokenizer_in_the_file_is_the_runs(start: Start, family: str) -> None:
    task, server = start(family)
    tokenizer = task.tokenizer
    for text in TEXTS:
        for special in (False, True):
            body = {"content": text, "add_special": special, "parse_special": False}
            ids = post(server, "/tokenize", body)["tokens"]
            assert ids == [*(tokenizer.prefix if special else ()), *tokenizer.encode(text)], text
    with urlopen(server.listening_address + "/props") as answer:
        assert json.load(answer)["eos_token"] == "<|end|>"
