"""Runs from Python: what notebooks and scripts call."""

import hashlib
from pathlib import Path

import pandas as pd
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from llm_lightning.config.composition import composed
from llm_lightning.config.experiments import conf_dir, list_experiments
from llm_lightning.config.jobs import job_of
from llm_lightning.config.run_name import run_name
from llm_lightning.network import cache_dir
from llm_lightning.run_format.atomic_files import write_bytes
from llm_lightning.runs.handle import Run
from llm_lightning.runs.run import run


def train(experiment: str, *overrides: str, data: pd.DataFrame | None = None) -> Run:
    """Runs an experiment in this process, as ``python -m llm_lightning +experiment=...`` does.

    A finished run of the same settings, data and weights is not repeated.

    Args:
        experiment: such as ``last_block``.
        overrides: settings as on the command line, such as ``"optim.lr=1e-4"``.
        data: a table with the columns ``text`` and ``label`` (or those that ``data.text_column``
            and ``data.label_column`` name) in place of a dataset; it is kept in the cache folder
            under a name made of its contents.

    Raises:
        ValueError: if there is no such experiment, or a setting is wrong.
        UserError: if the run cannot start or go on.
    """
    if experiment not in (known := list_experiments()):
        raise ValueError(f"experiment must be one of {', '.join(known)}, got {experiment!r}")
    command = [f"+experiment={experiment}", *overrides]
    if data is not None:
        command += ["data=table", f"data.path='{_kept(data)}'"]
    GlobalHydra.instance().clear()
    cfg = composed(command)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):  # for a fallback's
        _place(cfg, command)
        summary = run(job_of(cfg))
    return Run(Path(cfg.runs_dir) / run_name(command) / f"seed_{summary.seed}")


def _place(cfg: DictConfig, command: list[str]) -> None:
    """Sets what Hydra would set: the run's folder, and which command this is."""
    folder = Path(cfg.runs_dir).absolute() / run_name(command) / f"seed_{cfg.seed}"
    with read_write(cfg), open_dict(cfg):
        cfg.hydra.runtime.output_dir = str(folder)
    HydraConfig.instance().set_config(cfg)
    with read_write(cfg), open_dict(cfg):
        cfg.run_dir = str(folder)
        del cfg["hydra"]
    OmegaConf.set_readonly(cfg, None)


def _kept(data: pd.DataFrame) -> Path:
    content = data.to_csv(index=False, lineterminator="\n").encode()
    digest = hashlib.sha256(content).hexdigest()[:16]
    file = cache_dir() / "tables" / f"{digest}.csv"
    if not file.is_file():
        write_bytes(file, content)
    return file
