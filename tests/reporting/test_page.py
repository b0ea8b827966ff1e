"""The page: complete, safe and self-contained, whatever the data contain."""

import re
from collections.abc import Iterator
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from reporting import run_folders

from llm_lightning.reporting.analyse.study import read_study
from llm_lightning.reporting.render import number_formats, page
from llm_lightning.reporting.render.markdown_tables import as_markdown
from llm_lightning.reporting.render.report_folder import draw

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
    study = read_study([root])
    html = page.render(study, draw(study), made_at=datetime(2026, 1, 2, 3, 4), version="9.9")
    reader = Reader()
    reader.feed(html)
    reader.close()
    reader.text = " ".join(reader.text.split())
    return html, reader


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of all kinds, finished and not."""
    root = tmp_path_factory.mktemp("page") / "runs"
    for seed in (1, 2):
        run_folders.write_classifier(
            root, "row_01", seed=seed, missed=[seed], published={"row": 1, "test": 95.0}
        )
    run_folders.write_classifier(root, "row_02", missed=[4, 5], fallbacks=["nano replaced gpt2"])
    run_folders.write_classifier(root, "baseline_majority", missed=[1, 3, 5, 7, 9])
    run_folders.write_responses(root, judged=50.0)
    run_folders.write_responses(root, "instruct_masked", precision="bf16-mixed")
    run_folders.write_text_model(root)
    run_folders.write_status(root / "row_03" / "seed_1", "failed", error="out of memory")
    run_folders.write_status(root / "row_04" / "seed_1", "running", epoch=2)
    run_folders.write_status(root / "row_05" / "seed_1", "interrupted")
    (run_folders.write_classifier(root, "row_06") / "summary.json").write_text('{"name":')
    (run_folders.write_classifier(root, "row_07") / "metrics.csv").unlink()
    return root


@pytest.fixture(scope="module")
def everything(root: Path) -> tuple[str, Reader]:
    return render(root)


def test_nothing_is_loaded_from_anywhere(everything: tuple[str, Reader]) -> None:
    html, reader = everything
    for tag, name, value in reader.attributes():
        if name in LOADING:
            assert (value or "").startswith("#"), f"<{tag} {name}={value}>"
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {
        tag for tag, _ in reader.elements
    }
    assert not re.search(r"https?://|@import|url\((?!#)", html)
    policy = next(a for tag, a in reader.elements if "http-equiv" in a)["content"] or ""
    assert policy.startswith("default-src 'none'")


def test_links_inside_the_page_lead_somewhere(everything: tuple[str, Reader]) -> None:
    _, reader = everything
    targets = {value for _, name, value in reader.attributes() if name == "id"}
    links = [value for _, name, value in reader.attributes() if name == "href"]
    assert links
    assert {str(link).removeprefix("#") for link in links} <= targets


def test_every_section_is_there(everything: tuple[str, Reader]) -> None:
    html, reader = everything
    for heading in (
        "Accuracy",
        "Differences from",
        "Accuracy and cost",
        "Learning curves",
        "Confusion matrices",
        "Decision thresholds",
        "Predicted probabilities",
        "Misclassified messages",
        "Data",
        "Responses side by side",
        "Left out",
    ):
        assert f">{heading}" in html
    assert "Responses written in bf16: instruct_masked." in reader.text
    assert "Predictions computed in" not in reader.text
    assert "precision at 13.4 % spam" in reader.text
    assert "7 runs in 6 rows" not in reader.text
    figures = [a for tag, a in reader.elements if tag == "svg"]
    assert len(figures) >= 15
    ids = [value for _, name, value in reader.attributes() if name == "id"]
    assert len(ids) == len(set(ids))
    for figure in figures:
        assert figure["role"] == "img"
        assert set(str(figure["aria-labelledby"]).split()) <= set(ids)


def test_runs_left_out_are_listed_with_their_reasons(everything: tuple[str, Reader]) -> None:
    _, reader = everything
    listed = reader.text[reader.text.index("reasons are at the end") :]
    for words in (
        "runs/row_03/seed_1 failed out of memory",
        "runs/row_04/seed_1 running 2 epochs done",
        "runs/row_05/seed_1 interrupted before the end of the first epoch",
        "runs/row_06/seed_1 damaged summary.json: incomplete or damaged JSON",
        "runs/row_07/seed_1 used there is no metrics.csv",
    ):
        assert words in listed
    assert "4 more runs have no results; the reasons are at the end." in reader.text


def test_fallbacks_are_marked_everywhere(root: Path, everything: tuple[str, Reader]) -> None:
    _, reader = everything
    assert "Fallbacks: not comparable" in reader.text
    assert (
        "1 row used fallbacks for data or weights that were unavailable, and says nothing about "
        "the real ones: row_02." in reader.text
    )
    lines = as_markdown(read_study([root])).splitlines()
    row = next(line for line in lines if line.startswith("| `row_02`"))
    assert "fallback" in row
    assert "Fallback: nano replaced gpt2 (`row_02`)." in lines[0]


def test_the_first_sentences_state_the_facts(everything: tuple[str, Reader]) -> None:
    _, reader = everything
    for sentence in (
        "row_07 has the highest measured test accuracy of 2 networks: 100.00 % on 10 messages",
        "better than the best baseline, majority, with 50.00 %",
        "can be told apart from row_01",
        "Compared with the published values: 1 not comparable.",
        "2 networks ran with one seed only",
        "2 messages of 10 are misclassified by at least one run, the hardest by 1 of 3.",
        "The responses of instruct have the highest measured ROUGE-L: 62.5 %",
    ):
        assert sentence in reader.text, reader.text[reader.text.index("Classifiers: ") :][:1800]


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
        fallbacks=[ATTACK],
        weights={"model": "x", "source": ATTACK},
    )
    run_folders.write_classifier(root, "row_02", overrides=[f"y={ATTACK}"], test=test, train=train)
    run_folders.write_responses(
        root,
        overrides=[f"z={ATTACK.replace('/', '')}"],
        responses=(ATTACK, ATTACK, ATTACK, ATTACK),
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
    assert "Always predicting the most frequent training class gives 50.00 %." in reader.text
    assert "further left: most frequent class 50.0%</text>" in html
    run_folders.write_classifier(tmp_path, "baseline_majority", missed=[1, 3, 5, 7, 9])
    html, reader = render(tmp_path)
    assert "No baseline" not in reader.text
    assert "further left: majority 50.0%</text>" in html


def test_a_single_run_is_enough_for_a_page(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "baseline_majority")
    _, reader = render(tmp_path)
    assert "1 run in 1 row" in reader.text


def test_numbers_are_written_for_people() -> None:
    assert number_formats.percent(0.9663) == "96.63"
    assert number_formats.points(-0.012) == "\N{MINUS SIGN}1.20"
    assert number_formats.p_value(0.0004) == "<0.001"
    assert number_formats.p_value(0.0123) == "0.012"
    assert number_formats.minutes(0.284) == "0.28"
    assert number_formats.minutes(1234.5) == "1,234"
    assert number_formats.points(-0.00001) == "+0.00"
    assert number_formats.count(1, "row") == "1 row"
    assert number_formats.count(1234, "row") == "1,234 rows"
    assert page.breakable("optim.lr=1") == "optim.<wbr>lr=<wbr>1"
