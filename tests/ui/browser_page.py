"""The page in a headless Chromium that may talk to nobody but this page."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Page, Route, sync_playwright

HARMLESS = ("Method not implemented.",)
"""What Gradio itself warns of after every upload."""
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@dataclass
class Opened:
    """A page, and what it did that it should not."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, and exceptions."""
    others: list[str] = field(default_factory=list)
    """Addresses on other machines that were asked for; they got no answer."""

    def tab(self, name: str) -> None:
        """Opens a tab, as a click does."""
        self.page.get_by_role("tab", name=name, exact=True).click()

    def width(self) -> int:
        """How wide the page is: more than its window if something makes it scroll sideways."""
        return int(self.page.evaluate("document.documentElement.scrollWidth"))


@contextmanager
def opened(executable: str, address: str, *, width: int = 1200) -> Iterator[Opened]:
    """Opens the page."""
    own = address.rstrip("/")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=OPTIONS)
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            accept_downloads=True,
            is_mobile=width < 600,
            has_touch=width < 600,
        )
        found = Opened(context.new_page())

        def route(request: Route) -> None:
            url = request.request.url
            if url.startswith((own, "data:", "blob:")):
                request.continue_()
            else:
                found.others.append(url)
                request.abort()

        context.route("**/*", route)

        def hear(said: ConsoleMessage) -> None:
            if said.type in ("error", "warning") and said.text not in HARMLESS:
                found.complaints.append(said.text)

        found.page.on("console", hear)
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.goto(address)
        found.page.get_by_role("tab", name="Runs", exact=True).wait_for()
        yield found
        context.close()
        browser.close()


# The command, with a note of every address off this machine that its process connects to.
_PROGRAM = """
import socket, sys
from pathlib import Path

notes = Path(sys.argv.pop(1))

def hear(event, arguments):
    if event == "socket.connect" and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
        if arguments[1][0] not in ("127.0.0.1", "::1", "localhost"):
            with notes.open("a") as out:
                out.write(f"{arguments[1]}\\n")

sys.addaudithook(hear)
notes.touch()
from llm_lightning.__main__ import main
main()
"""


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Path]]:
    """Runs ``python -m llm_lightning ui runs`` in a folder; ends it as Ctrl-C does.

    Yields:
        The address, and a file with the addresses that the process connected to.
    """
    notes = folder / "connections.txt"
    command = [sys.executable, "-c", _PROGRAM, str(notes), "ui", "runs"]
    # A terminal's width: the address must not be broken into lines.
    environment = os.environ | {"COLUMNS": "200", "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:"), line
        yield line.split()[0], notes
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def save(page: Page, folder: Path | None, name: str) -> None:
    """Takes a picture of what is in the window, if someone wants to look at it."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", full_page=True)
