"""The notebook runs from its first cell to its last, in an empty folder, without a network."""

from pathlib import Path

import pytest

pytest.importorskip("nbclient")

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    from execute_notebook import executed

    notebook = executed(tmp_path)  # an error in a cell is raised here
    shown = "\n".join(str(cell.get("outputs", "")) for cell in notebook.cells)
    assert "image/png" in shown  # the loss
    assert "probability_spam" in shown
    assert "The packaged messages replaced" in shown
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert (tmp_path / "runs" / "last_block-model@nano-trainer.max_epochs@2").is_dir()
