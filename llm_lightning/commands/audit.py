"""``python -m llm_lightning audit RUN|DATA``: what may be wrong with labelled texts.

Probable label errors, near-duplicates within and across splits, equal texts with different labels,
and the unlabelled texts that are most worth a label: as CSV files, one HTML page, and counts on the
terminal.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from llm_lightning.commands.failures import refused
from llm_lightning.commands.options import ALLOW_DOWNLOAD
from llm_lightning.network import Unavailable
from llm_lightning.presentation.extras import require
from llm_lightning.presentation.harmless import no_formula
from llm_lightning.presentation.terminal import console, facts_grid, working
from llm_lightning.run_format.audit_files import (
    CONFLICTS,
    LABEL_ERRORS,
    NEAR_DUPLICATES,
    PAGE,
    TO_LABEL,
)

if TYPE_CHECKING:
    from llm_lightning.reporting.render.audit_page import AuditPage

LEAST_SIMILARITY = 0.6
"""Of near-duplicates: below, MinHash misses too many pairs."""

MOST_TO_LABEL = 50


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        require("audit", {"cleanlab": "cleanlab", "datasketch": "datasketch"}, "audit")
        # Imported only now: the help should not wait for torch.
        from llm_lightning.commands.consent import consent
        from llm_lightning.runs.audit import audit
        from llm_lightning.runs.audited_texts import read_audited, read_unlabeled

        with working(f"reading {options.data}"):
            texts = read_audited(
                options.data, text_column=options.text_column, label_column=options.label_column
            )
            unlabeled = None
            if options.unlabeled is not None:
                unlabeled = read_unlabeled(options.unlabeled, options.text_column)
        with working("comparing texts and looking for label errors"):
            found = audit(
                texts,
                unlabeled,
                similarity=options.similarity,
                most=options.most,
                seed=options.seed,
                before_download=consent(options.allow_download),
            )
        _write(found, options.out, safe_csv=options.safe_csv)
    except (ValueError, Unavailable, OSError) as error:
        return refused(error)
    grid = facts_grid()
    for title, fact in found.facts:
        grid.add_row(title, escape(fact))
    console.print(grid)
    for name in (*found.tables, PAGE):
        console.print(escape(str(options.out / name)), soft_wrap=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning audit",
        description="Probable label errors, near-duplicates, conflicting labels, and what to label "
        "next.",
    )
    parser.add_argument(
        "data",
        type=Path,
        metavar="RUN|DATA",
        help="run folder of a classifier; or a table (.csv, .tsv, .jsonl, .parquet), or the SMS "
        "Spam Collection",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("audit"), help="folder to write to (default: audit)"
    )
    parser.add_argument(
        "--safe-csv",
        action="store_true",
        help="write an apostrophe before every text in the CSV files that a spreadsheet would take "
        "for a formula",
    )
    parser.add_argument("--text-column", default="text", help="of a table (default: text)")
    parser.add_argument("--label-column", default="label", help="of a table (default: label)")
    parser.add_argument(
        "--similarity",
        type=_similarity,
        default=0.8,
        help=f"least similarity of near-duplicates, from {LEAST_SIMILARITY} to 1 (default: 0.8)",
    )
    parser.add_argument(
        "--unlabeled",
        type=Path,
        metavar="FILE",
        help="texts without labels, one a line or a table: lists those most worth a label",
    )
    parser.add_argument(
        "--most",
        type=int,
        default=MOST_TO_LABEL,
        help=f"how many of them (default: {MOST_TO_LABEL})",
    )
    parser.add_argument("--allow-download", action="store_true", help=ALLOW_DOWNLOAD)
    parser.add_argument("--seed", type=int, default=0, help="of the folds (default: 0)")
    return parser


def _similarity(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not LEAST_SIMILARITY <= found <= 1:
        raise argparse.ArgumentTypeError(f"must lie in [{LEAST_SIMILARITY}, 1], got {text!r}")
    return found


def _write(found: "AuditPage", out: Path, *, safe_csv: bool) -> None:
    from llm_lightning.reporting.render.audit_page import write_audit_page

    out.mkdir(parents=True, exist_ok=True)
    for name in (LABEL_ERRORS, NEAR_DUPLICATES, CONFLICTS, TO_LABEL):
        (out / name).unlink(missing_ok=True)  # of an earlier audit
    for name, table in found.tables.items():
        table = table.map(no_formula) if safe_csv else table
        table.to_csv(out / name, index=False, lineterminator="\n")
    write_audit_page(found, out / PAGE)
