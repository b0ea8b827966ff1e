"""Advice never leads to a format that refuses the run, too."""

from typing import Any

import pytest
from exporting.tasks_to_export import ALL, TINY, classifier, language_model, lora

from llm_lightning.exporting.suitability import check_can, suited_formats
from llm_lightning.tasks.task import Task

NOT_CAUSAL = TINY | {"causal": False}
POOLING = (
    r"pools the last real token; this run has task\.pooling=mean_real: train with "
    r"task\.pooling=last_real to export to transformers, or use --format merged or "
    r"--format onnx$"
)


def mean(finetune: dict[str, Any] = ALL) -> Task:
    return classifier(finetune, task={"pooling": "mean_real"})


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (classifier(), ["hf", "merged", "onnx"]),
        (classifier(lora()), ["hf", "peft", "merged", "onnx"]),
        (mean(lora()), ["merged", "onnx"]),
        (classifier(model=NOT_CAUSAL), ["merged", "onnx"]),
        (language_model(), ["hf", "merged", "gguf", "onnx"]),
        (language_model(lora()), ["hf", "peft", "merged", "gguf", "onnx"]),
    ],
)
def test_formats_that_hold_a_run(task: Task, expected: list[str]) -> None:
    assert suited_formats(task) == expected
    for kind in expected:
        check_can(task, kind)


@pytest.mark.parametrize(
    ("task", "kind", "message"),
    [
        (
            classifier(),
            "gguf",
            "this run is a classifier: use --format hf or --format merged or --format onnx$",
        ),
        (mean(), "gguf", "this run is a classifier: use --format merged or --format onnx$"),
        (classifier(), "peft", "finetune=AllLayers .*: use --format hf or --format merged or"),
        (
            classifier(lora(targets=["head"], head="lora")),
            "peft",
            "--format peft needs adapters in the blocks; .* use --format hf or --format merged or",
        ),
        (mean(), "peft", "has none there: use --format merged or --format onnx$"),
        (mean(lora()), "peft", POOLING),
        (mean(), "hf", POOLING),
        (
            classifier(model=NOT_CAUSAL, task={"pooling": "last_real"}),
            "hf",
            r"model\.causal=false: use --format merged or --format onnx$",
        ),
    ],
)
def test_a_refusal_names_only_formats_that_hold_the_run(
    task: Task, kind: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_can(task, kind)
