"""Starts runs as processes of their own, which outlive the page, and stops them.

The command stands at the top of the run's ``output.txt``, before what it prints, so that whoever
opens the page later can continue the run.
"""

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_lightning.config.run_name import run_name
from llm_lightning.presentation.command_lines import command_line
from llm_lightning.run_format import status
from llm_lightning.run_format.files import OUTPUT
from llm_lightning.run_format.folder_lock import Holder, holder_of

_PROMPT = "$ "
_LAST_CHARACTERS = 4000
_DEFAULT_SEED = "123"


@dataclass(frozen=True)
class Launch:
    """A run that can be started."""

    arguments: tuple[str, ...]
    """Of ``python -m llm_lightning``."""
    folder: Path
    """Where it goes."""

    @property
    def command(self) -> str:
        """The command line that does the same."""
        return command_line(*self.arguments)


def launch_of(
    experiment: str,
    settings: str,
    runs_dir: Path,
    problem_of: Callable[[Sequence[str]], str | None],
) -> Launch:
    """Returns the run of an experiment with some settings.

    Args:
        experiment: its name.
        settings: as on a command line, such as ``optim.lr=1e-4 seed=2``.
        runs_dir: folder of all runs.
        problem_of: says what is wrong with a command line.

    Raises:
        ValueError: if something is.
    """
    if not experiment:
        raise ValueError("choose an experiment")
    try:
        given = shlex.split(settings)
    except ValueError as error:
        raise ValueError(f"settings: {error}; quotes come in pairs") from error
    for word in given:
        if word.startswith("-"):
            raise ValueError(f"{word}: only settings such as seed=2 can be given here, no options")
        if word.split("=")[0].lstrip("+~") in ("runs_dir", "experiment", "dry_run"):
            raise ValueError(f"{word}: the page sets this; start it from a terminal instead")
    arguments = (f"+experiment={experiment}", *given, f"runs_dir={_quoted(runs_dir)}")
    if problem := problem_of(arguments):
        raise ValueError(problem)
    seeds = [word.removeprefix("seed=") for word in given if word.startswith("seed=")]
    seed = seeds[-1] if seeds else _DEFAULT_SEED
    return Launch(arguments, runs_dir / run_name(arguments) / f"seed_{seed}")


def start(launch: Launch) -> int:
    """Starts a run in a session of its own: it goes on when the page ends.

    Returns:
        The number of the process.

    Raises:
        ValueError: if a process works on the folder already.
    """
    if holder := holder_of(launch.folder):
        raise ValueError(f"{launch.folder} is running already, as process {holder.pid}")
    launch.folder.mkdir(parents=True, exist_ok=True)
    with (launch.folder / OUTPUT).open("a", encoding="utf-8") as output:
        output.write(f"{_PROMPT}{launch.command}\n")
        output.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", "llm_lightning", *launch.arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    threading.Thread(target=_await, args=(process, launch.folder), daemon=True).start()
    return process.pid


def stop(folder: Path) -> Holder:
    """Asks the process that works on a run to save and end; the same command continues the run.

    Returns:
        The process.

    Raises:
        ValueError: if there is none, or it is on another machine or another user's.
    """
    holder = holder_of(folder)
    if holder is None:
        raise ValueError(f"{folder} is not running")
    if holder.host != socket.gethostname():
        raise ValueError(
            f"{folder} is running on {holder.host}, as process {holder.pid}: stop it there"
        )
    try:
        os.kill(holder.pid, signal.SIGTERM)
    except OSError as error:
        raise ValueError(f"process {holder.pid} cannot be stopped: {error.strerror}") from error
    return holder


def earlier_launch(folder: Path) -> Launch | None:
    """Returns how a run was last started by the page; ``None`` if it was not."""
    lines = _output(folder).split("\n")
    prefix = f"{_PROMPT}python -m llm_lightning "
    commands = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
    return Launch(tuple(shlex.split(commands[-1])), folder) if commands else None


def last_output(folder: Path) -> str:
    """Returns the end of what a run printed, if that went to its folder."""
    return _output(folder)[-_LAST_CHARACTERS:]


def _output(folder: Path) -> str:
    try:
        return (folder / OUTPUT).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _await(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Waits for a process, and records the failure of one that ended before it could."""
    if process.wait() and status.read(folder) is None:
        said = [line for line in last_output(folder).strip().split("\n") if line.strip()]
        status.write(folder, "failed", error=said[-1].strip() if said else "it ended at once")


def _quoted(path: Path) -> str:
    """A path as the value of a setting, in Hydra's quotes if it needs them."""
    text = str(path)
    if all(character.isalnum() or character in "/._-+%@" for character in text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
