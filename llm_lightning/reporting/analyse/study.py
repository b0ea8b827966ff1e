"""All runs below some folders, sorted into the chapters of one report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from llm_lightning.reporting.analyse.classifiers import ClassifierChapter, make_classifier_chapters
from llm_lightning.reporting.analyse.language_models import LanguageChapter, make_language_chapters
from llm_lightning.reporting.analyse.pooled_runs import pool
from llm_lightning.reporting.analyse.rows import Row, find_row, make_rows
from llm_lightning.reporting.analyse.searches import Search, find_searches
from llm_lightning.reporting.analyse.verdicts import Verdict
from llm_lightning.reporting.read.run_folders import find_folders, read_run
from llm_lightning.reporting.read.run_record import Problem, RunRecord
from llm_lightning.run_format.summary import Kind


@dataclass(frozen=True)
class Study:
    """Everything that a report shows."""

    classifiers: list[ClassifierChapter]
    instructions: list[LanguageChapter]
    texts: list[LanguageChapter]
    problems: list[Problem]
    searches: list[Search]
    """Their trials are in no chapter."""

    @property
    def rows(self) -> list[Row]:
        """All rows, in the order of the report."""
        chapters = [*self.classifiers, *self.instructions, *self.texts]
        return [row for chapter in chapters for row in chapter.rows]

    @property
    def verdicts(self) -> list[Verdict]:
        """All comparisons with published accuracies."""
        return [found for chapter in self.classifiers for found in chapter.verdicts.values()]

    @property
    def has_comparisons(self) -> bool:
        """Whether any rows are compared with each other."""
        return any(chapter.comparisons.found for chapter in self.classifiers) or any(
            chapter.differences for chapter in self.instructions
        )

    @property
    def num_runs(self) -> int:
        """Runs with results."""
        rows = sum(len(row.trained) for row in self.rows)
        return rows + sum(len(search.trials) for search in self.searches)

    @property
    def num_without_results(self) -> int:
        """Runs without results."""
        return len({problem.shown for problem in self.problems if problem.state != "used"})


def read_study(
    roots: Sequence[Path],
    *,
    reference: str | None = None,
    positive_share: float | None = None,
    margin: float | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Study:
    """Reads run folders and compares what is comparable.

    Args:
        roots: run folders, or folders with run folders anywhere below them.
        reference: label, run name or experiment of the row that others are compared with; None
            takes row_01, last_block or the first network of each test set.
        positive_share: share of the positive class outside the test set, between 0 and 1; None
            takes that of the SMS Spam Collection for ham and spam.
        margin: the largest difference that does not matter, as a share; None tests none.
        progress: is called with a line about each step.

    Raises:
        ValueError: naming the folder or row, if a root is missing, there is no finished run, or no
            row is called ``reference``.
    """
    for root in roots:
        if not root.is_dir():
            raise ValueError(f"RUNS_DIR must be an existing folder, got {root}")
    folders = find_folders(roots)
    runs: list[RunRecord] = []
    problems: list[Problem] = []
    for number, (folder, shown) in enumerate(folders.items(), 1):
        progress(f"reading run {number} of {len(folders)}")
        run, found = read_run(folder, shown)
        problems += found
        if run is not None:
            runs.append(run)
    if not runs:
        raise ValueError(_without_results(roots, problems))
    trials = [run for run in runs if run.summary.trial]
    runs = [run for run in runs if not run.summary.trial]
    of_kind = {kind: [run for run in runs if run.summary.kind == kind] for kind in get_args(Kind)}
    of_kind["classification"], incomplete = pool(of_kind["classification"])
    problems += incomplete
    kinds = {kind: make_rows(own) for kind, own in of_kind.items()}
    study = Study(
        make_classifier_chapters(
            kinds["classification"], reference, positive_share, margin, progress
        ),
        make_language_chapters(kinds["instructions"], reference, margin),
        make_language_chapters(kinds["text"], reference),
        problems,
        searches=[],
    )
    study.searches.extend(find_searches(trials, study.rows))
    if reference is not None and find_row(study.rows, reference) is None:
        names = ", ".join(row.label for row in study.rows)
        raise ValueError(f"--baseline-row must be one of {names}, got {reference!r}")
    return study


def _without_results(roots: Sequence[Path], problems: Sequence[Problem]) -> str:
    where = ", ".join(map(str, roots))
    if not problems:
        return f"RUNS_DIR must hold run folders, got none in {where}"
    first = problems[0]
    return (
        f"RUNS_DIR must hold finished runs, got {len(problems)} without results in {where}; "
        f"{first.shown}: {first.state}, {first.reason}"
    )
