"""One job of a sweep, in whichever process or on whichever machine a launcher runs it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.markup import escape

from llm_lightning.config.run_name import run_name
from llm_lightning.presentation.terminal import errors
from llm_lightning.run_format import status


@dataclass
class Jobs:
    """What the jobs of a sweep have in common; it is sent along with each of them."""

    hydra_context: HydraContext
    task_function: TaskFunction
    cfg: DictConfig
    """Of the sweep, with Hydra's own part."""
    singletons: Any = field(default_factory=Singleton.get_state)
    """Of Hydra, among them the schemas."""

    def run(self, overrides: Sequence[str], number: int) -> JobReturn:
        """Runs one, in the process that it has for itself.

        Args:
            overrides: of the job.
            number: of the job in its sweep, from 0.
        """
        Singleton.set_state(self.singletons)
        setup_globals()
        cfg = self._composed(overrides, number)
        HydraConfig.instance().set_config(cfg)
        found = run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=cfg,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        folder = Path(cfg.hydra.runtime.output_dir)
        return _returned(overrides, folder, found._return_value, found.status)

    def lost(self, overrides: Sequence[str], number: int, reason: str) -> JobReturn:
        """Records that a job ended without a result, so that the others can go on.

        Args:
            overrides: of the job.
            number: of the job in its sweep, from 0.
            reason: in a line.

        Returns:
            What a job returns that failed in a way it could report.
        """
        cfg = self._composed(overrides, number)
        task = list(cfg.hydra.overrides.task)
        folder = Path(cfg.hydra.sweep.dir) / run_name(task) / f"seed_{cfg.seed}"
        errors.print(escape(f"{folder}: {reason}"), soft_wrap=True)
        found = status.read(folder)
        if found is None or found["state"] not in ("finished", "failed"):
            status.write(folder, "failed", error=reason)
        return _returned(overrides, folder.absolute(), None, JobStatus.COMPLETED)

    def _composed(self, overrides: Sequence[str], number: int) -> DictConfig:
        loader = self.hydra_context.config_loader
        cfg = loader.load_sweep_config(self.cfg, list(overrides))
        with open_dict(cfg.hydra.job):
            cfg.hydra.job.id = f"{cfg.hydra.job.name}_{number}"
            cfg.hydra.job.num = number
        return cfg


def _returned(
    overrides: Sequence[str], folder: Path, value: Any, job_status: JobStatus
) -> JobReturn:
    """What is asked of a job's result; the whole configuration cannot be sent back."""
    return JobReturn(
        overrides=list(overrides),
        hydra_cfg=_where(folder),
        status=job_status,
        _return_value=value,
    )


def slim(result: JobReturn) -> None:
    """Takes out of a job's result what nobody asks for.

    Hydra keeps the results of all jobs of a sweep to its end, each with its configuration twice.
    """
    result.cfg = None
    if result.hydra_cfg is not None:
        result.hydra_cfg = _where(Path(result.hydra_cfg.hydra.runtime.output_dir))


def _where(folder: Path) -> DictConfig:
    return OmegaConf.create({"hydra": {"runtime": {"output_dir": str(folder)}}})
