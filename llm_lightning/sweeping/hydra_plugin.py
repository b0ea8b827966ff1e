"""What Hydra finds as ``hydra_plugins.llm_lightning``: thin, for it imports this at every start.

Installing copies this file there, into the only package from which Hydra takes launchers and
sweepers.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class Search(Sweeper):
    """Chooses settings with Optuna, trial after trial; see ``llm_lightning.sweeping.search``.

    Args:
        settings: of ``conf/hydra/sweeper/search.yaml``.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = _plain(settings)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Makes the launcher."""
        from hydra.core.plugins import Plugins

        self._config = config
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Searches."""
        from llm_lightning.sweeping.search import search

        return search(self._config, arguments, self._launcher)


class _OwnLauncher(Launcher):
    """Keeps what a job needs.

    Args:
        settings: of a file in ``conf/hydra/launcher``.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = _plain(settings)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keeps it."""
        from llm_lightning.sweeping.job import Jobs

        self._jobs = Jobs(hydra_context, task_function, config)


class Parallel(_OwnLauncher):
    """Jobs side by side on this machine; see ``llm_lightning.sweeping.parallel``."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs the jobs."""
        from llm_lightning.sweeping.parallel import launch

        return launch(self._jobs, job_overrides, initial_job_idx, **self._settings)


class Slurm(_OwnLauncher):
    """Jobs of SLURM, through submitit; see ``llm_lightning.sweeping.slurm``."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs the jobs."""
        from llm_lightning.sweeping.slurm import launch

        return launch(self._jobs, job_overrides, initial_job_idx, **self._settings)


class SlurmLocal(_OwnLauncher):
    """What SLURM does, without it; see ``llm_lightning.sweeping.slurm``."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs the jobs."""
        from llm_lightning.sweeping.slurm import launch_here

        return launch_here(self._jobs, job_overrides, initial_job_idx, **self._settings)


class Ray(_OwnLauncher):
    """Tasks of a Ray cluster; see ``llm_lightning.sweeping.ray_cluster``."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs the jobs."""
        from llm_lightning.sweeping.ray_cluster import launch

        return launch(self._jobs, job_overrides, initial_job_idx, **self._settings)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for key, value in settings.items()
    }
