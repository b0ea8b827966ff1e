"""The page in a real browser: no errors, no requests, and everything is visible."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from reporting import run_folders
from reporting.browser import Page, find_browser, opened

from llm_lightning.reporting.analyse.study import read_study
from llm_lightning.reporting.draw import style
from llm_lightning.reporting.draw.svg_elements import CSS_VARIABLES
from llm_lightning.reporting.render.report_folder import write_report

pytestmark = pytest.mark.slow

LONG = "data.path=a_rather_long_name_of_a_folder_that_someone_chose.zip"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section, long names and a long word."""
    folder = tmp_path_factory.mktemp("report")
    root = folder / "runs"
    test = [(label, text + " " + "w" * 300) for label, text in run_folders.TEST]
    for number in range(1, 6):
        for seed in (1, 2, 3):
            run_folders.write_classifier(
                root,
                f"row_{number:02d}",
                seed=seed,
                overrides=[f"{LONG}{number}"],
                missed=[number, seed],
                test=test,
                published={"row": number, "test": 95.0},
                parameters={"trainable": 10**number, "total": 10**6},
                seconds={"total": 999, "training": 60.0 * number, "validation": 1, "evaluation": 1},
            )
    run_folders.write_classifier(root, "row_06", test=test, fallbacks=["nano replaced gpt2"])
    run_folders.write_classifier(root, "baseline_majority", missed=[1, 3, 5, 7, 9], test=test)
    for experiment in ("instruct", "instruct_masked"):
        run_folders.write_responses(root, experiment, judged=50.0)
    run_folders.write_text_model(root)
    run_folders.write_status(root / "row_09" / "seed_1", "failed", error="x" * 300)
    return write_report(read_study([root]), folder / "report")[0]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    executable = find_browser()
    if executable is None:
        if os.environ.get("REQUIRE_CHROMIUM"):
            pytest.fail("no Chromium is installed, and REQUIRE_CHROMIUM is set")
        pytest.skip("no Chromium is installed")
    with opened(executable, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1200])
def test_it_opens_from_disk_without_a_request_or_a_complaint(
    browser: Page, report: Path, width: int, dark: bool
) -> None:
    browser.open(report, width=width, dark=dark)
    assert browser.requests() == [report.resolve().as_uri()]
    assert browser.complaints() == []
    assert browser.ask("document.querySelectorAll('th button').length") > 20  # the script ran


