"""``python -m llm_lightning report RUNS_DIR ... --out report``: one page about many runs.

Reads run folders only, finished or not, and writes ``index.html`` (one file that needs no network),
``table.md``, ``table.csv`` and the page's figures as SVG files.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from llm_lightning.commands.failures import refused
from llm_lightning.presentation import terminal
from llm_lightning.reporting.analyse.chapters import Chapter
from llm_lightning.reporting.analyse.classifiers import ClassifierChapter
from llm_lightning.reporting.analyse.comparisons import Comparison
from llm_lightning.reporting.analyse.language_models import logged, response_score
from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.reporting.analyse.study import Study, read_study
from llm_lightning.reporting.render.number_formats import (
    count,
    difference_verdict,
    percent,
    percent_interval,
    points,
)
from llm_lightning.reporting.render.report_folder import write_report

FALLBACK = (
    "[yellow]fallback[/yellow]: packaged data or weights replaced unavailable ones; such rows say "
    "nothing about the real ones or about published values"
)

MAX_DIFFERENCES = 4
"""Most rows that the terminal names of each verdict; the page lists them all."""

MAX_PROBLEMS = 5
"""Most problems that the terminal shows; the page lists them all."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        with terminal.console.status("reading") as status:
            study = read_study(
                options.runs,
                reference=options.baseline_row,
                positive_share=options.positive_share,
                margin=options.margin,
                progress=status.update,
            )
            status.update("writing")
            files = write_report(study, options.out, safe_csv=options.safe_csv)
    except (ValueError, OSError) as error:
        return refused(error)
    _show(study, files)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning report",
        description="Report on many runs: tables, intervals, differences, misclassified messages.",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUNS_DIR", help="e.g. runs")
    parser.add_argument(
        "--out", type=Path, default=Path("report"), help="folder to write to (default: report)"
    )
    parser.add_argument(
        "--safe-csv",
        action="store_true",
        help="write an apostrophe before every text in table.csv that a spreadsheet would take for "
        "a formula",
    )
    parser.add_argument(
        "--baseline-row",
        metavar="NAME",
        help="row that the others are compared with: its name in the report, its folder or its "
        "experiment (default: row_01, else last_block, else the first network)",
    )
    parser.add_argument(
        "--positive-share",
        type=_share,
        metavar="SHARE",
        help="share of the second of two classes outside the test set, between 0 and 1 "
        "(default for ham and spam: 0.134)",
    )
    parser.add_argument(
        "--margin",
        type=_margin,
        metavar="POINTS",
        help="largest difference of accuracies or scores that does not matter, in percentage "
        "points: rows are then also tested for being equivalent, and no worse, within it",
    )
    return parser


def _margin(text: str) -> float:
    try:
        points = float(text)
    except ValueError:
        points = 0.0
    if not 0 < points < 100:
        raise argparse.ArgumentTypeError(f"must be between 0 and 100 points, got {text!r}")
    return points / 100


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, got {text!r}")
    return share


def _show(study: Study, files: Sequence[Path]) -> None:
    """Prints the rows, what was left out, and where the report is."""
    for heading, lines, finding in _parts(study):
        terminal.console.print(f"[bold]{escape(heading)}[/bold]")
        table = Table(box=None, pad_edge=False)
        table.add_column("row", overflow="fold", min_width=18)
        for title in ("test", "95 %", "seeds"):
            table.add_column(title, justify="right", no_wrap=True)
        # As wide as the longest verdict: "not comparable" without "not" means the opposite.
        table.add_column("", min_width=len("not comparable"))
        for row, value, interval, verdict in lines:
            verdict = verdict or ("fallback" if row.fallback else "")
            seeds = "one" if row.has_one_seed else row.repeats
            table.add_row(escape(row.label), value, interval, seeds, verdict)
        terminal.console.print(table)
        if finding:
            terminal.console.print(escape(finding))
        terminal.console.print()
    for search in study.searches:
        chosen = " ".join(f"{key}={value}" for key, value in search.best.settings.items())
        trials = count(len(search.trials), "trial")
        terminal.console.print(escape(f"search {search.label}: best of {trials} is {chosen}"))
    if any(row.fallback for row in study.rows):
        terminal.console.print(FALLBACK)
    for problem in study.problems[:MAX_PROBLEMS]:
        terminal.console.print(
            f"[yellow]{problem.state}[/yellow] {escape(problem.shown)}: {escape(problem.reason)}"
        )
    if len(study.problems) > MAX_PROBLEMS:
        more = len(study.problems) - MAX_PROBLEMS
        terminal.console.print(f"and {more} more, listed in the report")
    for file in files:
        terminal.console.print(escape(str(file)), soft_wrap=True)


