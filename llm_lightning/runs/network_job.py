"""A network as a job: find, build, fit, evaluate, record."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning as L

from llm_lightning.backbone.families import (
    Model,
    architecture,
    ask_hub,
    context_length,
    load_tokenizer,
    locate,
    save_tokenizer,
)
from llm_lightning.backbone.tensor_files import MOST_LISTED
from llm_lightning.backbone.weights import Weights
from llm_lightning.callbacks.conditions import check_callbacks
from llm_lightning.callbacks.resume import Resume
from llm_lightning.callbacks.status import EpochStatus
from llm_lightning.callbacks.timing import StageTimer
from llm_lightning.distributed.nodes import MeetingPlace
from llm_lightning.distributed.processes import ALONE, Processes
from llm_lightning.distributed.sharding import is_sharded
from llm_lightning.finetuning.strategies import Strategy
from llm_lightning.network import Unavailable
from llm_lightning.run_format import files, status
from llm_lightning.run_format.atomic_files import replacing_inside
from llm_lightning.run_format.run_facts import WeightFacts
from llm_lightning.run_format.summary import Metrics, Summary, write_summary
from llm_lightning.runs import terminal_output as terminal
from llm_lightning.runs.baseline_job import baseline_metrics
from llm_lightning.runs.batch_limits import check_limits
from llm_lightning.runs.built import Built
from llm_lightning.runs.decisions import decide
from llm_lightning.runs.errors import expect
from llm_lightning.runs.fit import is_resumable, quiet_lightning
from llm_lightning.runs.job import Job, describe_fallback, mentioning, prepare
from llm_lightning.runs.load import load_language_model
from llm_lightning.runs.memory_forecast import check_memory
from llm_lightning.runs.prior_state import PriorState, start, tidy
from llm_lightning.runs.record import log_hparams, summarize
from llm_lightning.runs.responses import respond, respond_untrained
from llm_lightning.runs.settings import Checkpoint, Found
from llm_lightning.runs.terminal_start import print_start
from llm_lightning.runs.threads import chosen_threads
from llm_lightning.runs.together import (
    Assignment,
    OtherProcess,
    Told,
    following,
    joining,
    together,
)
from llm_lightning.runs.train_and_evaluate import train_and_evaluate
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import Task
from llm_lightning.training import stop_signals
from llm_lightning.training.allocator import keep_freed_memory, return_freed_memory
from llm_lightning.training.optim import AdamW
from llm_lightning.training.parallel import trainer_arguments


@dataclass(kw_only=True)
class FoundNetwork(Found):
    """What a network needs beside its data."""

    weights: Weights
    trainer: L.Trainer
    timer: StageTimer


@dataclass(kw_only=True)
class NetworkJob(Job):
    """Fine-tunes a network."""

    model: Model
    task_class: type[Task]
    task: Any
    """Options of ``task_class``, a dataclass."""
    finetune: Strategy
    optim: AdamW
    trainer: Callable[..., L.Trainer]
    """Makes the trainer, given ``callbacks``, ``logger`` and ``enable_checkpointing``."""
    callbacks: dict[str, Callable[[], L.Callback]]
    """Makers of the callbacks, by name."""
    loggers: dict[str, Callable[[], Any]]
    """Makers of the loggers, by name."""
    max_time: Any = None
    """How long it trains at most, as ``trainer.max_time`` says it."""
    processes: Processes = ALONE
    """Those that train it together, seen from this one."""
    planned: Processes = ALONE
    """The same, also in a dry run, which is one process and tells what each would need."""
    place: MeetingPlace | None = None
    """Where they meet, if they are on several machines."""
    strategy: str = "auto"
    """How they share the model, one of :data:`~llm_lightning.training.parallel.STRATEGIES`."""
    other_process: OtherProcess | None = None
    """How the others are started."""
    threads: int | None = None
    """Of this process; ``None`` chooses by the cores that are free."""
    evaluate: Checkpoint = Checkpoint.last
    compile: bool = False
    baselines: list[str] = field(default_factory=list)
    """Methods of the baselines to show beside it, if it is a classifier."""
    untrained_responses: bool = True
    """Whether responses of the model before fine-tuning are scored too."""
    model_settings: dict[str, Any] = field(default_factory=dict)
    """Settings in effect because they suit this model, by their keys."""
    fallback: "Callable[[], NetworkJob] | None" = None
    """Makes the same job with a model that needs no download, for when the weights are
    unavailable."""
    better_fallback: str | None = None
    """How to get a better fallback than this one."""

    @property
    def metric_names(self) -> tuple[str, ...]:
        """See :class:`Job`."""
        return self.task_class.metric_names

    def find(self) -> tuple[Job, Found]:
        """See :class:`Job`."""
        quiet_lightning()
        trainer, timer = self._trainer()  # before any download: it checks its own settings
        hub = ask_hub(self.model)  # waits, if it must, while the data are fetched
        if self.processes.local_rank == 0:
            check_memory(
                model=self.model,
                hub=hub,
                task_class=self.task_class,
                task=self.task,
                finetune=self.finetune,
                optim=self.optim,
                device=trainer.strategy.root_device,
                processes=self.planned,
                num_measured=self.processes.size,
                strategy=self.strategy,
                precision=str(trainer.precision),
            )
        allowed = self.settings.offline_fallback
        fallbacks = [fallback] if (fallback := prepare(self.data, fallback_allowed=allowed)) else []
        job = self
        try:
            weights = locate(self.model, hub)
        except Unavailable as error:
            if not (allowed and self.fallback and self.model.weights == "pretrained"):
                raise
            job = self.fallback()
            weights = locate(job.model)
            if job.better_fallback:
                error.advice += f"; {job.better_fallback}"
            name = f"The model {job.model.name} ({weights.source})"
            fallbacks.append(describe_fallback(name, error))
            if len(fallbacks) > 1:
                job.data.use_packaged()  # type: ignore[attr-defined]  # known to be unavailable
            else:
                job.data.prepare_data()
            trainer, timer = job._trainer()
        with mentioning(fallbacks):
            job.data.use_model(
                load_tokenizer(job.model, weights), context_length(job.model, weights)
            )
            job.data.setup("fit")
            check_limits(job.data, trainer)
        found = FoundNetwork(
            data=job.data,
            weights_source=f"{job.model.name}: {weights.source}",
            weights_sha256=weights.fingerprint(),
            fallbacks=fallbacks,
            weights=weights,
            trainer=trainer,
            timer=timer,
        )
        return job, found

    def run(self, found: Found, prior: PriorState) -> Summary:
        """See :class:`Job`."""
        if not isinstance(found, FoundNetwork):
            raise TypeError(f"a network job needs what its own find() returned, got {type(found)}")
        folder = self.settings.run_dir
        if prior is PriorState.NO_RESPONSES:
            with status.recorded(folder), expect(ValueError, Unavailable):
                model, summary = load_language_model(folder)
                device = found.trainer.strategy.root_device
                summary = respond(model, device, summary, folder)
                complete(folder, summary)
        else:
            with expect(ValueError, Unavailable), mentioning(found.fallbacks):
                built = self.build(found)
                if prior is PriorState.INTERRUPTED and not is_resumable(folder, found.data):
                    prior = PriorState.NOTHING
                resume_from = start(self.settings, prior, built.fallbacks)
            device = built.trainer.strategy.root_device
            with status.recorded(folder), chosen_threads(self.threads, device) as threads:
                summary = self._train(built, resume_from, threads)
                complete(folder, summary)
        tidy(folder)
        terminal.show(summary, self.settings)
        return summary

    def build(self, found: FoundNetwork) -> Built:
        """Builds the model and loads its weights.

        Raises:
            ValueError: if the strategy or the weights do not fit the model.
        """
        if self.strategy == "fsdp2" and self.processes.size > 1:
            return_freed_memory()  # blocks are put together and fall apart
        else:
            keep_freed_memory()
        # Each subclass takes what its data bring beside these.
        build_task: Callable[..., Task] = self.task_class
        task = build_task(
            task=asdict(self.task),
            model=architecture(self.model, found.weights),
            finetune=asdict(self.finetune),
            optim=asdict(self.optim),
            seed=self.settings.init_seed,
            **found.data.task_arguments(),
        )
        task.tokenizer = found.data.tokenizer
        found.data.processes = self.processes
        sha256 = task.load_base(self.model, found.weights)
        is_whole = found.trainer.limit_val_batches == found.trainer.limit_test_batches == 1.0
        if is_whole and not task.backbone.skips_padding and task.why_not_cacheable() is None:
            found.data.is_evaluated_longest_first = True
        if self.compile:
            for block in task.backbone.blocks:
                block.compile(dynamic=True)  # in place: names in checkpoints stay as they are
        check_callbacks(task, found.trainer)
        facts = WeightFacts(
            model=self.model.name,
            source=str(found.weights_source),
            sha256=sha256,
            head_loaded=task.head_is_loaded,
            unused=len(task.unused_weights),
            unused_names=task.unused_weights[:MOST_LISTED],
        )
        return Built(found.data, task, found.trainer, found.timer, facts, found.fallbacks)

    def _trainer(self) -> tuple[L.Trainer, StageTimer]:
        timer = StageTimer(self.max_time)
        callbacks = {name: make() for name, make in self.callbacks.items()}
        # First, so that what the others log for the next step is not in its checkpoints.
        resume = callbacks.pop("resume", None) or Resume(None)
        watchers = [resume, timer, EpochStatus(self.settings.run_dir)]
        trainer = self.trainer(
            callbacks=[*watchers, *callbacks.values()],
            logger=[make() for make in self.loggers.values()],
            enable_checkpointing="checkpoint" in callbacks,
            **trainer_arguments(self.processes, self.strategy),
        )
        return trainer, timer

    def _train(self, built: Built, resume_from: Any, threads: str | None) -> Summary:
        """Trains, evaluates and writes the run's folder."""
        started = time.perf_counter()
        folder = self.settings.run_dir
        with replacing_inside(folder / files.SPLITS_FOLDER) as new:
            built.data.write_splits(new)
        with replacing_inside(folder / files.TOKENIZER) as new:
            save_tokenizer(built.task.tokenizer, new)
        print_start(built, self.settings, self.model_settings, threads)
        device = built.trainer.strategy.root_device
        if self.untrained_responses and isinstance(built.task, LanguageModel):
            respond_untrained(built.task, built.data, folder)
        told = Told(resume_from, built.facts())
        with together(self.processes, self.other_process, told, self.place):
            seconds_before, metrics = self._train_and_evaluate(built, resume_from)
        stop_signals.check()
        seconds = seconds_before + time.perf_counter() - started
        summary = summarize(self.settings, built, metrics, self.evaluate, seconds)
        if built.data.kind == "classification":
            summary.baselines = baseline_metrics(
                self.baselines, built.data, summary.evaluated_examples["test"]
            )
            summary.decision = decide(self.decide, folder, summary.class_names or [])
        if isinstance(built.task, LanguageModel) and built.data.kind == "instructions":
            write_summary(folder, summary)  # `generate --responses` can go on from here, too
            model: LanguageModel = built.task
            if is_sharded(model):
                model, _ = load_language_model(folder)
            summary = respond(model, device, summary, folder)
        log_hparams(self.settings, built, summary)
        return summary

    def _train_and_evaluate(self, built: Built, resume_from: Any) -> tuple[float, Metrics]:
        return train_and_evaluate(
            built,
            self.settings,
            self.processes,
            self.evaluate,
            keeps_weights="checkpoint" in self.callbacks,
            resume_from=resume_from,
        )

    def join(self, told: Assignment) -> None:
        """Trains and evaluates in another process than the main one.

        Args:
            told: by the main process.

        Raises:
            ValueError: if this process finds something else than the main one.
        """
        _, found = self.find()
        built = self._built(found)
        with joining(told, built.facts()):
            self._train_and_evaluate(built, told.told.resume_from)

    def follow(self, found: Found) -> None:
        """Does this machine's part of a run whose main process is on another machine.

        Args:
            found: what :meth:`find` returned.

        Raises:
            UserError: if it cannot start, or another process died.
        """
        with expect(ValueError, Unavailable):
            built = self._built(found)
            device = built.trainer.strategy.root_device
            with (
                chosen_threads(self.threads, device),
                following(self.processes, self.other_process, built.facts(), self.place) as told,
            ):
                self._train_and_evaluate(built, told.resume_from)

    def _built(self, found: Found) -> Built:
        if not isinstance(found, FoundNetwork):
            raise TypeError(f"a network job needs what its own find() returned, got {type(found)}")
        return self.build(found)


def complete(folder: Path, summary: Summary) -> None:
    """Draws a run's pictures and writes its last file."""
    terminal.draw(summary, folder)
    stop_signals.check()
    write_summary(folder, summary)
