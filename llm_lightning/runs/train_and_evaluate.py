"""What all processes of a network's run do together: train, keep the weights, evaluate."""

from pathlib import Path

import lightning as L

from llm_lightning.callbacks.saving import reason
from llm_lightning.distributed.processes import Processes
from llm_lightning.run_format import files, status
from llm_lightning.run_format.summary import Metrics
from llm_lightning.runs.built import Built
from llm_lightning.runs.errors import UserError
from llm_lightning.runs.evaluate import evaluate
from llm_lightning.runs.fit import fit
from llm_lightning.runs.settings import Checkpoint, RunSettings
from llm_lightning.training import stop_signals
from llm_lightning.training.checkpoint_files import save
from llm_lightning.training.peak_memory import reset_peak_memory


def train_and_evaluate(
    built: Built,
    settings: RunSettings,
    processes: Processes,
    evaluated: Checkpoint,
    *,
    keeps_weights: bool,
    resume_from: Path | None,
) -> tuple[float, Metrics]:
    """Trains and evaluates; of several processes the main one alone writes and prints.

    Args:
        built: the model, its data and its trainer.
        settings: of the run.
        processes: that train it, seen from this one.
        evaluated: the weights to evaluate.
        keeps_weights: whether the last weights are saved.
        resume_from: the checkpoint of an interrupted run.

    Returns:
        Seconds that an interrupted run had trained, and the metrics.

    Raises:
        UserError: if the disk does not take the last weights.
    """
    folder = settings.run_dir
    reset_peak_memory(built.trainer.strategy.root_device)
    # The order of the examples has its own generator; this is of dropout, drawn by each.
    seed = processes.seed(settings.order_seed)
    L.seed_everything(seed, workers=True, verbose=False)
    seconds_before = fit(built.task, built.data, built.trainer, folder, resume_from)
    stop_signals.check()
    if processes.rank == 0:
        status.write(folder, "running", epoch=built.trainer.current_epoch)
    if keeps_weights:
        last = folder / files.CHECKPOINTS / files.LAST
        if failure := save(built.trainer, last, weights_only=True):
            resume = last.with_name(files.RESUME)
            how = "the same command goes on from there" if resume.is_file() else "start it again"
            raise UserError(
                f"{last} was not saved after training: {reason(failure, last)}; free some space: "
                f"{how}"
            )
    metrics = evaluate(built.task, built.data, built.trainer, evaluated, folder)
    return seconds_before, metrics
