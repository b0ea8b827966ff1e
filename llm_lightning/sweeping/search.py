"""A search with Optuna: asks for settings, has a launcher run them, and tells what came out.

All of it is in a journal (:mod:`.study`), so that the same command goes on: finished trials count
and are not made again, those that failed or were interrupted come first. What the sampler proposes
depends on its seed and on the trials before, not on how often the search was interrupted.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from llm_lightning.config.trials import quiet
from llm_lightning.presentation.plurals import counted
from llm_lightning.presentation.terminal import console
from llm_lightning.run_format import folder_lock
from llm_lightning.run_format.files import SUMMARY
from llm_lightning.run_format.summary import read_summary
from llm_lightning.sweeping.study import RESULTS, Plan, is_finished, open_study, read_plan

if TYPE_CHECKING:
    import optuna

_RUN_FOLDER = "folder"


def search(cfg: DictConfig, overrides: Sequence[str], launcher: Launcher) -> list[JobReturn]:
    """Runs a search.

    Args:
        cfg: composed, with Hydra's own part.
        overrides: of the command line, without Hydra's own.
        launcher: that runs the trials.

    Returns:
        What the launcher returned for each run.

    Raises:
        folder_lock.Held: if another process makes the same search.
        ValueError: naming a setting that is wrong.
    """
    plan = read_plan(cfg, overrides)
    with ExitStack() as stack:
        if not cfg.dry_run:
            stack.enter_context(folder_lock.holding(plan.held))
            if cfg.rerun:
                plan.journal.unlink(missing_ok=True)
        study = open_study(plan, in_memory=cfg.dry_run)
        left = plan.n_trials - _prepare(study)
        returned: list[JobReturn] = []
        while left > 0:
            batch = _ask(study, plan, min(plan.n_jobs, left))
            left -= len(batch)
            returned += _run(study, plan, batch, launcher, len(returned))
        if not cfg.dry_run:
            _write_results(study, plan, Path(cfg.hydra.sweep.dir) / RESULTS)
    return returned


def _prepare(study: "optuna.Study") -> int:
    """Queues again what did not finish; returns how many trials did."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if is_finished(trial)]
    # Nobody else makes this search, so that what is running there has died.
    for trial in trials:
        if trial.state is TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
    waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
    known = [trial.params for trial in finished]
    known += [trial.system_attrs.get("fixed_params", {}) for trial in waiting]
    lost = [t.params for t in trials if not is_finished(t) and t not in waiting and t.params]
    for params in lost:
        if params not in known:
            with quiet():
                study.enqueue_trial(params)
            known.append(params)
    if trials:
        again = counted(sum(params not in [t.params for t in finished] for params in lost), "trial")
        console.print(
            f"search goes on: {counted(len(finished), 'trial')} finished before"
            + (f", {again} to be made again" if lost else "")
        )
    return len(finished)


def _ask(study: "optuna.Study", plan: Plan, number: int) -> list["optuna.Trial"]:
    import numpy as np
    import optuna

    distributions = plan.space.distributions()
    trials = []
    for _ in range(number):
        # Of its place in the study, so that a search that goes on draws what it would have drawn.
        place = len(study.get_trials(deepcopy=False))
        seed = int(np.random.SeedSequence([plan.seed, place]).generate_state(1)[0])
        with quiet():
            study.sampler = optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=plan.n_startup_trials,
                constant_liar=plan.n_jobs > 1,  # so that trials side by side differ
            )
            trials.append(study.ask(distributions))
    return trials


def _run(
    study: "optuna.Study",
    plan: Plan,
    batch: Sequence["optuna.Trial"],
    launcher: Launcher,
    initial: int,
) -> list[JobReturn]:
    """Runs trials side by side; two with the same settings are one run."""
    distinct: dict[str, list[optuna.Trial]] = {}
    for trial in batch:
        distinct.setdefault(str(trial.params), []).append(trial)
    jobs = [
        [*plan.space.overrides(trials[0].params), *_reporting(plan, trials[0])]
        for trials in distinct.values()
    ]
    returned = list(launcher.launch(jobs, initial_job_idx=initial))
    for trials, result in zip(distinct.values(), returned, strict=True):
        for trial in trials:
            _tell(study, trial, result)
    return returned


def _reporting(plan: Plan, trial: "optuna.Trial") -> list[str]:
    """How a run is told which trial it is, if it may be stopped early."""
    if not plan.prunes:
        return []
    return [f"hydra.sweeper.trial={{study:'{plan.name}',id:{trial._trial_id}}}"]


def _tell(study: "optuna.Study", trial: "optuna.Trial", result: JobReturn) -> None:
    from optuna.trial import TrialState

    value: Any = result.return_value  # raises what a job raised
    folder = _folder(result)
    if folder is not None:
        trial.set_user_attr(_RUN_FOLDER, str(folder))
    if value is None:
        study.tell(trial, state=TrialState.FAIL)
    elif folder is not None and _is_stopped_early(folder):
        study.tell(trial, state=TrialState.PRUNED)  # with what it reported last
    else:
        study.tell(trial, value)


def _folder(result: JobReturn) -> Path | None:
    hydra_cfg = result.hydra_cfg
    if hydra_cfg is None:
        return None
    return Path(hydra_cfg.hydra.runtime.output_dir)


def _is_stopped_early(folder: Path) -> bool:
    if not (folder / SUMMARY).is_file():
        return False
    trial = read_summary(folder).trial
    return trial is not None and trial.stopped_after is not None


def _write_results(study: "optuna.Study", plan: Plan, file: Path) -> None:
    """Writes the best trial, if there is one."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    counts = {
        state: sum(trial.state is state for trial in trials)
        for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    }
    if not counts[TrialState.COMPLETE]:
        file.unlink(missing_ok=True)  # of an earlier search
        return
    found = {
        "name": "optuna",
        "study": plan.name,
        "best_params": dict(study.best_params),
        "best_value": study.best_value,
        "finished_trials": counts[TrialState.COMPLETE],
        "trials_stopped_early": counts[TrialState.PRUNED],
        "failed_trials": counts[TrialState.FAIL],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(found), file)
