"""What the file with a model's answers is called, and where it is.

Those who write it and those who read it agree here; neither needs the other.
"""

from pathlib import Path

ANSWERS = "instruction-data-with-response.json"
"""The book's name for a test split with a model's answers."""
RESPONSE = "model_response"
"""The field of the answer, beside those of the record."""

_MOST_FOLDERS_NAMED = 3


def answers_file(path: Path) -> Path:
    """The file with the answers: ``path`` itself, or the one in the run folder ``path``.

    Raises:
        ValueError: if there is none; folders below that hold one are named.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise ValueError(f"{path} does not exist: give a run folder or a file like {ANSWERS}")
    file = path / ANSWERS
    if not file.is_file():
        inside = sorted(str(found.parent) for found in path.glob(f"**/{ANSWERS}"))
        hint = f"; did you mean {' or '.join(inside[:_MOST_FOLDERS_NAMED])}?" if inside else ""
        raise ValueError(
            f"{path} holds no answers (no {ANSWERS}): instruction runs write them when they "
            f"end{hint}"
        )
    return file
