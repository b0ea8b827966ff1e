"""What a run of the program shows and records about activations that are computed once."""

import json
from pathlib import Path

import pytest
from program import SMOKE, start
from small_runs import messages

from llm_lightning.callbacks import frozen_activations
from llm_lightning.finetuning.frozen_activations.last_in_memory import LastInMemory

ALL = tuple(f"trainer.limit_{stage}_batches=null" for stage in ("train", "val", "test"))
DATA = ("data=table", "data.path=messages.csv", "data.text_column=t", "data.label_column=l")


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_run_shows_and_records_the_frozen_blocks(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    is_cached: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(frozen_activations, "_last_in_memory", LastInMemory())
    messages()  # writes the file
    removed = () if is_cached else ("~callbacks.frozen_activations",)
    start(monkeypatch, "+experiment=last_block", *DATA, *SMOKE, *ALL, *removed)
    file = next(Path("runs").glob("*/seed_*/summary.json"))
    facts = json.loads(file.read_text())["frozen_activations"]
    once = "once for every example" if is_cached else "in every epoch"
    assert f"blocks 0 to 4 run {once}" in capsys.readouterr().out
    if is_cached:
        assert set(facts) == {"blocks", "examples", "mib", "kept_in", "seconds"}
        assert (facts["blocks"], facts["examples"], facts["kept_in"]) == (5, 40, "memory")
    else:
        assert facts is None
