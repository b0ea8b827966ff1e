"""A page beside an exported model: what it is, how well it does, how to load it."""

from pathlib import Path
from typing import Any

from llm_lightning.exporting.dense import Dense
from llm_lightning.exporting.peft_folder import base_name
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.task import Task

CARD = "README.md"
MARK = "<!-- An export of llm_lightning: exporting here again replaces this folder. -->"

_LOAD = {
    ("hf", True): """from transformers import pipeline

classify = pipeline("text-classification", model="<this folder>")
classify("You won a prize!")""",
    ("hf", False): """from transformers import pipeline

write = pipeline("text-generation", model="<this folder>")""",
    ("peft", True): """from peft import PeftModel
from transformers import AutoModelForSequenceClassification

base = AutoModelForSequenceClassification.from_pretrained("{base}", num_labels={classes})
base.config.pad_token_id = 50256
model = PeftModel.from_pretrained(base, "<this folder>")""",
    ("peft", False): """from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("{base}")
model = PeftModel.from_pretrained(base, "<this folder>")""",
}
_SHELL = {
    "merged": "python -m llm_lightning +experiment=<an experiment> model.weights=<this folder>",
    "gguf": "ollama create my-model -f Modelfile\nllama-cli -m model-q8_0.gguf",
}


def write_card(folder: Path, kind: str, task: Task, summary: dict[str, Any], model: Dense) -> None:
    """Writes ``README.md``.

    Args:
        folder: of the export.
        kind: its format.
        task: the run's.
        summary: of the run.
        model: what was written.
    """
    is_classifier = isinstance(task, Classifier)
    rows = "\n".join(
        f"| {name} | " + " | ".join(_number(value) for value in values.values()) + " |"
        for name, values in summary["metrics"].items()
    )
    columns = list(summary["metrics"]["test"])
    head = f"| split | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}"
    shell = _SHELL.get(kind)
    how = shell or _LOAD[kind, is_classifier].format(base=base_name(task), classes=len(model.head))
    notes = "".join(f"\n{note.splitlines()[0]}\n" for note in summary["notices"])
    own_head = (
        "\nThe output embedding is its own: it is not tied to the input embedding.\n"
        if not is_classifier and not model.is_tied
        else ""
    )
    classes = f"\nClasses: {', '.join(summary['class_names'])}.\n" if is_classifier else ""
    text = f"""{MARK}
# {summary["name"]}

Written by llm_lightning in format `{kind}`: GPT-2 with {model.config.n_layer} blocks,
{model.config.n_embd} wide, fine-tuned from {summary["weights"]["model"]}, seed {summary["seed"]}.
{notes}{classes}{own_head}
```
{how}
```

{head}
{rows}
"""
    (folder / CARD).write_text(text, encoding="utf-8")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
