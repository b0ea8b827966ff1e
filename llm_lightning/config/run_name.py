"""The name of a run, from the command and never from the clock."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from llm_lightning.run_format.setting_effects import DRAWS, is_change

MAX_NAME_LENGTH = 150  # of a run folder without its draws, in characters, which are all ASCII

_ELSEWHERE_QUOTED = re.compile(r"[^A-Za-z0-9._+-]+")
"""What Hydra or a shell would want in quotes, and ``@``, which separates keys from values."""
_DIGITS = 8  # of a digest


def run_name(overrides: Sequence[str]) -> str:
    """Names a run after its experiment and what was changed on the command line.

    ``["+experiment=last_block", "optim.lr=1e-4", "seed=2"]`` becomes
    ``last_block-optim.lr@0.0001``, which needs no quotes in later commands. Of paths only the last
    part is kept. Wherever something is left out or replaced, a digest of the exact value follows,
    so that ``a/data.csv`` and ``b/data.csv``, or ``'a b'`` and ``a_b``, stay different runs. Other
    seeds than ``seed`` come last, so that what precedes them names the setting.
    """
    experiment = "run"
    changes: list[str] = []
    draws: list[str] = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        if key == "experiment":
            experiment = _plain(_text(override))
        elif is_change(key):
            # No key is called "without".
            parts = ("without", key) if override.is_delete() else (key, _text(override))
            (draws if key in DRAWS else changes).append("@".join(map(_plain, parts)))
    name = "-".join([experiment, *sorted(changes)])
    if len(name) > MAX_NAME_LENGTH:
        name = f"{name[: MAX_NAME_LENGTH - 1 - _DIGITS]}@{_digest(name)}"
    return "-".join([name, *sorted(draws)])


def _text(override: Override) -> str:
    """The exact value of an override; a string without the quotes that it needs no more."""
    value: Any = override.value()
    if isinstance(value, str) and value.lower() != "null":
        return value
    return str(override.get_value_element_as_str())


def _plain(text: str) -> str:
    """A text, or what is left of it in a name, with a digest of it."""
    kept = _ELSEWHERE_QUOTED.sub("_", text.rstrip("/").rpartition("/")[2]).strip("_")
    return text if kept == text else f"{kept}@{_digest(text)}"


def output_dir() -> str:
    """Returns the folder that Hydra made for this job, or would make if there is none yet."""
    hydra = HydraConfig.get()
    made = None
    if not OmegaConf.is_missing(hydra.runtime, "output_dir"):
        made = hydra.runtime.output_dir
    return str(made or hydra.run.dir)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]
