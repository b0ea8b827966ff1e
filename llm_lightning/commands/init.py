"""``python -m llm_lightning init reviews.csv``: a configuration for a user's own table."""

import argparse
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from llm_lightning.commands.failures import refused
from llm_lightning.config.experiments import conf_dir
from llm_lightning.data.table_profile import TableProfile, profile
from llm_lightning.presentation.plurals import counted
from llm_lightning.presentation.terminal import console, facts_grid

_NANO_CONTEXT = 512
_MOST_CLASSES = 10
_FEW_TEXTS = 300
_UNEQUAL = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        found = profile(options.table, options.text_column, options.label_column)
        name = options.name or re.sub(r"[^A-Za-z0-9_]+", "_", options.table.stem).strip("_")
        if not re.fullmatch(r"[A-Za-z0-9]\w*", name, re.ASCII):
            raise ValueError(f"--name must be letters, digits and underscores, got {name!r}")
        if (conf_dir() / "experiment" / f"{name}.yaml").is_file():
            raise ValueError(f"there is an experiment {name} already: choose another with --name")
        file = options.out / "experiment" / f"{name}.yaml"
        if file.exists():
            raise ValueError(f"{file} exists: choose another name with --name, or delete it")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(configuration(found, name), encoding="utf-8")
    except (ValueError, OSError) as error:
        return refused(error)
    _print(found, file, _command(options.out, name))
    return 0


def configuration(found: TableProfile, name: str) -> str:
    """Returns a commented experiment file for a table.

    Args:
        found: what the table holds.
        name: of the experiment.
    """
    classes = len(found.class_counts)
    counts = ", ".join(f"{_shown(label)} {n:,}" for label, n in _first(found.class_counts))
    longest = min(found.tokens[95] + 1, _NANO_CONTEXT)
    is_cut = found.tokens[100] > longest
    cut = "  # longer texts lose their end; truncate: start or middle" if is_cut else ""
    balance = "class_weights" if found.imbalance > _UNEQUAL else "none"
    epochs = 10 if found.num_texts < _FEW_TEXTS else 5
    return f"""\
# @package _global_
# {_line(found.path.name)}: {counted(found.num_texts, "text")} in {classes} classes
#
# Each value can be changed here or on the command line. All settings with their meanings:
#   python -m llm_lightning --config-dir ... +experiment={name} --cfg job
defaults:
  - override /model: nano  # packaged, fast; better: gpt2_small, modernbert_base, minilm
  - override /data: table
  - override /finetune: last_block  # also: all, lora, last_layer, last_two_blocks

data:
  path: {_quoted(str(found.path.absolute()))}
  # The columns are: {_line(", ".join(found.columns))}
  text_column: {_quoted(found.text_column)}
  label_column: {_quoted(found.label_column)}
  # {_line(counts)}
  # Of two classes, precision and recall are those of the second; null sorts them.
  class_names: {"null" if classes > 20 else _list(sorted(found.class_counts))}
  # Texts have {found.tokens[50]} GPT-2 tokens (median), {found.tokens[95]} (95 %), \
{found.tokens[100]} (longest){_of_sample(found)}.
  max_length: {longest}{cut}
  truncate: end
  # {_line(_balance_reason(found))}
  balance: {balance}
  # {counted(found.repeated, "text")} repeated; kept once, so that no text is in two splits.
  deduplicate: true
  fractions: [0.7, 0.1, 0.2]  # training, validation, test
  batch_size: 8

optim:
  lr: 3.0e-3  # for nano's last block; 1e-4 to 5e-5 for larger models, or callbacks=lr_finder

trainer:
  max_epochs: {epochs}  # passes over the training texts; callbacks=early_stopping ends sooner
"""


def _balance_reason(found: TableProfile) -> str:
    if found.imbalance <= _UNEQUAL:
        return "The classes are of similar size: none; also class_weights, undersample."
    return (
        f"The most frequent class has {found.imbalance:.0f} times the texts of the rarest: "
        f"class_weights in the loss; also none, undersample."
    )


def _of_sample(found: TableProfile) -> str:
    whole = found.sampled == found.num_texts
    return "" if whole else f", of {found.sampled:,} that were looked at"


def _first(counts: dict[str, int]) -> list[tuple[str, int]]:
    rest = sum(list(counts.values())[_MOST_CLASSES:])
    shown = list(counts.items())[:_MOST_CLASSES]
    return [*shown, (f"({len(counts) - _MOST_CLASSES} others)", rest)] if rest else shown


def _line(text: str) -> str:
    """Text that stays within its comment."""
    return "".join(c if c.isprintable() else " " for c in text)


def _shown(text: str) -> str:
    return _line(text if len(text) <= 40 else f"{text[:39]}…")


def _quoted(text: str) -> str:
    """A YAML string, in which Hydra interpolates nothing."""
    return json.dumps(text.replace("${", "\\${"), ensure_ascii=False)


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _command(out: Path, name: str) -> str:
    folder = shlex.quote(str(out))
    return f"python -m llm_lightning --config-dir {folder} +experiment={name}"


def _print(found: TableProfile, file: Path, command: str) -> None:
    facts = facts_grid()
    facts.add_row("texts", escape(f"{found.num_texts:,} in column {found.text_column!r}"))
    classes = ", ".join(f"{_shown(label)} {n:,}" for label, n in _first(found.class_counts))
    facts.add_row("classes", escape(f"{classes}, in column {found.label_column!r}"))
    facts.add_row(
        "tokens", f"{found.tokens[50]} (median), {found.tokens[95]} (95 %), {found.tokens[100]}"
    )
    facts.add_row("written", escape(str(file)))
    facts.add_row("run it", escape(command))
    console.print(facts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning init",
        description="Looks at a table of labelled texts and writes a configuration for it.",
    )
    parser.add_argument("table", type=Path, help="a CSV, TSV, JSON Lines or Parquet file")
    parser.add_argument("--text-column", help="the texts (default: the column with the longest)")
    parser.add_argument("--label-column", help="the labels (default: the one with few values)")
    parser.add_argument("--name", help="of the experiment (default: the table's)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("."),
        help="folder for experiment/NAME.yaml (default: this one)",
    )
    return parser
