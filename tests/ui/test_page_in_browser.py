"""Every tab in a real browser: it works, nothing complains, and nothing leaves the machine."""

import csv
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import SMOKE, start
from reporting.browser import find_browser

from llm_lightning.presentation.extras import is_installed

if not is_installed("gradio"):
    pytest.skip("Gradio is not installed", allow_module_level=True)
pytest.importorskip("playwright")
from playwright.sync_api import Page, expect
from ui.browser_page import Opened, opened, save, served

from llm_lightning.evaluation.arena.votes import read_votes
from llm_lightning.run_format import status
from llm_lightning.run_format.folder_lock import holder_of

pytestmark = [
    pytest.mark.slow,
    # Of Gradio and what it brings; here only the page counts.
    pytest.mark.filterwarnings("ignore"),
]

PICTURES = os.environ.get("LLM_LIGHTNING_PICTURES")
"""A folder for pictures of the screens, for people who want to look at them."""

CLASSIFY = ("optim.lr=1e-3", "task.pooling=last_real")
TABS = ("Runs", "Data", "Try it", "Chat", "Compare", "Arena")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two classifiers and two language models."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LLM_LIGHTNING_CACHE", str(folder / "cache"))
        for number in (1, 2):
            start(patch, "+experiment=last_block", *SMOKE, *CLASSIFY, f"seed={number}")
            start(
                patch, "+experiment=instruct_nano", *SMOKE, "task.generation.max_new_tokens=6",
                "trainer.max_epochs=1", f"seed={number}",
            )  # fmt: skip
        yield folder


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[tuple[str, Path]]:
    with served(place) as found:
        yield found


@pytest.fixture(scope="module")
def address(server: tuple[str, Path]) -> str:
    return server[0]


@pytest.fixture
def executable() -> str:
    found = find_browser()
    if found is None:
        if os.environ.get("REQUIRE_CHROMIUM"):
            pytest.fail("no Chromium is installed, and REQUIRE_CHROMIUM is set")
        pytest.skip("no Chromium is installed")
    return found


@pytest.fixture
def site(executable: str, server: tuple[str, Path]) -> Iterator[Opened]:
    address, connections = server
    with opened(executable, address) as found:
        yield found
    assert found.complaints == []
    assert found.others == []
    assert connections.read_text() == ""


def picture(site: Opened, name: str) -> None:
    save(site.page, Path(PICTURES) if PICTURES else None, name)


def choose(page: Page, label: str, name: str) -> None:
    """Chooses from a drop-down list, and waits until it is closed."""
    page.get_by_label(label).click()
    page.get_by_role("option", name=re.compile(name)).click()
    expect(page.get_by_role("option")).to_have_count(0)


def test_runs_are_listed_and_compared(site: Opened) -> None:
    page = site.page
    table = page.locator("table.plain").first
    expect(table).to_contain_text("last_block")
    finished = table.locator("tbody tr").filter(has_text="finished")
    expect(finished).to_have_count(4)
    expect(page.locator(".panels svg").first).to_be_visible()
    choose(page, "First run", "last_block.*seed_1$")
    choose(page, "Second run", "last_block.*seed_2$")
    difference = page.locator("table.plain", has_text="first run")
    expect(difference).to_contain_text("init_seed")
    expect(page.get_by_text(re.compile(r"^diff "))).to_be_visible()
    picture(site, "runs")


def test_data_show_the_first_batch(site: Opened) -> None:
    page = site.page
    site.tab("Data")
    shown = page.locator("#data-shown")
    for name, texts in {
        "last_block.*seed_1$": ("ham", "the state of the last real token"),
        "instruct.*seed_1$": ("the model must predict it", "read, but not in the loss"),
    }.items():
        choose(page, "Run whose data", name)
        page.locator("#show-data").click()
        for text in (*texts, "import first_batch"):
            expect(shown).to_contain_text(text, timeout=20_000)
        picture(site, f"data-{texts[0].split()[0]}")
    expect(shown.locator(".token").first).to_be_visible()


