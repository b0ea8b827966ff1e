"""Curves for Trackio, which Lightning has no logger for."""

import os
from argparse import Namespace
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers.logger import Logger

from llm_lightning.presentation.extras import require


class TrackioLogger(Logger):
    """Writes metrics into Trackio's files on this machine.

    Args:
        project: that the runs belong to.
        run: the run's name.
        folder: of Trackio's files, which all runs share.

    Raises:
        ValueError: if Trackio is not installed.
    """

    def __init__(self, project: str, run: str, folder: str) -> None:
        super().__init__()
        require("logger=trackio", {"trackio": "trackio"}, "loggers")
        self._project, self._run_name, self._folder = project, run, Path(folder)
        self._run: Any = None

    @property
    def name(self) -> str:
        """The project."""
        return self._project

    @property
    def version(self) -> str:
        """The run's name."""
        return self._run_name

    @property
    def experiment(self) -> Any:
        """Trackio's run, opened at the first use."""
        if self._run is None:
            os.environ["TRACKIO_DIR"] = str(self._folder.absolute())  # read at the import
            with redirect_stdout(StringIO()):  # advice about its page
                import trackio

                self._run = trackio.init(
                    project=self._project,
                    name=self._run_name,
                    resume="allow",
                    embed=False,
                    auto_log_gpu=False,
                    auto_log_cpu=False,
                )
        return self._run

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any) -> None:
        """Notes settings."""
        self.experiment.config |= params if isinstance(params, dict) else vars(params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes values of one step."""
        self.experiment.log(dict(metrics), step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes what is left."""
        if self._run is not None:
            with redirect_stdout(StringIO()):
                self._run.finish()
            self._run = None
