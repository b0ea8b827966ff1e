"""The file that measurements are added to, one line each."""

import contextlib
import json
from pathlib import Path
from typing import Any

NAME = "records.jsonl"


def read(out: Path) -> list[dict[str, Any]]:
    """All measurements so far; of what was tried again, the last."""
    file = out / NAME
    last = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        # What was being written when the machine stopped is measured again.
        with contextlib.suppress(json.JSONDecodeError):
            record = json.loads(line)
            last[record["group"], record["case"], record["round"]] = record
    return list(last.values())


def append(out: Path, record: dict[str, Any]) -> None:
    """Adds a measurement, on a line of its own even after an incomplete one."""
    file = out / NAME
    is_stump = file.exists() and not file.read_bytes().endswith(b"\n")
    with file.open("a", encoding="utf-8") as lines:
        lines.write(("\n" if is_stump else "") + json.dumps(record) + "\n")
