"""What did fine-tuning change in a model's responses?

    python experiments/real_models/side_by_side.py RUN_FOLDER --number 10

prints a Markdown table of test instructions, their references and the responses before and after
fine-tuning, evenly spread over the test split, with ROUGE-L of each response; and, above it, the
scores of all responses.
"""

import argparse
import csv
import json
import re
from pathlib import Path
from typing import Any

from llm_lightning.run_format.files import (
    INDEX,
    RESPONSE,
    RESPONSE_SCORES,
    RESPONSES,
    UNTRAINED_RESPONSES,
    UNTRAINED_SCORES,
)
from llm_lightning.run_format.summary import read_summary

NAMES = {"exact_match": "exact match", "rouge_l": "ROUGE-L", "token_f1": "token F1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of an instruction run")
    parser.add_argument("--number", type=int, default=10, help="of instructions")
    arguments = parser.parse_args()
    print(_scores(arguments.run))
    print()
    print(_responses(arguments.run, arguments.number))


def _scores(run: Path) -> str:
    responses = read_summary(run).responses
    if responses is None or responses.untrained_scores is None:
        raise SystemExit(f"{run} has no responses from before fine-tuning")
    lines = ["| score, % | before | after |", "| --- | ---: | ---: |"]
    for name, after in responses.scores.items():
        before = responses.untrained_scores[name]
        cells = [
            f"{100 * s.mean:.2f} ({100 * s.low:.2f} to {100 * s.high:.2f})" for s in (before, after)
        ]
        lines.append(f"| {NAMES.get(name, name)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _responses(run: Path, number: int) -> str:
    before, after = (_records(run / file) for file in (UNTRAINED_RESPONSES, RESPONSES))
    rouge_before, rouge_after = (_rouge(run / file) for file in (UNTRAINED_SCORES, RESPONSE_SCORES))
    lines = ["| instruction | reference | before | after |", "| --- | --- | --- | --- |"]
    step = max(len(after) / max(number, 1), 1)
    for index in (int(position * step) for position in range(min(number, len(after)))):
        record = after[index]
        instruction = "\n".join(filter(None, (record["instruction"], record.get("input"))))
        cells = [
            _cell(instruction),
            _cell(record["output"]),
            f"{_cell(before[index][RESPONSE])} ({rouge_before[index]:.0f})",
            f"{_cell(record[RESPONSE])} ({rouge_after[index]:.0f})",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "In parentheses: ROUGE-L in percent."])


def _records(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8"))


def _rouge(file: Path) -> dict[int, float]:
    with file.open(newline="", encoding="utf-8") as lines:
        return {int(row[INDEX]): 100 * float(row["rouge_l"]) for row in csv.DictReader(lines)}


def _cell(text: str, longest: int = 240) -> str:
    """A text on one line, without characters that have a meaning in a table."""
    line = re.sub(r"\s+", " ", text.strip())
    line = line if len(line) <= longest else f"{line[:longest]} ..."
    return line.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") or "(nothing)"


if __name__ == "__main__":
    main()
