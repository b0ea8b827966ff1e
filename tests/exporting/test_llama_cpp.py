"""llama.cpp writes the tokens that the run writes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from llm_lightning.backbone.generation import GenerationOptions, generate
from llm_lightning.backbone.tokenizer import encode
from llm_lightning.backbone.weights import ModelConfig, locate
from llm_lightning.data.prompts import Record, prompt_ids
from llm_lightning.exporting.dense import dense
from llm_lightning.exporting.gguf_files import write_gguf
from llm_lightning.tasks.language_model import LanguageModel

pytestmark = pytest.mark.slow

NANO = {"n_layer": 6, "n_head": 4, "n_embd": 128, "n_positions": 512}
PROMPTS = (
    "Once upon a time",
    "The capital of France is",
    "naïve café ☕ 日本語",
    "I'm at the station.\n\nShe said",
)
NUM_TOKENS = 24


def model(*, tie_weights: bool) -> LanguageModel:
    """The packaged nano, whose words are not all alike; an own head is moved a little."""
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


# llama.cpp brings activations to the weights' precision too; logits of these texts spread by 2.8.
@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize(("quantization", "tolerance"), [("f16", 0.05), ("q8_0", 1.0)])
def test_greedy_tokens_and_logits_are_the_runs(
    tie_weights: bool, quantization: str, tolerance: float, tmp_path: Path
) -> None:
    llama_cpp = pytest.importorskip(
        "llama_cpp", reason="llama-cpp-python, which has to be compiled, is not installed"
    )
    task = model(tie_weights=tie_weights)
    write_gguf(dense(task), tmp_path / "m.gguf", "nano", quantization)
    llama = llama_cpp.Llama(
        str(tmp_path / "m.gguf"), n_ctx=512, logits_all=True, verbose=False, n_threads=1
    )
    alpaca = prompt_ids(Record("Name a colour."), "alpaca", 512)
    for prompt in [*map(encode, PROMPTS), alpaca]:
        expected = generate(
            task.backbone, task.head, [prompt], GenerationOptions(max_new_tokens=NUM_TOKENS)
        )[0]
        llama.reset()
        llama.eval(prompt)
        ours = task(torch.tensor([prompt]))[0].detach().numpy()
        theirs = np.array(llama.scores[: len(prompt)])
        difference = np.abs(ours - theirs).max()
        assert difference < tolerance
        got = greedy(llama, prompt)[: len(expected)]
        if quantization == "f16":
            assert got == expected
        else:  # two tokens may be closer to each other than eight bits are to the weight
            assert got[:4] == expected[:4]


def greedy(llama: object, prompt: list[int]) -> list[int]:
    llama.reset()  # type: ignore[attr-defined]
    written: list[int] = []
    for token in llama.generate(prompt, temp=0.0, repeat_penalty=1.0):  # type: ignore[attr-defined]
        written.append(token)
        if len(written) == NUM_TOKENS:
            break
    return written


def test_the_tokenizer_in_the_file_reads_as_ours(tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip(
        "llama_cpp", reason="llama-cpp-python, which has to be compiled, is not installed"
    )
    from exporting.test_tokenizer_files import TEXTS

    write_gguf(dense(model(tie_weights=True)), tmp_path / "m.gguf", "nano", "f16")
    llama = llama_cpp.Llama(str(tmp_path / "m.gguf"), vocab_only=True, verbose=False)
    for text in TEXTS:
        ids = llama.tokenize(text.encode(), add_bos=False, special=False)
        assert ids == encode(text), text
        assert llama.detokenize(ids).decode() == text
    assert llama.token_eos() == 50256
