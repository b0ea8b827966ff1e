"""Text of others is shown, and not obeyed: by a terminal, a browser, Markdown or a spreadsheet."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from reporting import run_folders
from rich.table import Table

from llm_lightning.commands import report
from llm_lightning.presentation import markdown, terminal
from llm_lightning.presentation.harmless import harmless, json_line, no_formula
from llm_lightning.presentation.progress import progress_bar
from llm_lightning.presentation.terminal import PlainConsole, facts_grid, results_table
from llm_lightning.reporting.analyse.threshold_curves import class_curves
from llm_lightning.reporting.draw import style
from llm_lightning.reporting.draw.threshold_figures import class_figure
from llm_lightning.reporting.read.run_record import Predictions

ESCAPES = {
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J\x1b[H",
    "colour": "\x1b[31mred",
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "link": "\x1b]8;;http://x\x1b\\here",
    "c1": "\x9b2J",
    "backspaces": "spam\b\b\b\bham ",
    "carriage": "99 %\r10 %",
    "null": "a\x00b",
    "delete": "a\x7fb",
    "override": "\u202etxt.exe",
    "isolate": "\u2067abc",
    "half": "\ud83d",
}
# What is left of control characters: those that rich writes for itself, without colours, are none.
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
def test_control_characters_become_visible(text: str) -> None:
    shown = harmless(text)
    assert not UNSAFE.search(shown)
    assert len(shown) == len(text), "one symbol each: nothing is hidden"
    shown.encode("utf-8")


def test_other_text_stays_as_it_is() -> None:
    text = "Zürich 長い\tnames, emoji 🙂, \u200f right-to-left, e\u0301\nand lines"
    assert harmless(text) == text


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
def test_no_console_obeys_what_it_prints(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    console = PlainConsole(file=written, force_terminal=True, color_system=None, width=100)
    table, grid, plain = results_table("class", text), facts_grid(), Table("x")
    for each in (table, grid, plain):
        each.add_row(text, *[text] * (len(each.columns) - 1))
    for shown in (text, table, grid, plain):
        console.print(shown)
    monkeypatch.setattr(terminal, "errors", console)
    terminal.print_error(text)
    assert not UNSAFE.search(written.getvalue())
    assert isinstance(terminal.console, PlainConsole)
    assert isinstance(progress_bar().console, PlainConsole)


def test_rich_may_still_colour() -> None:
    written = io.StringIO()
    console = PlainConsole(file=written, force_terminal=True, color_system="standard")
    console.print("[red]wrong[/red]")
    assert "\x1b[31mwrong" in written.getvalue()


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
def test_json_is_harmless_and_nothing_of_it_is_lost(text: str) -> None:
    line = json_line({"text": text, "label": "é"})
    assert not UNSAFE.search(line)
    assert "é" in line
    assert json.loads(line)["text"] == text


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        ("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")"),
        ("+1", "'+1"), ("-2+3", "'-2+3"), ("@SUM(A1)", "'@SUM(A1)"), ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"), ("a=1", "a=1"), ("", ""), (-2.5, -2.5), (None, None),
    ],
)  # fmt: skip
def test_a_formula_becomes_text(cell: object, safe: object) -> None:
    assert no_formula(cell) == safe


def test_markdown_holds_no_markup_of_others() -> None:
    hostile = "<img src=x onerror=alert(1)> [a](http://x) `code` | *b* \\| \x1b[2J"
    shown = markdown.literal(hostile)
    assert "<" not in shown
    assert "\x1b" not in shown
    for mark in ("[", "]", "`", "|", "*"):
        assert not re.search(rf"(?<!\\)(\\\\)*{re.escape(mark)}", shown.replace(f"\\{mark}", ""))
    for cell in (hostile, shown):
        line = markdown.table(["a", "b"], [[cell, "1"]]).splitlines()[-1]
        assert len(re.findall(r"(?<!\\)\|", line)) == 3, line


def test_a_report_about_hostile_runs_is_harmless(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["<script>alert(1)</script>", "\x1b]0;owned\x07=HYPERLINK(1)"]
    monkeypatch.setattr(run_folders, "CLASSES", names)
    run_folders.write_classifier(
        tmp_path / "runs", "=cmd()", overrides=["optim.lr=\x1b[2J<b>"], class_names=names
    )
    bad = tmp_path / "runs" / "other" / "seed_1"
    bad.mkdir(parents=True)
    (bad / "status.json").write_text(json.dumps({"state": "failed", "error": "\x1b[2J<b>boom"}))
    out = tmp_path / "report"
    assert report.main([str(tmp_path / "runs"), "--out", str(out), "--safe-csv"]) == 0
    shown = capsys.readouterr()
    assert not UNSAFE.search(shown.out + shown.err)
    page = (out / "index.html").read_text()
    assert "<script>alert" not in page
    assert "<b>boom" not in page
    assert "boom" in page
    for file in (out / "figures").glob("*.svg"):
        assert "<script" not in file.read_text()
    table = (out / "table.md").read_text()
    assert not UNSAFE.search(table)
    assert "<script" not in table
    for line in (out / "table.csv").read_text().splitlines()[1:]:
        assert not re.search(r"(^|,)\"?[=+@]", line), line


def test_classes_whose_names_begin_with_an_underscore_are_in_the_legend() -> None:
    names = ["_other_", "_promo_", "news"]
    truth = np.array([0, 1, 2, 0, 1, 2])
    found = np.full((6, 3), 0.2)
    found[np.arange(6), truth] = 0.6
    predictions = Predictions(names, list("abcdef"), truth, truth, found)
    for kind in ("roc", "precision_recall"):
        figure = class_figure(kind, class_curves(kind, predictions), style.Caption("run", ""))
        (axes,) = figure.axes
        shown = [text.get_text() for text in axes.get_legend().get_texts()]
        assert [line.rpartition(" ")[0] for line in shown[:3]] == names
        assert len(shown) == 5, "the mean and chance, too"
