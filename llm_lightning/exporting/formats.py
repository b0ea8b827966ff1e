"""The formats: their libraries, how each is written and loaded again."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.exporting import verification
from llm_lightning.exporting.dense import Dense, rebuilt
from llm_lightning.exporting.exporter import Exporter
from llm_lightning.exporting.families import exporter_of
from llm_lightning.exporting.modelfile import MODELFILE, modelfile
from llm_lightning.exporting.onnx_model import INT8, onnx_logits, write_onnx
from llm_lightning.exporting.run_prompts import prompts_of
from llm_lightning.presentation.extras import require
from llm_lightning.tasks.finetuned_model import FineTunedModel

_LIBRARIES = {
    "hf": ("transformers",),
    "peft": ("peft", "transformers"),
    "merged": (),
    "gguf": ("gguf",),
    "onnx": ("onnx", "onnxruntime", "onnxscript", "transformers"),
}
LOSSY = ("gguf", INT8)
"""Formats and files whose weights are rounded: their logits differ."""
FORMATS = tuple(_LIBRARIES)


def check_installed(kind: str) -> None:
    """Refuses a format whose libraries are missing.

    Args:
        kind: one of ``FORMATS``.

    Raises:
        ValueError: naming them and the line that installs them.
    """
    extra = "onnx" if kind == "onnx" else "export"
    require(f"--format {kind}", {name: name for name in _LIBRARIES[kind]}, extra)


def write(
    task: FineTunedModel,
    model: Dense,
    kind: str,
    folder: Path,
    quantizations: Sequence[str],
    name: str,
    quantize: str | None = None,
) -> dict[str, list[Tensor]]:
    """Writes a model and loads it again.

    Args:
        task: accepted by :func:`~suitability.check_can`.
        model: its plain weights, adapters merged.
        kind: one of ``FORMATS``.
        folder: to write into.
        quantizations: of ``gguf``.
        name: of the run.
        quantize: of ``onnx``: ``int8`` or ``None``.

    Returns:
        Logits of the samples by what computed them; see :func:`~verification.logits_of`.

    Raises:
        ValueError: if the other library reports missing or unexpected parameters.
    """
    exporter = exporter_of(task)
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "gguf":
        return _write_gguf(task, exporter, model, folder, quantizations, name)
    if kind == "onnx":
        files = write_onnx(task, model, folder, quantize)
        exporter.write_tokenizer(folder)
        return {f"ONNX Runtime, {file.name}": onnx_logits(task, file) for file in files}
    if kind == "peft":
        exporter.write_peft(model, folder)
        return {"PEFT, on the base": exporter.peft_logits(folder)}
    logits = {}
    if kind == "hf":
        exporter.write_transformers(model, folder)
        logits["transformers"] = exporter.transformers_logits(folder)
    else:
        exporter.write_merged(model, folder)
    if kind == "merged" or not exporter.head_code():
        again = exporter.reloaded(folder)
        logits["model.weights=<this folder>"] = verification.logits_of(again)
    return logits


def _write_gguf(
    task: FineTunedModel,
    exporter: Exporter,
    model: Dense,
    folder: Path,
    quantizations: Sequence[str],
    name: str,
) -> dict[str, list[Tensor]]:
    files = [folder / f"model-{quantization}.gguf" for quantization in quantizations]
    logits = {}
    for file, quantization in zip(files, quantizations, strict=True):
        exporter.write_gguf(model, file, name, quantization)
        again = rebuilt(task, exporter.read_gguf(file, model))
        logits[f"{file.name}, dequantized"] = verification.logits_of(again)
    options = GenerationOptions(**task.hparams["task"]["generation"])
    prompts = prompts_of(task)
    text = modelfile(
        files[0].name,
        None if prompts is None else prompts.style,
        options,
        task.backbone.context_length,
        exporter.end_of_text(),
        exporter.start_of_text(),
    )
    (folder / MODELFILE).write_text(text, encoding="utf-8")
    return logits
