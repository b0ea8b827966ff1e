"""The precision in which a trained model answers."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch

from llm_lightning.backbone.generation import generate
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.backbone.weights import ModelConfig, Weights
from llm_lightning.run_format.run_facts import ResponseFacts
from llm_lightning.runs import responses
from llm_lightning.runs.terminal_output import print_response_scores
from llm_lightning.tasks.language_model import LanguageModel

TINY = {"n_layer": 2, "n_head": 2, "n_embd": 64, "n_positions": 64, "init": "gpt2"}
FINETUNE = "llm_lightning.finetuning."
CPU = torch.device("cpu")


def language_model(strategy: str, **fields: Any) -> LanguageModel:
    model = LanguageModel(
        task={"generation": {}}, model=TINY, finetune={"_target_": FINETUNE + strategy, **fields},
        optim={"lr": 1e-2}, text={}, seed=1,
    )  # fmt: skip
    model.load_base(ModelConfig(weights="random", **TINY), Weights("random", None))
    return model


@pytest.mark.parametrize(
    ("trained_in", "native", "expected"),
    [
        ("bf16-mixed", "bf16-mixed", torch.bfloat16),
        ("bf16-mixed", "32-true", torch.float32),
        ("32-true", "bf16-mixed", torch.float32),
    ],
)
def test_answers_are_in_bf16_where_the_run_was_and_the_device_is(
    monkeypatch: pytest.MonkeyPatch, trained_in: str, native: str, expected: torch.dtype
) -> None:
    monkeypatch.setattr(responses, "resolve", lambda precision, accelerator: native)
    model = responses.ready_to_generate(language_model("strategies.AllLayers"), CPU, trained_in)
    assert {parameter.dtype for parameter in model.parameters()} == {expected}
    assert responses.precision_of(model) == ("bf16" if expected == torch.bfloat16 else "fp32")
    assert model.head.weight is model.backbone.wte.weight
    assert not model.training


@pytest.mark.parametrize(("precision", "is_told"), [("bf16", True), ("fp32", False), (None, False)])
def test_responses_in_bf16_say_so(
    precision: str | None, is_told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = ResponseFacts(
        file="r.json", examples=1, scores={}, seconds=1, tokens_per_second=1, precision=precision
    )
    print_response_scores(facts)
    assert ("written with weights in bf16" in capsys.readouterr().out) is is_told


@pytest.mark.parametrize(
    "strategy",
    [
        "strategies.AllLayers",
        "adaptation.LoRA",
        pytest.param(
            "qlora.QLoRA",
            marks=pytest.mark.skipif(
                find_spec("bitsandbytes") is None, reason="bitsandbytes is missing"
            ),
        ),
    ],
)
def test_bf16_logits_are_near_those_in_full_precision(
    monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    monkeypatch.setattr(responses, "resolve", lambda precision, accelerator: "bf16-mixed")
    model = language_model(strategy).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    ids = torch.randint(50257, (3, 12))
    expected = model(ids)
    ready = responses.ready_to_generate(model, CPU, "bf16-mixed")
    found = ready(ids)
    assert found.dtype == torch.bfloat16
    # 8 bits of mantissa, through two blocks; of 1.8 million logits some deviate by more.
    error = (found.float() - expected).square().mean().sqrt()
    assert error < 0.01 * expected.std()
    options = GenerationOptions(max_new_tokens=5)
    answers = generate(ready.backbone, ready.head, [[1, 2, 3], [4]], options, stop_id=None)
    assert [len(answer) for answer in answers] == [5, 5]
