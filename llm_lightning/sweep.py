"""A sweep as a whole: how far it has come, and what failed in it.

Jobs may run in this process, in others, or on other machines; what is known of them is the
``status.json`` in each run's folder.
"""

import math
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from llm_lightning import console, status
from llm_lightning.cli import conf_dir, list_experiments

_POLL_S = 1.0


def count_jobs(overrides: Sequence[str], params: dict[str, Any]) -> int | None:
    """Returns how many jobs the basic sweeper makes of a command; ``None`` if it cannot tell.

    Args:
        overrides: of the command line.
        params: of ``hydra.sweeper.params``, which the command line overrides.
    """
    lines = [f"{key}={value}" for key, value in params.items()] + list(overrides)
    counts: dict[str, int] = {}
    for override in OverridesParser.create().parse_overrides(lines):
        value: Any = override.value()
        if isinstance(value, Glob):
            group = conf_dir() / override.key_or_group
            is_experiment = override.key_or_group == "experiment"
            names = list_experiments() if is_experiment else [f.stem for f in group.glob("*.yaml")]
            counts[override.key_or_group] = len(value.filter(list(names)))
        elif override.is_sweep_override():
            if not override.is_discrete_sweep():
                return None
            counts[override.key_or_group] = len(list(override.sweep_string_iterator()))
        else:
            counts[override.key_or_group] = 1
    return math.prod(counts.values())


class SweepProgress(Callback):
    """Shows done, failed, running and left while a sweep runs; its end lists what failed.

    A sweep with failures ends the process with status 1.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Begins to watch."""
        self._runs_dir = Path(config.hydra.sweep.dir)
        self._since = datetime.now(UTC)
        sweeper = config.hydra.sweeper
        is_basic = sweeper._target_.endswith("BasicSweeper")
        self._total = (
            count_jobs(config.hydra.overrides.task, dict(sweeper.params or {}))
            if is_basic
            else sweeper.get("n_trials")
        )
        if not config.hydra.launcher._target_.endswith("BasicLauncher"):
            os.environ[console.OUTPUT_TO_FILE] = "1"  # jobs side by side inherit it
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Lists what failed.

        Raises:
            SystemExit: with status 1, if anything did.
        """
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()
        progress = status.read_progress(self._runs_dir, self._since, self._total)
        failures = {folder: _first_line(folder) for folder in progress.failed}
        console.print_sweep_end(progress.done, failures, progress.seconds)
        if failures:
            raise SystemExit(1)

    def _watch(self) -> None:
        is_alone = (
            console.OUTPUT_TO_FILE in os.environ
        )  # the terminal is not shared with a job's bar
        with console.sweep_line(is_live=is_alone) as show:
            while not self._stop.wait(_POLL_S):
                show(status.read_progress(self._runs_dir, self._since, self._total))


def _first_line(folder: Path) -> str:
    found = status.read(folder) or {}
    return (found.get("error") or "no reason was recorded").splitlines()[0]
