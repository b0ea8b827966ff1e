"""What is checked before Hydra makes the folder of a run: a refused command leaves nothing."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import OmegaConf

from llm_lightning.commands.sweep import plugin_problem
from llm_lightning.config.checks import check
from llm_lightning.config.composition import composed
from llm_lightning.config.overrides import parse
from llm_lightning.config.sweep_jobs import check_jobs
from llm_lightning.sweeping.places import check_number
from llm_lightning.sweeping.study import is_search, read_plan

_SHOWN = 100  # characters of a path


def check_settings(overrides: Sequence[str], *, is_sweep: bool = False) -> Path:
    """Checks the settings of a command, of a sweep those of all its jobs.

    Args:
        overrides: as on the command line.
        is_sweep: whether several values of a setting make several jobs, and what a sweep file
            varies counts, too.

    Returns:
        The folder of all runs.

    Raises:
        ValueError: naming what is wrong.
    """
    try:
        cfg = composed(overrides)
    except ValueError:
        if is_sweep:
            check_jobs(overrides)  # names the jobs whose value it is
        raise
    if problem := plugin_problem(cfg):
        raise ValueError(problem)
    if is_sweep:
        if "n_jobs" in cfg.hydra.launcher:
            check_number(cfg.hydra.launcher.n_jobs)
        if is_search(cfg):
            read_plan(cfg, overrides)
        varied = OmegaConf.select(cfg, "hydra.sweeper.params") or {}
        own = {one.key_or_group for one in parse(overrides)}
        check_jobs([*overrides, *(f"{k}={v}" for k, v in varied.items() if k not in own)])
    else:
        check(cfg)
    return Path(cfg.runs_dir)


@contextlib.contextmanager
def runs_folder(folder: Path) -> Iterator[None]:
    """Makes the folder of all runs; removes it again if nothing was put into it.

    Raises:
        ValueError: if it cannot be made, or nothing can be written there.
    """
    try:
        made = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        is_taken = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "there is a file of this name" if is_taken else error.strerror
        raise ValueError(f"runs_dir={_shown(folder)} cannot be made: {reason}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"runs_dir={_shown(folder)}: there is no permission to write there")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # of one that is not empty
            for one in made:
                one.rmdir()


def _shown(folder: Path) -> str:
    text = str(folder)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"
