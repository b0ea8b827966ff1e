"""Curves go on from a checkpoint: no step is missing, none is there twice."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from llm_lightning.callbacks import curve_files
from llm_lightning.callbacks.curve_files import CsvCurves, Resumable, TensorBoardCurves


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_the_table_goes_on_from_its_state(tmp_path: Path) -> None:
    first = CsvCurves(str(tmp_path))
    assert isinstance(first, Resumable)
    first.log_metrics({"train/loss": 2.0, "epoch": 0}, step=1)
    state = first.state()
    first.log_metrics({"val/loss": 9.0}, step=2)
    first.finalize("failed")
    second = CsvCurves(str(tmp_path))
    second.resume(state)
    second.log_metrics({"val/loss": 1.5, "epoch": 0}, step=2)
    second.finalize("success")
    expected = b"epoch,step,train/loss,val/loss\r\n0,1,2.0,\r\n0,2,,1.5\r\n"
    assert (tmp_path / "metrics.csv").read_bytes() == expected
    assert len(list(tmp_path.iterdir())) == 1


def test_the_table_is_not_written_at_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(curve_files.time, "monotonic", lambda: now[0])
    curves = CsvCurves(str(tmp_path))
    curves.log_metrics({"a": 1.0}, step=0)
    curves.save()
    assert not (tmp_path / "metrics.csv").exists()
    now[0] += 11
    curves.save()
    assert (tmp_path / "metrics.csv").read_text() == "a,step\n1.0,0\n"


def test_events_are_cut_back_to_the_state(tmp_path: Path) -> None:
    first = TensorBoardCurves(str(tmp_path))
    assert isinstance(first, Resumable)
    first.log_metrics({"train/loss": 2.0}, step=1)
    state = first.state()
    first.log_metrics({"train/loss": 7.0}, step=2)
    first.save()
    (tmp_path / "events.out.tfevents.1.other.1").write_bytes(b"of a run that was killed early")
    first.finalize("failed")
    second = TensorBoardCurves(str(tmp_path))
    second.resume(state)
    second.log_metrics({"train/loss": 1.0}, step=2)
    second.finalize("success")
    second.log_metrics({"train/loss": 0.5}, step=3)  # as the HPARAMS page, after the end
    second.finalize("success")
    assert scalars(tmp_path, "train/loss") == [(1, 2.0), (2, 1.0), (3, 0.5)]
    assert [path.name for path in tmp_path.iterdir()] == [state["file"]]
    assert state["file"].startswith("events.out.tfevents.")
