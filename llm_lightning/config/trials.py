"""The journal that the trials of a search are kept in, and that their runs report to.

It is a file that is only appended to, under a lock that holds on network disks, too, so that runs
on other machines report to it without a server.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = "searches"
"""Below ``runs_dir``."""


def journal_file(runs_dir: Path, study: str) -> Path:
    """Returns where a study is kept."""
    return runs_dir / FOLDER / f"{study}.journal"


def storage_of(journal: Path) -> Any:
    """Returns what reads and writes a journal, and makes its folder."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    journal.parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        return JournalStorage(JournalFileBackend(str(journal)))


def open_trial(
    journal: Path, study: str, trial: int, *, startup_trials: int, warmup_epochs: int
) -> Any:
    """Opens a trial of a study in the process of its run.

    Args:
        journal: that the study is kept in.
        study: its name.
        trial: its id in the journal.
        startup_trials: that end before the first is stopped.
        warmup_epochs: of each trial before it may be stopped.

    Returns:
        An ``optuna.trial.Trial`` that is stopped if its metric is worse than the median of those
        that had as many epochs.
    """
    import optuna

    pruner = optuna.pruners.MedianPruner(startup_trials, warmup_epochs)
    with quiet():
        found = optuna.load_study(study_name=study, storage=storage_of(journal), pruner=pruner)
        return optuna.trial.Trial(found, trial)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences what Optuna says about its own interface, and its lines about each trial."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
