"""The name of a run, from the command and never from the clock."""

import hashlib
from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from llm_lightning.run_format.setting_effects import DRAWS, is_change

MAX_NAME_LENGTH = 150  # of a run folder without its draws, in characters


def run_name(overrides: Sequence[str]) -> str:
    """Names a run after its experiment and what was changed on the command line.

    ``["+experiment=last_block", "optim.lr=1e-4", "seed=2"]`` becomes
    ``last_block-optim.lr=0.0001``. Of paths only the last part is kept, with a digest of the
    whole, so that ``a/data.csv`` and ``b/data.csv`` stay different runs. Other seeds than ``seed``
    come last, so that what precedes them names the setting.
    """
    experiment = "run"
    changes: list[str] = []
    draws: list[str] = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        value = str(override.get_value_element_as_str())
        if key == "experiment":
            experiment = value
        elif is_change(key):
            value = value.strip("'\"")
            tail = value.rstrip("/").rsplit("/", 1)[-1]
            if tail != value:
                tail += f"@{_digest(value)[:4]}"
            change = f"~{key}" if override.is_delete() else f"{key}={tail}"
            (draws if key in DRAWS else changes).append(change.replace(" ", "_"))
    name = "-".join([experiment, *sorted(changes)])
    if len(name) > MAX_NAME_LENGTH:  # file systems allow 255 bytes
        name = f"{name[: MAX_NAME_LENGTH - 9]}-{_digest(name)[:8]}"
    return "-".join([name, *sorted(draws)])


def output_dir() -> str:
    """Returns the folder that Hydra made for this job, or would make if there is none yet."""
    hydra = HydraConfig.get()
    made = None
    if not OmegaConf.is_missing(hydra.runtime, "output_dir"):
        made = hydra.runtime.output_dir
    return str(made or hydra.run.dir)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
