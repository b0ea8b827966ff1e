"""The formats: their libraries, how each is written and loaded again."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.exporting import gguf_files, peft_folder, transformers_folder, verification
from llm_lightning.exporting.dense import Dense, dense, rebuilt
from llm_lightning.exporting.modelfile import MODELFILE, modelfile
from llm_lightning.presentation.extras import require
from llm_lightning.tasks.task import Task

_LIBRARIES = {
    "hf": ("transformers",),
    "peft": ("peft", "transformers"),
    "merged": (),
    "gguf": ("gguf",),
}
FORMATS = tuple(_LIBRARIES)


def check_installed(kind: str) -> None:
    """Refuses a format whose libraries are missing.

    Args:
        kind: one of ``FORMATS``.

    Raises:
        ValueError: naming them and the line that installs them.
    """
    require(f"--format {kind}", {name: name for name in _LIBRARIES[kind]}, "export")


def write(
    task: Task, model: Dense, kind: str, folder: Path, quantizations: Sequence[str], name: str
) -> dict[str, list[Tensor]]:
    """Writes a model and loads it again.

    Args:
        task: accepted by :func:`~suitability.check_can`.
        model: its plain weights, adapters merged.
        kind: one of ``FORMATS``.
        folder: to write into.
        quantizations: of ``gguf``.
        name: of the run.

    Returns:
        Logits of the samples by what computed them; see :func:`~verification.logits_of`.

    Raises:
        ValueError: if the other library reports missing or unexpected parameters.
    """
    if kind == "gguf":
        return _write_gguf(task, model, folder, quantizations, name)
    if kind == "peft":
        peft_folder.write_peft(task, model, folder)
        theirs = verification.through_peft(task, dense(task, merge=False), folder)
        return {"PEFT, on the base": verification.transformers_logits(theirs, task)}
    logits = {}
    if kind == "hf":
        transformers_folder.write_transformers(task, model, folder)
        theirs = verification.through_transformers(task, folder)
        logits["transformers"] = verification.transformers_logits(theirs, task)
    else:
        transformers_folder.write_merged(task, model, folder)
    again = verification.reloaded(task, folder)
    return logits | {"model.weights=<this folder>": verification.logits_of(again)}


def _write_gguf(
    task: Task, model: Dense, folder: Path, quantizations: Sequence[str], name: str
) -> dict[str, list[Tensor]]:
    files = [folder / f"model-{quantization}.gguf" for quantization in quantizations]
    logits = {}
    for file, quantization in zip(files, quantizations, strict=True):
        gguf_files.write_gguf(model, file, name, quantization)
        again = rebuilt(task, gguf_files.read_back(file, model))
        logits[f"{file.name}, dequantized"] = verification.logits_of(again)
    options = GenerationOptions(**task.hparams["task"]["generation"])
    style = task.hparams["text"].get("prompt_style")
    text = modelfile(files[0].name, style, options, model.config.n_positions)
    (folder / MODELFILE).write_text(text, encoding="utf-8")
    return logits