def test_a_text_is_classified_and_explained_by_keyboard(site: Opened) -> None:
    page = site.page
    site.tab("Try it")
    page.locator("#try-text textarea").focus()
    page.keyboard.type("Congratulations! You have won a free prize, call now")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    shown = page.locator("#try-shown")
    expect(shown).to_contain_text("Occlusion", timeout=20_000)
    assert shown.locator(".marked").inner_text().startswith("Congratulations! You have won")
    expect(shown).to_contain_text("python -m llm_lightning predict runs/last_block")
    picture(site, "try")
    choose(page, "Classifier", "last_block.*seed_1$")
    expect(shown).not_to_contain_text("Occlusion")  # it was of the other run


def test_many_texts_are_classified_and_downloaded(site: Opened, tmp_path: Path) -> None:
    page = site.page
    site.tab("Try it")
    file = tmp_path / "mine.csv"
    file.write_text('message\n"win, now"\nsee you\n')
    page.locator("input[type=file]").first.set_input_files(file)
    page.get_by_label("Column of the texts").fill("message")
    expect(page.get_by_text("mine", exact=False).first).to_be_visible()
    page.locator("#try-classify-all").click()
    expect(page.locator("#try-some")).to_contain_text("2 texts classified", timeout=20_000)
    with page.expect_download() as download:
        page.locator("#try-download").click()
    saved = tmp_path / "saved.csv"
    download.value.save_as(saved)
    with saved.open(newline="") as opened_file:
        rows = list(csv.DictReader(opened_file))
    assert [row["text"] for row in rows] == ["win, now", "see you"]
    assert {row["label"] for row in rows} <= {"ham", "spam"}


def test_a_chat_streams_and_shows_its_prompt(site: Opened) -> None:
    page = site.page
    site.tab("Chat")
    page.locator("#chat-instruction textarea").fill("Name the capital of France.")
    page.locator("#chat-send").click()
    prompt = page.locator("#chat-prompt")
    expect(prompt).to_contain_text("### Instruction:\nName the capital of France.", timeout=20_000)
    expect(prompt).to_contain_text("python -m llm_lightning generate runs/instruct")
    shown = page.locator("#chat-shown")
    expect(shown.locator("[data-testid=user]")).to_have_count(1)
    response = shown.locator("[data-testid=bot]")
    expect(response).to_have_count(1)
    expect(response).not_to_contain_text("…")
    picture(site, "chat")


def test_one_text_through_several_runs_and_their_worst_items(site: Opened) -> None:
    page = site.page
    site.tab("Compare")
    page.locator("#compare-text textarea").fill("free prize")
    # Two runs of the kind that came last are chosen; a mixture would be refused.
    page.locator("#compare-go").click()
    shown = page.locator("#compare-shown")
    expect(shown.locator("tbody tr")).to_have_count(2, timeout=20_000)
    page.locator("#compare-items").click()
    expect(page.locator("#compare-items-shown tbody tr")).to_have_count(10, timeout=20_000)
    picture(site, "compare")


def test_votes_by_keyboard_only(site: Opened, place: Path) -> None:
    page = site.page
    site.tab("Arena")
    page.locator("#arena-ratings").click()
    expect(page.locator("#arena-rated")).to_contain_text("no vote on these responses")
    page.locator("#arena-begin").focus()
    page.keyboard.press("Enter")
    task = page.locator("#arena-task")
    expect(task).to_contain_text("Task", timeout=20_000)
    assert "seed_" not in page.locator("#arena-left").inner_text(), "nothing says whose it is"
    picture(site, "arena")
    for number, (key, choice) in enumerate(
        {"a": "left", "b": "right", "t": "tie", "x": "both_bad"}.items(), start=1
    ):
        time.sleep(0.4)
        page.keyboard.press(key)
        end = time.monotonic() + 20
        while len(votes := read_votes(place / "arena.sqlite")) < number:
            assert time.monotonic() < end
            page.wait_for_timeout(50)
        assert votes[-1].choice == choice
        expect(page.locator("#arena-said")).to_contain_text("recorded")
        page.wait_for_timeout(200)
    page.get_by_label("Your name").focus()
    page.keyboard.press("a")
    page.wait_for_timeout(500)
    assert len(read_votes(place / "arena.sqlite")) == 4, "typing is no voting"
    page.locator("#arena-ratings").click()
    rated = page.locator("#arena-rated")
    expect(rated).to_contain_text("Bradley-Terry on Elo's scale, from 4 votes", timeout=20_000)