Line = tuple[Row, str, str, str]
"""A row with its main test metric, the metric's interval, and the verdict if any."""


def _parts(study: Study) -> Iterator[tuple[str, list[Line], str]]:
    """The heading of each test set, its rows, and a sentence about their differences if any."""
    for chapter in study.classifiers:
        heading = f"Test set {chapter.letter}: {count(chapter.num_examples, 'message')}"
        heading += _shared(chapter, "networks")
        yield heading, [_classifier(chapter, row) for row in chapter.rows], _differences(chapter)
    for language_chapter in study.instructions:
        tasks = count(language_chapter.num_examples, "task")
        heading = f"Instructions {language_chapter.letter}: {tasks}"
        heading += _shared(language_chapter, "rows")
        yield heading, [_responder(row) for row in language_chapter.rows], ""
    for language_chapter in study.texts:
        heading = f"Perplexities {language_chapter.letter}{_shared(language_chapter, 'rows')}"
        yield heading, [_text_model(row) for row in language_chapter.rows], ""


def _shared(chapter: Chapter, rows: str) -> str:
    """The settings that no row's name repeats, because all have them."""
    if not chapter.shared:
        return ""
    each = " ".join(f"{key}={value}" for key, value in chapter.shared.items())
    return f"; all {rows} with {each}"


def _classifier(chapter: ClassifierChapter, row: Row) -> Line:
    verdict = chapter.verdicts.get(row.number)
    said = f"{verdict.word} (published {percent(verdict.published)})" if verdict else ""
    return row, f"{percent(row.mean('test', 'accuracy'))} %", percent_interval(row.interval), said


def _responder(row: Row) -> Line:
    score = response_score(row, "rouge_l")
    mean = f"ROUGE-L {percent(score.mean)} %" if score else "no responses"
    return row, mean, percent_interval(score.interval) if score else "", ""


def _text_model(row: Row) -> Line:
    found = logged(row, "test", "perplexity")
    mean = f"perplexity {found.mean:,.2f}" if found else "no perplexity"
    ends = found.interval if found else None
    return row, mean, f"{ends.low:,.2f} to {ends.high:,.2f}" if ends else "", ""


def _differences(chapter: ClassifierChapter) -> str:
    """What the comparisons with the reference row say; empty if none were made."""
    found, reference = chapter.comparisons.found, chapter.comparisons.reference
    if not found or reference is None:
        return ""
    by_verdict: dict[str, list[Comparison]] = {}
    for comparison in found:
        by_verdict.setdefault(difference_verdict(comparison.difference), []).append(comparison)
    lines = [f"compared with {reference.label}, {count(len(found), 'test')}:"]
    for verdict, rows in by_verdict.items():
        names = [
            f"{c.row.label} ({points(c.difference.mean)} points"
            f"{', one seed' if c.difference.one_seed else ''})"
            for c in rows
        ]
        if len(names) > MAX_DIFFERENCES:
            names[MAX_DIFFERENCES:] = [f"and {len(names) - MAX_DIFFERENCES} more"]
        lines.append(f"  {verdict}: {', '.join(names)}")
    return "\n".join(lines)
