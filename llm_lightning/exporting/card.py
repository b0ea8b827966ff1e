"""The model card of an export: what the model is, how well it does, how to load it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from llm_lightning.exporting.adapter_files import ADAPTER_CONFIG, hub_base
from llm_lightning.exporting.card_facts import (
    data_and_results,
    front_matter,
    licence_of_the_base,
    limits,
)
from llm_lightning.exporting.dense import Dense
from llm_lightning.exporting.exporter import Exporter
from llm_lightning.exporting.families import exporter_of
from llm_lightning.exporting.onnx_model import ONNX
from llm_lightning.exporting.output_folder import BASE, CARD, FOLDER, MARK
from llm_lightning.exporting.verification import LogitDifference
from llm_lightning.finetuning.qlora import QLoRA
from llm_lightning.run_format.run_facts import Score
from llm_lightning.run_format.summary import Summary
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.text_classifier import TextClassifier


def write_card(
    folder: Path,
    kind: str,
    task: FineTunedModel,
    summary: Summary,
    model: Dense,
    differences: Sequence[LogitDifference],
    measured: Mapping[str, Score],
) -> None:
    """Writes ``README.md``.

    Args:
        folder: of the export.
        kind: its format.
        task: the run's.
        summary: the run's, which has a network.
        model: the exported weights.
        differences: of the export, loaded again, from the run.
        measured: scores on the test split, beside those that the summary has with an interval.
    """
    exporter = exporter_of(task)
    parts = [
        f"{front_matter(kind, task, summary)}\n{MARK}\n# {summary.name}",
        f"Written by llm_lightning in format `{kind}`: {exporter.description()}, fine-tuned from "
        f"{_base_model(summary)}, seed {summary.seed}.",
        *(f"{fallback.splitlines()[0].rstrip(':')}." for fallback in summary.fallbacks),
        *_remarks(kind, task, exporter, model),
        _how(kind, task, exporter, summary, model),
        *data_and_results(summary, measured),
        *limits(kind, task, summary),
        licence_of_the_base(task, summary),
        "Largest difference of logits from the run's, after loading this again:",
        "\n".join(f"- {found.text()}" for found in differences),
    ]
    (folder / CARD).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _remarks(kind: str, task: FineTunedModel, exporter: Exporter, model: Dense) -> list[str]:
    remarks = []
    if isinstance(task, TextClassifier):
        remarks.append(f"Classes: {', '.join(task.hparams['class_names'])}.")
        if kind == "merged":
            remarks.append(f"It was trained with {exporter.settings()}; load it with the same.")
    elif not model.is_tied:
        remarks.append("The output embedding is not tied to the input embedding.")
        if kind == "merged":
            remarks.append("Load it with `task.tie_weights=false`.")
    if kind == "peft" and isinstance(task.strategy, QLoRA):
        remarks.append(
            f"It was trained on a base quantized to four bits. `{BASE}/` holds it dequantized."
            if hub_base(task) is None
            else "It was trained on a base quantized to four bits: on one in full precision its "
            "outputs differ."
        )
    if kind == "peft" and hub_base(task) is None:
        remarks.append(
            f"PEFT's `Auto` classes and `pipeline` find the base by its whole path in "
            f"`{ADAPTER_CONFIG}`: change it there if this folder moves."
        )
    if kind == "gguf" and task.hparams["text"].get("prompt_style") == "plain":
        remarks.append(
            "The prompts of its training end with two newlines, each a token. Programs that "
            "tokenize the whole prompt as text merge both into one token."
        )
    return remarks


def _base_model(summary: Summary) -> str:
    assert summary.weights is not None  # a baseline has no network and is not exported
    return summary.weights.model


def _how(
    kind: str, task: FineTunedModel, exporter: Exporter, summary: Summary, model: Dense
) -> str:
    if kind == "merged":
        experiment = summary.experiment or "<an experiment>"
        return _shell(
            f"python -m llm_lightning +experiment={experiment} model={_base_model(summary)} "
            f"model.weights={FOLDER}"
        )
    if kind == "onnx":
        return _python(_onnx_code(task))
    if kind == "gguf":
        return _shell("ollama create my-model -f Modelfile\nollama run my-model")
    is_classifier = isinstance(task, TextClassifier)
    if kind == "hf" and exporter.head_code():
        return _python(_head_code(exporter))
    if kind == "hf":
        what, name = (
            ("text-classification", "classify") if is_classifier else ("text-generation", "write")
        )
        call = f'{name}("You won a prize!"{", truncation=True" if is_classifier else ""})'
        return _python(
            f'from transformers import pipeline\n\n{name} = pipeline("{what}", model="{FOLDER}")\n'
            f"{call}"
        )
    return _python(_peft_code(task, exporter, model))


def _head_code(exporter: Exporter) -> str:
    options = "".join(f", {name}={value}" for name, value in exporter.loading_options().items())
    return (
        f"import torch\nfrom safetensors.torch import load_file\n"
        f"from transformers import {exporter.auto_class()}, AutoTokenizer\n\n"
        f'model = {exporter.auto_class()}.from_pretrained("{FOLDER}"{options}).eval()\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{FOLDER}")\n{exporter.head_code()}'
    )


def _onnx_code(task: FineTunedModel) -> str:
    first = (
        "import numpy as np\nimport onnxruntime\nfrom transformers import AutoTokenizer\n\n"
        f'session = onnxruntime.InferenceSession("{FOLDER}/{ONNX}")\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{FOLDER}")\n'
    )
    if not isinstance(task, TextClassifier):
        return (
            f'{first}batch = tokenizer("Once upon a time", return_tensors="np")\n'
            '(logits,) = session.run(None, {"input_ids": batch["input_ids"].astype(np.int64)})\n'
            "print(tokenizer.decode(logits[0, -1].argmax()))"
        )
    return (
        f"{first}names = {task.hparams['class_names']!r}\n\n\n"
        "def classify(texts):\n"
        '    batch = tokenizer(texts, return_tensors="np", padding=True, truncation=True)\n'
        '    names_of_inputs = ("input_ids", "attention_mask")\n'
        "    given = {name: batch[name].astype(np.int64) for name in names_of_inputs}\n"
        "    (logits,) = session.run(None, given)\n"
        "    shares = np.exp(logits - logits.max(axis=1, keepdims=True))\n"
        "    probabilities = shares / shares.sum(axis=1, keepdims=True)\n"
        "    return [dict(zip(names, row)) for row in probabilities.tolist()]\n\n\n"
        'print(classify(["You won a prize!"]))'
    )


def _peft_code(task: FineTunedModel, exporter: Exporter, model: Dense) -> str:
    hub_id, revision = hub_base(task) or (f"{FOLDER}/{BASE}", None)
    auto = exporter.auto_class()
    names = [auto, "AutoTokenizer"]
    head_code = exporter.head_code()
    first = "import torch\nfrom safetensors.torch import load_file\n" if head_code else ""
    options = {} if revision is None else {"revision": repr(revision)}
    options |= exporter.loading_options()
    if isinstance(task, TextClassifier) and not head_code:
        options["id2label"] = repr(dict(enumerate(task.hparams["class_names"])))
        options["pad_token_id"] = str(task.tokenizer.pad_id)
    elif isinstance(task, LanguageModel) and not model.is_tied:
        # PEFT merges into an output embedding only where it is not tied.
        options["tie_word_embeddings"] = "False"
    if isinstance(task.strategy, QLoRA) and hub_base(task) is not None:
        first = first or "import torch\n"
        names.append("BitsAndBytesConfig")
        options["dtype"] = "torch.float32"
        options["quantization_config"] = (
            'BitsAndBytesConfig(\n        load_in_4bit=True,\n        bnb_4bit_quant_type="nf4",\n'
            f"        bnb_4bit_use_double_quant={task.strategy.double_quantization},\n"
            "        bnb_4bit_compute_dtype=torch.bfloat16,\n    )"
        )
    arguments = "".join(f"    {name}={value},\n" for name, value in options.items())
    return (
        f"{first}from peft import PeftModel\n"
        f"from transformers import {', '.join(sorted(names))}\n\n"
        f'base = {auto}.from_pretrained(\n    "{hub_id}",\n{arguments})\n'
        f'model = PeftModel.from_pretrained(base, "{FOLDER}").eval()\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{FOLDER}")'
        + (f"\n{head_code}" if head_code else "")
    )


def _shell(command: str) -> str:
    return f"```\n{command}\n```"


def _python(code: str) -> str:
    return f"```python\n{code}\n```"