def test_a_run_is_started_stopped_and_continued(site: Opened, place: Path) -> None:
    page = site.page
    page.get_by_label("Settings, as on").fill(
        "trainer=smoke model=nano model.weights=random baselines=[] optim.lr=5e-4 "
        "trainer.max_epochs=10000 trainer.limit_train_batches=4"
    )
    expect(page.get_by_text("trainer.max_epochs=10000").last).to_be_visible()
    page.locator("#start-run").click()
    expect(page.locator("#run-message")).to_contain_text("works in", timeout=20_000)
    folder = next(place.glob("runs/last_block*max_epochs?10000*/seed_123"))
    table = page.locator("table.plain").first
    expect(table).to_contain_text("running", timeout=60_000)
    # The page is opened anew, and the run is still there.
    page.reload()
    expect(table).to_contain_text("running", timeout=60_000)
    page.locator("#runs-live svg").first.wait_for(timeout=60_000)
    picture(site, "running")
    holder = holder_of(folder)
    assert holder is not None
    expect(page.get_by_label("Running")).to_have_value(re.compile("seed_123$"))
    page.locator("#stop-run").click()
    expect(page.locator("#run-message")).to_contain_text(f"process {holder.pid} was asked")
    expect(table).to_contain_text("interrupted", timeout=60_000)
    assert (folder / "checkpoints" / "resume.ckpt").is_file()
    expect(page.get_by_label("Not finished")).to_have_value(re.compile("seed_123$"))
    page.locator("#continue-run").click()
    expect(table).to_contain_text("running", timeout=60_000)
    page.wait_for_timeout(1000)
    expect(page.get_by_label("Running")).to_have_value(re.compile("seed_123$"))
    page.locator("#stop-run").click()
    expect(table).to_contain_text("interrupted", timeout=60_000)
    assert (status.read(folder) or {})["state"] == "interrupted"
    assert (folder / "output.txt").read_text().count("$ python -m llm_lightning") == 2


def test_a_wrong_value_is_a_message(executable: str, address: str) -> None:
    with opened(executable, address) as site:
        site.page.get_by_label("Settings, as on").fill("optim.lr")
        expect(site.page.locator("p.bad")).to_contain_text("optim.lr")
        site.tab("Chat")
        site.page.locator("#chat-send").click()
        expect(site.page.get_by_text("type an instruction first")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1200])
def test_no_tab_is_wider_than_its_window(executable: str, address: str, width: int) -> None:
    with opened(executable, address, width=width) as site:
        for name in TABS:
            if site.page.get_by_role("tab", name=name, exact=True).is_visible():
                site.tab(name)
            else:  # tabs that have no room are in a menu
                site.page.get_by_role("button", name="…").or_(
                    site.page.locator(".overflow-menu > button")
                ).first.click()
                site.page.locator(".overflow-dropdown button", has_text=name).click()
            for button in ("#show-data", "#try-classify", "#compare-items", "#arena-begin"):
                if site.page.locator(button).is_visible():
                    site.page.locator(button).click()
                    site.page.wait_for_timeout(1500)
            assert site.width() <= width, name
            picture(site, f"{width}-{name.lower().replace(' ', '-')}")
        assert site.complaints == []
        assert site.others == []
