"""What a model card tells of a run: data, results, limits, licence; and the Hub's lines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from llm_lightning.exporting.adapter_files import hub_base
from llm_lightning.presentation.markdown import literal, table
from llm_lightning.presentation.plurals import counted
from llm_lightning.run_format.run_facts import Score
from llm_lightning.run_format.summary import Summary
from llm_lightning.statistics.intervals import wilson_interval
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.text_classifier import TextClassifier

# Of the models in conf/model, as their cards on the Hub have them. Others' users must look.
_LICENCES = {
    "nano": "mit",
    "gpt2_small": "mit",
    "gpt2_medium": "mit",
    "gpt2_large": "mit",
    "gpt2_xl": "mit",
    "smollm2_135m": "apache-2.0",
    "smollm2_360m": "apache-2.0",
    "qwen3_0_6b": "apache-2.0",
    "minilm": "apache-2.0",
    "bert_base": "apache-2.0",
    "distilbert": "apache-2.0",
    "modernbert_base": "apache-2.0",
    "roberta_base": "mit",
    "deberta_v3_base": "mit",
    "gemma3_270m": "gemma",
    "llama": "llama3.2",
}
_LIBRARIES = {"hf": "transformers", "peft": "peft", "onnx": "onnx", "gguf": "gguf"}
_FEW = 50
"""Test examples of a class below which its numbers say little."""


def front_matter(kind: str, task: FineTunedModel, summary: Summary) -> str:
    """Returns the lines at the start of a card that the Hub reads.

    Args:
        kind: the format.
        task: the run's.
        summary: the run's.
    """
    is_classifier = isinstance(task, TextClassifier)
    fields: dict[str, Any] = {"tags": ["llm_lightning"]}
    if library := _LIBRARIES.get(kind):
        fields["library_name"] = library
    fields["pipeline_tag"] = "text-classification" if is_classifier else "text-generation"
    if licence := _licence(summary):
        fields["license"] = licence
    if base := hub_base(task):
        fields["base_model"] = base[0]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---"


def data_and_results(summary: Summary, measured: Mapping[str, Score]) -> list[str]:
    """Returns what the run was trained and evaluated on, and its metrics with intervals.

    Args:
        summary: the run's.
        measured: scores on the test split that the summary has without an interval, by name.
    """
    data = summary.data
    lines = ["## Data"]
    if data.source is not None:
        lines.append(f"{literal(_without_folders(data.source))}.")
    rows = []
    for split, facts in data.splits.items():
        counts = facts.class_counts or {}
        by_class = ", ".join(f"{literal(name)} {count:,}" for name, count in counts.items())
        cut = "" if facts.truncated is None else f"{facts.truncated:,}"
        rows.append([split, f"{facts.examples:,}", by_class, cut])
    lines.append(table(["split", "examples", "classes", "texts cut"], rows, left=(0, 2)))
    return [*lines, "## Results", _metrics(summary), *_intervals(summary, measured)]


def limits(kind: str, task: FineTunedModel, summary: Summary) -> list[str]:
    """Returns what the numbers do not show, as far as the run's record tells."""
    data, test = summary.data, summary.data.splits["test"]
    found = [
        "It was measured on test examples of the same source as its training data; on other texts "
        "it may do worse.",
    ]
    if data.max_length is not None:
        found.append(f"Inputs longer than {data.max_length:,} tokens lose what is beyond.")
    if data.test_in_train:
        found.append(f"{counted(data.test_in_train, 'test text')} are in the training split too.")
    if summary.fallbacks:
        found.append("It was made with a replacement for data or weights; see above.")
    for name, count in (test.class_counts or {}).items():
        if count < _FEW:
            found.append(f"Only {counted(count, 'test example')} of class {literal(name)}.")
    if kind == "onnx" and not isinstance(task, TextClassifier):
        found.append("The graph computes whole texts: it keeps no state from token to token.")
    if not isinstance(task, TextClassifier):
        found.append("It may write what is false, and whatever its base learnt to write.")
    return ["## Limits", "\n".join(f"- {one}" for one in found)]


def licence_of_the_base(task: FineTunedModel, summary: Summary) -> str:
    """Returns the licence of the weights that training started from, as far as it is known."""
    assert summary.weights is not None  # a baseline has no network and is not exported
    name, base = summary.weights.model, hub_base(task)
    where = f"`{base[0]}`" if base else name
    licence = _licence(summary)
    if licence is None:
        return f"## Licence\n\nThat of the base, {where}, is not known here: look it up."
    return (
        f"## Licence\n\nThe base, {where}, is under `{licence}`, which holds for this model too. "
        f"The licence of the training data is not recorded."
    )


def _licence(summary: Summary) -> str | None:
    assert summary.weights is not None  # as above
    model, _, origin = summary.weights.source.partition(": ")
    # Random weights are nobody's; a file may be anything, whatever its architecture.
    if origin.startswith("random") or Path(origin).is_absolute():
        return None
    return _LICENCES.get(model)


def _without_folders(source: str) -> str:
    """A source whose file is named without the folders of this machine."""
    return source.rpartition("/")[2] if Path(source).is_absolute() else source


def _metrics(summary: Summary) -> str:
    columns = list(summary.metrics["test"])
    rows = [
        [split, *(_number(values[column]) for column in columns)]
        for split, values in summary.metrics.items()
    ]
    return table(["split", *columns], rows)


def _intervals(summary: Summary, measured: Mapping[str, Score]) -> list[str]:
    """Of the test accuracy, of what was measured beside it, and of the scores of responses."""
    rows: list[Sequence[str]] = []
    accuracy = summary.metrics["test"].get("accuracy")
    if accuracy is not None:
        n = summary.evaluated_examples["test"]
        found = wilson_interval(round(accuracy * n), n)
        rows.append(_row("accuracy", Score(mean=accuracy, low=found.low, high=found.high, n=n)))
    rows += [_row(name, score) for name, score in measured.items()]
    if summary.responses is not None:
        rows += [_row(name, score) for name, score in summary.responses.scores.items()]
    if not rows:
        return []
    return [table(["on the test split", "value", "95 % interval", "examples"], rows)]


def _row(name: str, score: Score) -> list[str]:
    interval = f"{score.low:.4f} to {score.high:.4f}"
    return [name, f"{score.mean:.4f}", interval, str(score.n)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