def test_a_complaint_and_a_request_would_be_seen(browser: Page, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text("<script>console.log('x'); missing()</script><img src='http://192.0.2.1/x'>")
    browser.open(file)
    assert any("missing is not defined" in complaint for complaint in browser.complaints())
    assert "http://192.0.2.1/x" in browser.requests()


def test_every_figure_is_drawn(browser: Page, report: Path) -> None:
    browser.open(report)
    sizes = browser.ask(
        "[...document.querySelectorAll('svg')].map(figure => ["
        "figure.querySelector('title').textContent, figure.clientWidth,"
        "figure.clientHeight, figure.querySelectorAll('path').length])"
    )
    names = " ".join(name for name, *_ in sizes)
    for name in (
        "Test accuracy of 6 rows",
        "Test accuracy over trainable parameters",
        "Test accuracy over training time",
        "Learning curve of row_01",
        "Learning curve of instruct",
        "Confusion matrix of row_01",
        "Reliability of row_01",
        "ROC curves",
        "Precision over recall",
        "Lengths of spam",
    ):
        assert name in names
    for name, width, height, marks in sizes:
        assert width > 100, name
        assert height > 60, name
        assert marks > 1, name


def test_labels_stay_inside_their_figures(browser: Page, report: Path) -> None:
    browser.open(report)
    outside = browser.ask(
        "[...document.querySelectorAll('svg')].flatMap(figure => {"
        "  const frame = figure.getBoundingClientRect();"
        "  return [...figure.querySelectorAll('text')].filter(text => {"
        "    const box = text.getBoundingClientRect();"
        "    return box.left < frame.left - 1 || box.right > frame.right + 1"
        "      || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;"
        "  }).map(text => figure.querySelector('title').textContent + ': ' + text.textContent);"
        "})"
    )
    assert outside == []


@pytest.mark.parametrize("width", [320, 390, 800])
def test_a_phone_scrolls_down_only(browser: Page, report: Path, width: int) -> None:
    browser.open(report, width=width)
    browser.ask("document.querySelectorAll('details').forEach(more => { more.open = true; })")
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask("document.body.scrollWidth") <= width


def test_dark_and_light_can_both_be_read(browser: Page, report: Path) -> None:
    """Text against the page: a contrast of at least 4.5, as WCAG 2.1 asks for (1.4.3)."""
    for dark in (False, True):
        browser.open(report, dark=dark)
        for selector in ("p.note", "td.n", "h2", ".tag.warn", ".tag.good, .tag"):
            ratio = browser.ask(_CONTRAST.replace("SELECTOR", selector))
            assert ratio >= 4.5, (selector, dark)


def test_charts_follow_the_theme(browser: Page, report: Path) -> None:
    """Labels and lines of charts against their background; 3 is WCAG's bound for graphics."""
    for dark in (False, True):
        browser.open(report, dark=dark)
        shown = browser.ask(_PALETTE.replace("NAMES", str([*CSS_VARIABLES.values()])))
        assert "" not in shown.values()
        if not dark:
            differs = {colour for colour in CSS_VARIABLES if shown[CSS_VARIABLES[colour]] != colour}
            assert differs <= {style.INK, style.PALE}  # softer on the page than in a PNG
        for name in ("--ink", "--soft", "--series-1", "--series-2", "--series-3", "--series-4"):
            assert _contrast(shown[name], shown["--card"]) >= 3, (name, dark)


def test_a_figure_file_is_readable_by_itself_in_both_themes(browser: Page, report: Path) -> None:
    file = report.parent / "figures" / "classifiers_A_accuracy.svg"
    background = []
    for dark in (False, True):
        browser.open(file, dark=dark)
        assert browser.requests() == [file.resolve().as_uri()]
        assert browser.complaints() == []
        colours = browser.ask(
            "['rect', 'text'].map(name => getComputedStyle(document.querySelector(name)).fill)"
        )
        assert len(set(colours)) == 2
        background.append(colours[0])
    assert background == ["rgb(255, 255, 255)", "rgb(27, 32, 36)"]


@pytest.mark.parametrize("selector", ["table.main", "#instructions_A table", "#texts_A table"])
def test_the_main_tables_fit_a_small_desktop(browser: Page, report: Path, selector: str) -> None:
    browser.open(report, width=1280)
    frame = f"document.querySelector('{selector}').parentElement"
    assert browser.ask(f"{frame}.scrollWidth - {frame}.clientWidth") <= 0


def test_columns_sort_as_numbers_and_back(browser: Page, report: Path) -> None:
    browser.open(report)
    column = (
        "[...document.querySelector('table.sortable').tBodies[0].rows]"
        ".map(row => row.cells[2].textContent)"
    )
    click = "document.querySelectorAll('table.sortable th')[2].querySelector('button').click()"
    browser.ask(click)
    falling = [float(value) for value in browser.ask(column)]
    assert falling == sorted(falling, reverse=True)
    browser.ask(click)
    assert [float(value) for value in browser.ask(column)] == sorted(falling)


def test_it_prints(browser: Page, report: Path) -> None:
    browser.open(report, dark=True)
    printed = browser.print()
    assert printed.startswith(b"%PDF-")
    assert printed.count(b"/Type /Page\n") >= 3
    assert browser.complaints() == []
    browser.call("Emulation.setEmulatedMedia", media="print")
    background = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"
    # A page of A4 between its margins is about 700 pixels wide.
    browser.resize(700)
    assert browser.ask("document.documentElement.scrollWidth") <= 700
    browser.call("Emulation.setEmulatedMedia", media="")


_CONTRAST = """(() => {
  const numbers = color => color.match(/[\\d.]+/g).map(Number);
  const light = color => {
    const [r, g, b] = numbers(color).slice(0, 3).map(value => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const element = document.querySelector("SELECTOR");
  let behind = element;
  const isClear = color => numbers(color)[3] === 0;
  while (isClear(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
  const a = light(getComputedStyle(element).color);
  const b = light(getComputedStyle(behind).backgroundColor);
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
})()"""

_PALETTE = """(() => {
  const found = getComputedStyle(document.documentElement);
  return Object.fromEntries(NAMES.map(name => [name, found.getPropertyValue(name).trim()]));
})()"""


def _contrast(one: str, other: str) -> float:
    """The contrast of two colours such as ``#1c2126``, as WCAG 2.1 defines it."""

    def luminance(colour: str) -> float:
        shares = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
