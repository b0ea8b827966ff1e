"""An audit of labelled texts: tables of what may be wrong with them, and the counts in words."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from llm_lightning.evaluation.audit.equal_texts import conflicting_labels, normalized
from llm_lightning.evaluation.audit.near_duplicates import near_duplicates
from llm_lightning.evaluation.audit.to_label import most_worth_labelling
from llm_lightning.evaluation.baselines import Baseline, Probabilities
from llm_lightning.presentation.plurals import counted
from llm_lightning.reporting.render.audit_page import AuditPage
from llm_lightning.run_format.audit_files import (
    CONFLICTS,
    FOUND_BY,
    GROUP,
    LABEL,
    LABEL_ERRORS,
    NEAR_DUPLICATES,
    OTHER_LABEL,
    OTHER_SPLIT,
    SPLIT,
    TEXT,
    TO_LABEL,
    WHERE,
)
from llm_lightning.run_format.summary import read_summary
from llm_lightning.runs.audited_texts import AuditedTexts
from llm_lightning.runs.label_doubts import label_errors

if TYPE_CHECKING:
    from llm_lightning.backbone.hub import BeforeDownload

_MODELS = {"words": "logistic regression on words", "run": "the run"}


def audit(
    texts: AuditedTexts,
    unlabeled: Sequence[str] | None,
    *,
    similarity: float,
    most: int,
    seed: int,
    before_download: "BeforeDownload | None" = None,
) -> AuditPage:
    """Audits labelled texts.

    Args:
        texts: to audit.
        unlabeled: texts without labels to choose from; ``None`` if there are none.
        similarity: least Jaccard similarity of near-duplicates.
        most: how many texts to label at most.
        seed: of the folds.
        before_download: see :func:`~llm_lightning.runs.load.load_classifier`.

    Raises:
        ValueError: if the model of a run is needed and cannot be loaded.
    """
    conflicts = conflicting_labels(texts.table)
    near = near_duplicates(texts.table, similarity)
    errors, notes = label_errors(texts, seed)
    num_within = int((near[WHERE] == "within").sum())
    facts = [
        ("texts", f"{len(texts.table):,} of {len(texts.class_names)} classes; {texts.source}"),
        ("labels", _errors_in_words(errors)),
        ("across splits", _across_in_words(near)),
        ("within a split", f"{counted(num_within, 'text')} repeating an earlier one, or nearly"),
        (
            "conflicts",
            f"{counted(conflicts[GROUP].nunique(), 'text')} with different labels, in "
            f"{counted(len(conflicts), 'row')}",
        ),
        *(("note", note) for note in notes),
    ]
    tables = {LABEL_ERRORS: errors, NEAR_DUPLICATES: near, CONFLICTS: conflicts}
    if unlabeled is not None:
        tables[TO_LABEL], model = _to_label(texts, unlabeled, most, before_download)
        facts.append(
            (
                "to label",
                f"{len(tables[TO_LABEL])} of {counted(len(unlabeled), 'unlabelled text')}, of "
                f"which {_MODELS[model]} is least sure",
            )
        )
    return AuditPage(texts.source, facts, tables, similarity)


def _errors_in_words(errors: pd.DataFrame) -> str:
    said = f"{len(errors):,} probably wrong"
    by = errors[FOUND_BY].value_counts()
    if by.get("run", 0) + by.get("both", 0):
        said += (
            f": {by.get('both', 0)} for words and the run, {by.get('words', 0)} for words alone, "
            f"{by.get('run', 0)} for the run alone"
        )
    return said


def _across_in_words(near: pd.DataFrame) -> str:
    across = near[near[WHERE] == "across"]
    pairs = list(zip(across[SPLIT], across[OTHER_SPLIT], strict=True))
    if not pairs:
        return "no near-duplicates"
    said = ", ".join(
        f"{pairs.count((split, other)):,} of {split} in {other}"
        for split, other in dict.fromkeys(sorted(pairs))
    )
    differing = int((across[LABEL] != across[OTHER_LABEL]).sum())
    return f"near-duplicates: {said}; {differing} of them with another label there"


def _to_label(
    texts: AuditedTexts,
    unlabeled: Sequence[str],
    most: int,
    before_download: "BeforeDownload | None",
) -> tuple[pd.DataFrame, str]:
    """Unlabelled texts that are most worth a label.

    Args:
        texts: that have labels.
        unlabeled: that have none.
        most: how many at most.
        before_download: of a run's base.

    Returns:
        The texts; and the name of the model whose uncertainty decided, a key of ``_MODELS``.
    """
    name, probabilities = "words", None
    if texts.run is not None and read_summary(texts.run).checkpoint is not None:
        name, probabilities = "run", _by_network(texts.run, unlabeled, before_download)
    if probabilities is None:
        fitted = Baseline("logreg").fit(texts.table[TEXT].tolist(), texts.labels.tolist())
        probabilities = fitted.probabilities(unlabeled)
    known = set(texts.table[TEXT].map(normalized))
    return most_worth_labelling(
        unlabeled, probabilities, texts.class_names, known=known, most=most
    ), name


def _by_network(
    folder: Path, texts: Sequence[str], before_download: "BeforeDownload | None"
) -> Probabilities:
    # Only now: an audit of a file should not wait for torch.
    from llm_lightning.runs.load import load_classifier
    from llm_lightning.runs.prediction import best_device, predict

    model, _ = load_classifier(folder, before_download)
    found = predict(model.to(best_device()), texts)
    return np.array([list(one.probabilities.values()) for one in found])
