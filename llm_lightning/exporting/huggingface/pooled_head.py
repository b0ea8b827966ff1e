"""A classifier as a base model and a head beside it.

For families whose own class would compute something else: it has no bias, another pooling, or more
layers than a linear one.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llm_lightning.exporting.dense import Dense
from llm_lightning.exporting.samples import sample_batch
from llm_lightning.tasks.text_classifier import TextClassifier

HEAD_FILE = "head.safetensors"

_POOLED = {
    "last_real": "states[torch.arange(len(mask)), mask.sum(dim=1) - 1]",
    "first": "states[:, 0]",
    "mean_real": "(states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)",
}


def write_head(model: Dense, folder: Path) -> None:
    """Writes ``head.safetensors``: ``weight`` (classes, C) and ``bias`` (classes,)."""
    assert model.head_bias is not None  # of a classifier
    head = {"weight": model.head.contiguous(), "bias": model.head_bias.contiguous()}
    save_file(head, folder / HEAD_FILE, metadata={"format": "pt"})


def code(task: TextClassifier, folder: str) -> str:
    """Returns Python that makes ``classify`` of a loaded ``model`` and ``tokenizer``.

    Args:
        task: the run's; its pooling is in ``_POOLED``.
        folder: of the export.
    """
    names = task.hparams["class_names"]
    return (
        f'head = load_file("{folder}/{HEAD_FILE}")\n'
        f"names = {names!r}\n\n\n"
        "def classify(texts):\n"
        '    batch = tokenizer(texts, return_tensors="pt", padding=True, truncation=True)\n'
        '    mask = batch["attention_mask"]\n'
        "    with torch.no_grad():\n"
        '        states = model(input_ids=batch["input_ids"], attention_mask=mask)'
        ".last_hidden_state\n"
        f"    pooled = {_POOLED[task.pooling]}\n"
        '    probabilities = (pooled @ head["weight"].T + head["bias"]).softmax(dim=-1)\n'
        "    return [dict(zip(names, row)) for row in probabilities.tolist()]\n\n\n"
        'print(classify(["You won a prize!"]))'
    )


@torch.no_grad()
def logits(task: TextClassifier, base: nn.Module, folder: Path) -> list[Float[Tensor, " classes"]]:
    """Returns the samples' logits, computed as the code does.

    Args:
        task: the run's.
        base: a base model of transformers.
        folder: with the head.
    """
    head = load_file(folder / HEAD_FILE)
    ids, lengths = sample_batch(task)
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    states = base(input_ids=ids, attention_mask=mask).last_hidden_state
    pooled = eval(_POOLED[task.pooling], {"torch": torch, "states": states, "mask": mask})
    return list(pooled @ head["weight"].T + head["bias"])
