"""Graphs in ONNX compute what the run computes, for any number of texts of any length."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import onnx
import pytest
import torch
from exporting.huggingface import transformers_tasks as families
from exporting.tasks_to_export import TINY, classifier, code_of, language_model, lora, summary

from llm_lightning.exporting import formats
from llm_lightning.exporting.card import write_card
from llm_lightning.exporting.dense import dense
from llm_lightning.exporting.onnx_model import INT8, ONNX, session_of
from llm_lightning.exporting.samples import SAMPLES
from llm_lightning.exporting.suitability import objection, suited_formats
from llm_lightning.exporting.verification import (
    LogitDifference,
    largest_difference,
    logits_of,
    same_top_choices,
)
from llm_lightning.tasks.task import Task


@pytest.fixture(autouse=True)
def _lengths_may_be_symbols() -> Iterator[None]:
    """The exporter runs the network with symbols in place of numbers, which are no ``int``."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


TASKS: dict[str, Any] = {
    "classifier": lambda: classifier(lora(dora=True)),
    "mean": lambda: classifier(task={"pooling": "mean_real"}, num_classes=2),
    "language model": lambda: language_model(tie_weights=False),
    "encoder": lambda: families.classifier("bert", lora()),
    "decoder": lambda: families.language_model("llama", lora()),
}


def write(task: Task, folder: Path, quantize: str | None = None) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    return formats.write(task, dense(task), "onnx", folder, (), "my run", quantize)


@pytest.mark.parametrize(
    "name",
    [
        "classifier",
        *(pytest.param(name, marks=pytest.mark.slow) for name in TASKS if name != "classifier"),
    ],
)
def test_a_graph_computes_what_the_run_does(name: str, tmp_path: Path) -> None:
    task = TASKS[name]()
    (found,) = write(task, tmp_path).values()
    ours = logits_of(task)
    assert torch.cat([one.flatten() for one in ours]).std() > 0.1
    assert largest_difference(ours, found) < 1e-4
    onnx.checker.check_model(tmp_path / ONNX)
    session = session_of(tmp_path / ONNX)
    names = ["input_ids"] if "language" in name or name == "decoder" else None
    assert [one.name for one in session.get_inputs()] == (names or ["input_ids", "attention_mask"])
    for size, length in ((1, 1), (1, 9), (7, 3)):
        ids = np.full((size, length), 5)
        given = {one.name: ids if one.name == "input_ids" else np.ones_like(ids)
                 for one in session.get_inputs()}  # fmt: skip
        (logits,) = session.run(None, given)
        assert len(logits) == size
        lengths = torch.full((size,), length)
        tensors = torch.from_numpy(ids)
        with torch.no_grad():
            own = task(tensors) if names else task(tensors, lengths)
        np.testing.assert_allclose(logits, own.numpy(), atol=1e-4)


@pytest.mark.slow
def test_eight_bits_are_smaller_and_close(tmp_path: Path) -> None:
    task = classifier(model=TINY | {"n_embd": 64})
    whole, quantized = write(task, tmp_path, "int8").items()
    assert (whole[0], quantized[0]) == (f"ONNX Runtime, {ONNX}", f"ONNX Runtime, {INT8}")
    ours = logits_of(task)
    difference = largest_difference(ours, quantized[1])
    assert 1e-6 < difference < 0.5 * torch.stack(ours).std()
    sizes = [(tmp_path / name).stat().st_size for name in (INT8, ONNX)]
    assert sizes[0] < 0.3 * sizes[1]


@pytest.mark.slow
def test_the_code_on_the_card_classifies_as_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = classifier()
    write(task, tmp_path)
    write_card(tmp_path, "onnx", task, summary(), dense(task), [], {})
    names: dict[str, Any] = {}
    exec(code_of(tmp_path), names)
    assert "class 0" in capsys.readouterr().out
    found = [list(row.values()) for row in names["classify"](list(SAMPLES))]
    expected = torch.stack(logits_of(task)).softmax(dim=-1)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_only_what_does_not_depend_on_padding_is_exported() -> None:
    masked = classifier(task={"pooling": "mean_real", "mask_padding": True})
    assert "onnx" in suited_formats(masked)
    for pooling in ("mean", "last"):
        found = objection(classifier(task={"pooling": pooling}), "onnx")
        assert found is not None
        assert "depends on the padding" in found.reason


def test_top_choices_are_counted() -> None:
    ours = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0, 1.0], [0.0, 1.0]])]
    theirs = [torch.tensor([1.0, 0.0]), torch.tensor([[9.0, 1.0], [0.0, 0.1]])]
    assert same_top_choices(ours, theirs) == (2, 3)
    assert LogitDifference("x", 0.25, 1.0, (2, 3)).text() == (
        "x: 2.5e-01; the top choice is the same in 2 of 3 places of the sample texts"
    )


@pytest.mark.slow
def test_a_tokenizer_is_beside_the_graph(tmp_path: Path) -> None:
    write(classifier(), tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["model_max_length"] == 32
