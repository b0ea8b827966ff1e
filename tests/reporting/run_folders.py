"""Writes run folders as runs leave them, with chosen results."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_lightning.run_format.files import (
    CURVES,
    PREDICTIONS,
    RESPONSE,
    RESPONSE_SCORES,
    RESPONSES,
    SPLITS_FOLDER,
    STATUS,
    SUMMARY,
)

CLASSES = ("ham", "spam")
Messages = Sequence[tuple[int, str]]

TEST: Messages = [
    (0, "see you at seven then"),
    (1, "win a free prize, call now"),
    (0, "did you feed the cat?"),
    (1, "urgent! your account is locked"),
    (0, "happy birthday to you"),
    (1, "cheap loans, reply YES"),
    (0, "running late, sorry"),
    (1, "free ringtone: text WIN"),
    (0, "what is for dinner"),
    (1, "claim your reward today"),
]
"""Ten messages, half of them spam."""

GPT2 = {"model": "gpt2_small", "source": "gpt2_small: hub", "sha256": "c" * 64}
NANO = {"model": "nano", "source": "nano: packaged weights", "sha256": "d" * 64}

DATA_FALLBACK = (
    "The embedded messages replaced the SMS Spam Collection, which could not be downloaded:\n"
    "  offline\nTo use the real thing: connect."
)
WEIGHTS_FALLBACK = (
    "The model nano, packaged weights, replaced the weights gpt2, which could not be downloaded:\n"
    "  offline\nTo use the real thing: connect."
)
"""What a run without a network records in ``fallbacks``."""

TRAIN: Messages = [
    (0, "see you at eight then"),
    (0, "Happy  birthday to YOU"),
    (0, "the cat is fed"),
    (1, "win a free holiday, call now"),
    (1, "claim your reward today"),
]


def spam_probabilities(
    test: Messages, missed: Sequence[int] = (), sure: float = 0.9
) -> list[float]:
    """The probability of spam for each message: sure and right, but for the missed positions."""
    return [
        sure if (label == 1) != (position in missed) else 1 - sure
        for position, (label, _) in enumerate(test)
    ]


def write_classifier(
    root: Path,
    experiment: str = "last_block",
    *,
    seed: int = 1,
    overrides: Sequence[str] = (),
    missed: Sequence[int] = (),
    test: Messages = TEST,
    train: Messages = TRAIN,
    val_accuracies: Sequence[float] = (0.5, 0.75),
    **changes: Any,
) -> Path:
    """Writes a finished classification run.

    Args:
        root: gets ``<experiment>[-<overrides>]/seed_<n>``.
        experiment: its name; that of a baseline makes it one.
        seed: the run's.
        overrides: other settings of the command line.
        missed: positions of the test messages it gets wrong.
        test: label and text of each test message.
        train: label and text of each training message.
        val_accuracies: one an epoch; none for a baseline.
        changes: keys of ``summary.json`` to replace; a fallback to nano replaces the weights too.
    """
    name = "-".join([experiment, *overrides]).replace("/", "_")
    spam = spam_probabilities(test, missed)
    accuracy = sum((p > 0.5) == (label == 1) for p, (label, _) in zip(spam, test, strict=True))
    is_baseline = experiment.startswith("baseline_")
    splits = {"train": train, "val": train[:2], "test": test}
    summary = {
        "metrics": {
            "train": {"accuracy": 1.0, "loss": 0.1},
            "val": {"accuracy": 0.75, "loss": 0.2},
            "test": {"accuracy": accuracy / len(test), "loss": 0.3},
        },
        "kind": "classification",
        "class_names": list(CLASSES),
        "data": {
            "source": "messages.zip, split 'table'",
            "max_length": 120,
            "padding": "max_length",
            "splits": {split: _split_facts(messages) for split, messages in splits.items()},
        },
        "evaluated_examples": {split: len(messages) for split, messages in splits.items()},
        "epochs": None if is_baseline else len(val_accuracies),
    }
    if is_baseline:
        summary |= {"weights": None}
    folder = _write_run(root, name, experiment, seed, overrides, summary | changes)
    _write_csv(
        folder / PREDICTIONS,
        ["text", "label", "predicted", "probability_ham", "probability_spam"],
        [
            [text, CLASSES[label], CLASSES[int(p > 0.5)], 1 - p, p]
            for (label, text), p in zip(test, spam, strict=True)
        ],
    )
    for split, messages in splits.items():
        (folder / SPLITS_FOLDER).mkdir(exist_ok=True)
        _write_csv(folder / SPLITS_FOLDER / f"{split}.csv", ["Label", "Text"], messages)
    if not is_baseline:
        rows = []
        for epoch, value in enumerate(val_accuracies):
            rows.append([epoch, 2 * epoch + 1, value - 0.1, ""])
            rows.append([epoch, 2 * epoch + 1, "", value])
        _write_csv(folder / CURVES, ["epoch", "step", "train/accuracy", "val/accuracy"], rows)
    return folder


RECORDS = [
    {"instruction": "Name the capital.", "input": "France", "output": "Paris"},
    {"instruction": "Spell it right.", "input": "freind", "output": "friend"},
    {"instruction": "Say yes.", "input": "", "output": "yes"},
    {"instruction": "Say no.", "input": "", "output": "no"},
]


def write_responses(
    root: Path,
    experiment: str = "instruct",
    *,
    seed: int = 1,
    overrides: Sequence[str] = (),
    responses: Sequence[str] = ("Paris", "freind", "yes", "maybe"),
    rouge_l: Sequence[float] = (1.0, 0.0, 1.0, 0.5),
    response_loss: float = 2.0,
    judged: float | None = None,
    **changes: Any,
) -> Path:
    """Writes a finished instruction run; see :func:`write_classifier`."""
    name = "-".join([experiment, *overrides])
    exact = [
        float(response == record["output"])
        for response, record in zip(responses, RECORDS, strict=True)
    ]
    scores = {"exact_match": exact, "rouge_l": list(rouge_l)}
    losses = {"loss": 3.0, "perplexity": 20.0, "response_loss": response_loss}
    summary = {
        "metrics": {split: losses for split in ("train", "val", "test")},
        "kind": "instructions",
        "class_names": None,
        "data": {
            "source": "instructions.json",
            "splits": _splits(len(RECORDS), "a"),
        },
        "evaluated_examples": {"train": 9, "val": 9, "test": len(RECORDS)},
        "epochs": 1,
        "responses": {
            "file": RESPONSES,
            "examples": 4,
            "seconds": 2.0,
            "tokens_per_second": 50.0,
            "scores": {
                key: {"mean": sum(values) / 4, "low": min(values), "high": max(values), "n": 4}
                for key, values in scores.items()
            },
        },
    }
    folder = _write_run(root, name, experiment, seed, overrides, summary | changes)
    records = [
        record | {RESPONSE: response} for record, response in zip(RECORDS, responses, strict=True)
    ]
    _write_json(folder / RESPONSES, records)
    _write_csv(
        folder / RESPONSE_SCORES,
        ["index", *scores],
        [[index, *values] for index, values in enumerate(zip(*scores.values(), strict=True))],
    )
    curves = [[0, 3, 2.5, "", ""], [0, 3, "", 2.4, 2.2]]
    names = ["epoch", "step", "train/epoch_loss", "val/loss", "val/response_loss"]
    _write_csv(folder / CURVES, names, curves)
    if judged is not None:
        report = {
            "judge": {"model": "llama3"},
            "settings": {"rubric": "book"},
            "counts": {"items": len(RECORDS)},
            "mean": judged,
            "low": judged - 5,
            "high": judged + 5,
        }
        _write_json(folder / "judge-llama3-book.json", report)
    return folder


def write_text_model(root: Path, experiment: str = "pretrain_nano", *, seed: int = 1) -> Path:
    """Writes a finished run on plain text."""
    summary = {
        "metrics": {
            split: {"loss": 3.0, "perplexity": 20.0 + seed} for split in ("train", "val", "test")
        },
        "kind": "text",
        "class_names": None,
        "data": {"source": "books", "splits": _splits(7, "b")},
        "evaluated_examples": {"train": 9, "val": 9, "test": 7},
        "epochs": 1,
    }
    folder = _write_run(root, experiment, experiment, seed, (), summary)
    curves = [[0, 3, 2.5, ""], [0, 3, "", 2.4]]
    _write_csv(folder / CURVES, ["epoch", "step", "train/epoch_loss", "val/loss"], curves)
    return folder


def write_status(folder: Path, state: str, **facts: Any) -> Path:
    """Writes the ``status.json`` of a run, whatever else is there."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / STATUS, {"state": state, "error": None} | facts)
    return folder


