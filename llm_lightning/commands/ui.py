"""``python -m llm_lightning ui RUNS_DIR ...``: a page over run folders, on this machine only.

Runs that the page starts are processes of their own: they go on when it ends.
"""

import argparse
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from rich.markup import escape

from llm_lightning.commands.command_line import command_line_problem
from llm_lightning.config.experiments import list_experiments
from llm_lightning.presentation.extras import require
from llm_lightning.presentation.terminal import console, print_error, working


def main(
    arguments: Sequence[str] | None = None, *, wait: Callable[[], object] | None = None
) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: of the command line.
        wait: returns when the page shall end; by default never, until Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        require("ui", {"gradio": "Gradio"}, "ui")
        for root in options.runs:
            if root.exists() and not root.is_dir():
                raise ValueError(f"{root} is a file: name a folder of runs")
        with working("starting the page"):
            # Imported only now: the help should not wait for Gradio.
            from llm_lightning.ui.context import Context
            from llm_lightning.ui.page import build_page, launch_page

            experiments = list_experiments()
            context = Context(
                roots=options.runs,
                votes=options.database,
                experiments=experiments,
                problem_of=_problem_of(experiments),
            )
            page = build_page(context)
            address = launch_page(page, options.port)
    except (ValueError, OSError) as error:
        print_error(str(error))
        return 2
    console.print(f"{escape(address)} (only on this machine; Ctrl-C ends the page, not the runs)")
    try:
        (wait or threading.Event().wait)()
    except KeyboardInterrupt:
        pass
    finally:
        page.close(verbose=False)
    return 0


def _problem_of(experiments: Collection[str]) -> Callable[[Sequence[str]], str | None]:
    def problem(arguments: Sequence[str]) -> str | None:
        found = command_line_problem(arguments, experiments, ())
        return "choose an experiment" if found == "" else found

    return problem


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning ui",
        description="A page to watch and start runs, look at data, try, compare and vote.",
        epilog="It listens on 127.0.0.1 only, and every screen shows the command that does the "
        "same.",
    )
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        default=[Path("runs")],
        help="folders of runs; new runs go to the first (default: runs)",
    )
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    parser.add_argument(
        "--database",
        type=Path,
        default=Path("arena.sqlite"),
        help="file of the arena's votes (default: %(default)s)",
    )
    return parser
