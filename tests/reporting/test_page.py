"""The page: whole, safe and self-contained, whatever the data say."""

import re
from collections.abc import Iterator
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from reporting import run_folders

from llm_lightning.reporting.study import page
from llm_lightning.reporting.study.axis import Axis
from llm_lightning.reporting.study.study import read_study
from llm_lightning.reporting.study.svg import Plot
from llm_lightning.reporting.study.tables import as_markdown

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)> \"'><b>win</b> &amp; {{7*7}}"
VOID = {"meta", "br", "img", "link", "input", "hr", "wbr"}
LOADING = {"src", "href", "srcset", "data", "action", "poster", "xlink:href", "background"}


class Reader(HTMLParser):
    """Collects elements and attributes, and whether every element is closed in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.text += data

    def close(self) -> None:
        super().close()
        assert self._open == []

    def attributes(self) -> Iterator[tuple[str, str, str | None]]:
        return ((tag, *pair) for tag, attributes in self.elements for pair in attributes.items())


def render(root: Path) -> tuple[str, Reader]:
    html = page.render(read_study([root]), made_at=datetime(2026, 1, 2, 3, 4), version="9.9")
    reader = Reader()
    reader.feed(html)
    reader.close()
    return html, reader


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    """Runs of all kinds, finished and not."""
    root = tmp_path / "runs"
    for seed in (1, 2):
        run_folders.write_classifier(
            root, "row_01", seed=seed, missed=[seed], published={"row": 1, "test": 95.0}
        )
    run_folders.write_classifier(root, "row_02", missed=[4, 5], notices=["nano replaced gpt2"])
    run_folders.write_classifier(root, "baseline_majority", missed=[1, 3, 5, 7, 9])
    run_folders.write_answers(root, judged=50.0)
    run_folders.write_answers(root, "instruct_masked")
    run_folders.write_text_model(root)
    run_folders.write_status(root / "row_03" / "seed_1", "failed", error="out of memory")
    run_folders.write_status(root / "row_04" / "seed_1", "running", epoch=2)
    run_folders.write_status(root / "row_05" / "seed_1", "interrupted")
    (run_folders.write_classifier(root, "row_06") / "summary.json").write_text('{"name":')
    (run_folders.write_classifier(root, "row_07") / "metrics.csv").unlink()
    return root


def test_nothing_is_loaded_from_anywhere(everything: Path) -> None:
    html, reader = render(everything)
    for tag, name, value in reader.attributes():
        if name in LOADING:
            assert (value or "").startswith("#"), f"<{tag} {name}={value}>"
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {
        tag for tag, _ in reader.elements
    }
    assert not re.search(r"https?://|@import|url\(", html)
    policy = next(a for tag, a in reader.elements if "http-equiv" in a)["content"] or ""
    assert policy.startswith("default-src 'none'")


def test_links_inside_the_page_lead_somewhere(everything: Path) -> None:
    _, reader = render(everything)
    targets = {value for _, name, value in reader.attributes() if name == "id"}
    links = [value for _, name, value in reader.attributes() if name == "href"]
    assert links
    assert {str(link).removeprefix("#") for link in links} <= targets


def test_every_section_is_there(everything: Path) -> None:
    html, reader = render(everything)
    for heading in (
        "Accuracy",
        "Differences from",
        "What accuracy costs",
        "Learning",
        "Confusion",
        "Every threshold",
        "What probabilities are worth",
        "Messages that are missed",
        "The data",
        "Answers side by side",
        "Left out, and why",
    ):
        assert f">{heading}" in html
    assert "precision at 13.4 % spam" in reader.text
    assert "7 runs in 6 rows" not in reader.text
    figures = [a for tag, a in reader.elements if tag == "svg"]
    assert len(figures) >= 15
    assert all(figure["aria-label"] for figure in figures)


def test_runs_left_out_are_listed_with_their_reasons(everything: Path) -> None:
    _, reader = render(everything)
    listed = reader.text[reader.text.index("Left out, and why") :]
    for words in (
        "runs/row_03/seed_1failedout of memory",
        "runs/row_04/seed_1running2 epochs done",
        "runs/row_05/seed_1interruptedbefore the end of the first epoch",
        "runs/row_06/seed_1damagedsummary.json: half-written or damaged JSON",
        "runs/row_07/seed_1usedthere is no metrics.csv",
    ):
        assert words in listed
    assert "4 more had nothing to report; they are listed at the end." in reader.text


def test_stand_ins_are_called_so_everywhere(everything: Path) -> None:
    html, reader = render(everything)
    assert "Stand-ins: not comparable" in reader.text
    row = next(
        line for line in as_markdown(read_study([everything])).splitlines() if "row_02" in line
    )
    assert "not comparable: stand-in: nano replaced gpt2" in row
    assert 'class="hollow"' in html


def test_messages_labels_and_errors_are_text_and_never_elements(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    test = [(label, ATTACK + text) for label, text in run_folders.TEST]
    train = [(label, ATTACK + text) for label, text in run_folders.TRAIN]
    run_folders.write_classifier(
        root,
        "row_01",
        overrides=[f"x={ATTACK}"],
        missed=[0, 1],
        test=test,
        train=train,
        notices=[ATTACK],
        weights={"source": ATTACK},
    )
    run_folders.write_classifier(root, "row_02", overrides=[f"y={ATTACK}"], test=test, train=train)
    run_folders.write_answers(
        root,
        overrides=[f"z={ATTACK.replace('/', '')}"],
        answers=(ATTACK, ATTACK, ATTACK, ATTACK),
    )
    run_folders.write_status(root / "failed", "failed", error=ATTACK)
    html, reader = render(root)
    tags = [tag for tag, _ in reader.elements]
    assert tags.count("script") == 1
    assert "img" not in tags
    handlers = [name for _, name, _ in reader.attributes() if name.startswith("on")]
    assert handlers == []
    assert reader.text.count("<script>alert(1)</script>") >= 4
    assert "{{7*7}}" in reader.text
    assert html.count("<script>") == 1
    assert "<img" not in as_markdown(read_study([root]))


def test_class_names_and_column_names_may_be_anything(tmp_path: Path) -> None:
    names = ["<b>ham</b>", 'sp"am']
    folder = run_folders.write_classifier(tmp_path, class_names=names)
    header = 'text,label,predicted,probability_<b>ham</b>,"probability_sp""am"'
    lines = [f'x,{names[0]},"sp""am",0.2,0.8'] * 10
    (folder / "predictions_test.csv").write_text("\n".join([header, *lines]))
    _, reader = render(tmp_path)
    assert "<b>ham</b>" in reader.text
    assert "precision at" not in reader.text  # what share of messages is not known


def test_without_a_baseline_the_page_says_how_to_get_one(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "row_01")
    html, reader = render(tmp_path)
    assert "No baseline was run on these messages." in reader.text
    assert "most frequent in training gives 50.00 %" in reader.text
    assert ">most frequent class</text>" in html
    run_folders.write_classifier(tmp_path, "baseline_majority", missed=[1, 3, 5, 7, 9])
    html, reader = render(tmp_path)
    assert "No baseline" not in reader.text
    assert ">majority</text>" in html


def test_a_single_run_is_enough_for_a_page(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "baseline_majority")
    _, reader = render(tmp_path)
    assert "1 run in 1 row" in reader.text


def test_numbers_are_written_for_people() -> None:
    assert page.percent(0.9663) == "96.63"
    assert page.points(-0.012) == "\N{MINUS SIGN}1.20"
    assert page.p_value(0.0004) == "<0.001"
    assert page.p_value(0.0123) == "0.012"
    assert page.minutes(0.284) == "0.28"
    assert page.minutes(1234.5) == "1,234"
    assert page.ticks("see `a<b`") == "see <code>a&lt;b</code>"
    assert page.breakable("optim.lr=1") == "optim.<wbr>lr=<wbr>1"


def test_axes_have_round_ticks() -> None:
    assert Axis(0.35, 1.0).marks(7) == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert Axis(0, 3, is_whole=True).marks(9) == [0, 1, 2, 3]
    assert Axis(100, 1e7, is_log=True).marks(5) == [100, 1e3, 1e4, 1e5, 1e6, 1e7]
    assert Axis(15, 90, is_log=True).marks(5) == [20, 50]
    single = Axis(2, 2)
    assert 0 < single.share(2) < 1


def test_points_land_where_the_axes_say() -> None:
    plot = Plot(110, 120, Axis(0, 10), Axis(0, 1), "t", left=10, right=0, top=20, bottom=0)
    assert plot.at(0, 0) == (10, 120)
    assert plot.at(10, 1) == (110, 20)
    assert plot.at(5, 0.5) == (60, 70)
    plot.dot(5, 0.5, "series-1", tip="<5>")
    assert 'cx="60" cy="70"' in plot.render()
    assert "<title>&lt;5&gt;</title>" in plot.render()