def edit_summary(folder: Path, **changes: Any) -> None:
    """Replaces keys of a run's ``summary.json``."""
    file = folder / SUMMARY
    _write_json(file, json.loads(file.read_text()) | changes)


def _write_run(
    root: Path,
    name: str,
    experiment: str,
    seed: int,
    overrides: Sequence[str],
    changes: Mapping[str, Any],
) -> Path:
    folder = root / name / f"seed_{seed}"
    write_status(folder, "finished")
    summary = {
        "name": name,
        "experiment": experiment,
        "overrides": [f"+experiment={experiment}", *overrides, f"seed={seed}"],
        "seed": seed,
        "fallbacks": [],
        "responses": None,
        "published": None,
        "parameters": {"trainable": 1000, "total": 5000, "groups": []},
        "weights": NANO if _replaces_weights(changes) else GPT2,
        "seconds": {"total": 100.0, "training": 60.0, "validation": 0.0, "evaluation": 9.0},
        "peak_memory_mib": 200.0,
        "device": "cpu",
        "precision": "32-true",
        "versions": {"torch": "2"},
        "finished_at": "2026-01-02T03:04:05+00:00",
    }
    _write_json(folder / SUMMARY, summary | changes)
    return folder


def _replaces_weights(changes: Mapping[str, Any]) -> bool:
    return any("nano" in line for line in changes.get("fallbacks") or [])


def _splits(num_test: int, fingerprint: str) -> dict[str, Any]:
    examples = {"train": 9, "val": 9, "test": num_test}
    return {
        split: {"examples": count, "sha256": fingerprint * 64} for split, count in examples.items()
    }


def _split_facts(messages: Messages) -> dict[str, Any]:
    counts = [sum(label == index for label, _ in messages) for index in range(len(CLASSES))]
    texts = "\n".join(text for _, text in messages)
    return {
        "examples": len(messages),
        "class_counts": dict(zip(CLASSES, counts, strict=True)),
        "truncated": 0,
        "sha256": hashlib.sha256(texts.encode()).hexdigest(),
    }


def _write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")


def _write_csv(file: Path, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([names, *rows])
