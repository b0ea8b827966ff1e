"""Runs ``notebook.ipynb``: ``python docs/execute_notebook.py`` saves it with its new outputs."""

import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parent / "notebook.ipynb"
_TIMEOUT_S = 300


def executed(folder: Path) -> Any:
    """Runs the notebook without a network.

    Args:
        folder: where it runs, and leaves its runs and its cache.

    Returns:
        The notebook with its outputs.

    Raises:
        CellExecutionError: if a cell raises an error.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    environment = os.environ | {
        "COLUMNS": "90",
        "LLM_LIGHTNING_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(NOTEBOOK.parents[1]),  # where the package is not installed
    }
    client = NotebookClient(
        notebook, timeout=_TIMEOUT_S, resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment)
    return notebook


def save(notebook: Any) -> None:
    """Writes a notebook as it is shown on the site: without warnings, times and paths."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata = {}
            cell.outputs = [one for one in cell.outputs if _is_shown(one, cell)]
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, NOTEBOOK)


def _is_shown(output: Any, cell: Any) -> bool:
    if output.output_type == "stream":
        return output.name == "stdout"
    # What a run prints is shown once; the paths of a table in the cache are not.
    return output.output_type != "display_data" or "data=reviews" not in cell.source


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        save(executed(Path(scratch)))
