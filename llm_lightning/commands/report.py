"""``python -m llm_lightning report RUNS_DIR ... --out report``: one page about many runs.

Reads run folders only, finished or not, and writes ``index.html`` (one file that needs no network),
``table.md``, ``table.csv`` and the page's figures as SVG files.
"""

import argparse
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llm_lightning.commands.startup import run_and_exit
from llm_lightning.presentation import console
from llm_lightning.reporting.study import language, page, tables
from llm_lightning.reporting.study.figures import figures_of
from llm_lightning.reporting.study.study import Study, read_study

FIGURES = "figures"
MAX_PROBLEMS = 5
"""Most problems that the terminal shows; the page lists them all."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    terminal = Console(highlight=False)
    try:
        with terminal.status("reading") as status:
            study = read_study(
                options.runs,
                reference=options.baseline_row,
                spam_share=options.positive_share,
                progress=status.update,
            )
            status.update("writing")
            files = write(study, options.out)
    except ValueError as error:
        console.print_error(str(error))
        return 1
    except OSError as error:
        console.print_error(f"--out: {error.strerror}: {error.filename}")
        return 1
    _show(study, files, terminal)
    return 0


def write(study: Study, out: Path) -> list[Path]:
    """Writes the page and the tables into a folder, which is made if need be.

    Returns:
        The files, the page first, and the folder of its figures.
    """
    html = page.render(study, made_at=datetime.now(), version=version("llm-lightning"))
    contents = {
        "index.html": html,
        "table.md": tables.as_markdown(study),
        "table.csv": tables.as_csv(study),
    }
    out.mkdir(parents=True, exist_ok=True)
    pictures = out / FIGURES
    if pictures.is_dir():  # of a former report
        for file in pictures.glob("*.svg"):
            file.unlink()
    pictures.mkdir(exist_ok=True)
    for name, svg in figures_of(html).items():
        (pictures / name).write_text(svg, encoding="utf-8", errors="replace", newline="\n")
    for name, text in contents.items():
        # A lone surrogate from broken input would stop the whole page.
        (out / name).write_text(text, encoding="utf-8", errors="replace", newline="\n")
    return [*(out / name for name in contents), pictures]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning report",
        description="One page about many runs: tables, intervals, differences, mistakes.",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUNS_DIR", help="e.g. runs")
    parser.add_argument(
        "--out", type=Path, default=Path("report"), help="folder to write to (default: report)"
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
    return parser


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, got {text!r}")
    return share


def _show(study: Study, files: Sequence[Path], terminal: Console) -> None:
    """Prints the rows, what was left out, and where the report is."""
    table = Table(box=None, pad_edge=False)
    table.add_column("row", overflow="fold", min_width=18)
    for title in ("test", "95 %", "seeds"):
        table.add_column(title, justify="right", no_wrap=True)
    # As wide as the longest verdict: what is cut off a "not comparable" turns it round.
    table.add_column("", min_width=len("not comparable"))
    for found in study.test_sets:
        for row in found.rows:
            verdict = found.verdicts.get(row.number)
            said = (
                f"{verdict.word} (published {page.percent(verdict.published)})" if verdict else ""
            )
            said = "not comparable (stand-in)" if row.stand_in else said
            accuracy = f"{page.percent(row.mean('test', 'accuracy'))} %"
            ends = page.interval(row.interval)
            table.add_row(escape(row.label), accuracy, ends, str(len(row.runs)), said)
    for chapter in study.instructions:
        for row in chapter.rows:
            score = language.answer_score(row, "rouge_l")
            mean = f"ROUGE-L {page.percent(score.mean)} %" if score else "not answered"
            ends = page.interval(score.interval) if score else ""
            said = "not comparable (stand-in)" if row.stand_in else ""
            table.add_row(escape(row.label), mean, ends, str(len(row.runs)), said)
    for chapter in study.texts:
        for row in chapter.rows:
            found_score = page.score(language.logged(row, "test", "perplexity"), 2)
            said = "not comparable (stand-in)" if row.stand_in else ""
            table.add_row(
                escape(row.label), f"perplexity {found_score}", "", str(len(row.runs)), said
            )
    terminal.print(table)
    for problem in study.problems[:MAX_PROBLEMS]:
        terminal.print(
            f"[yellow]{problem.state}[/yellow] {escape(problem.shown)}: {escape(problem.reason)}"
        )
    if len(study.problems) > MAX_PROBLEMS:
        terminal.print(f"and {len(study.problems) - MAX_PROBLEMS} more, listed in the report")
    for file in files:
        terminal.print(escape(str(file)), soft_wrap=True)


if __name__ == "__main__":
    run_and_exit(main)
