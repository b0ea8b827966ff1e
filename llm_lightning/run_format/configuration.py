"""``config.yaml``: the resolved configuration of a run, read as what anybody may have written.

YAML's aliases let a few lines stand for gigabytes, so what they expand to is counted first.
"""

from pathlib import Path
from typing import Any

import yaml

from llm_lightning.run_format.bounded_files import read_text
from llm_lightning.run_format.files import CONFIG

MOST_BYTES = 2**20
MOST_VALUES = 100_000
"""Of a configuration with its aliases expanded; that of a run has a few hundred."""


def read_configuration(folder: Path) -> dict[str, Any]:
    """Reads the configuration of a run.

    Args:
        folder: the run's.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: naming the file, if it is damaged: empty, no YAML, no mapping, or far larger
            than a configuration.
    """
    file = folder / CONFIG
    text = read_text(file, MOST_BYTES)
    try:
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        where = "" if at is None else f" in line {at.line + 1}"
        raise ValueError(f"{file} is damaged: no YAML{where}: {error.problem}") from error
    except RecursionError as error:
        raise ValueError(f"{file} is damaged: it is nested too deeply") from error
    # The constructors of numbers and dates have errors of their own.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{file} is damaged: no YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict):
        what = (
            "it is empty" if found is None else f"a mapping is needed, got {type(found).__name__}"
        )
        raise ValueError(f"{file} is damaged: {what}")
    if _expanded(found, {}) > MOST_VALUES:
        raise ValueError(
            f"{file} is damaged: its aliases stand for more than {MOST_VALUES:,} values"
        )
    return found


def _expanded(value: Any, known: dict[int, int]) -> int:
    """How many values there are in one, each alias counted as often as it is used.

    Args:
        value: plain YAML.
        known: the sizes of the containers so far, by identity; infinite for those above this one.
    """
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = MOST_VALUES + 1  # of one that contains itself
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_expanded(part, known) for part in inner)
    return known[id(value)]
