"""What is left to do of a job, measured on its own data and model before anything is spent."""

import contextlib
import io
import math
from dataclasses import dataclass, field
from functools import singledispatch
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar

from llm_lightning.callbacks.frozen_activations import FrozenActivations
from llm_lightning.callbacks.resume import Resume
from llm_lightning.callbacks.sample_responses import SampleResponses
from llm_lightning.data.classification import ClassificationData
from llm_lightning.data.instructions import Instructions
from llm_lightning.data.prompts import Prompts
from llm_lightning.dry_run.measure import (
    EVALUATED_BATCHES,
    FrozenActivationsMeasure,
    Training,
    measure_evaluation,
    measure_generation,
    measure_training,
    seconds_to_write,
)
from llm_lightning.dry_run.plan import Plan
from llm_lightning.evaluation.responses import prompt_tokens
from llm_lightning.finetuning.coverage import parameter_groups
from llm_lightning.run_format import files
from llm_lightning.run_format.summary import read_summary
from llm_lightning.runs.baseline_job import BaselineJob
from llm_lightning.runs.built import Built
from llm_lightning.runs.errors import expect
from llm_lightning.runs.job import Job
from llm_lightning.runs.load import load_language_model
from llm_lightning.runs.network_job import FoundNetwork, NetworkJob
from llm_lightning.runs.prior_state import PriorState
from llm_lightning.runs.record import device_name
from llm_lightning.runs.responses import ready_to_generate
from llm_lightning.runs.run import prepare_run
from llm_lightning.runs.settings import Found
from llm_lightning.runs.terminal_output import as_typed
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.training.memory_needs import memory_needs, peak_in_parts_mib
from llm_lightning.training.peak_memory import memory_mib, peak_memory_mib, reset_peak_memory
from llm_lightning.training.step_memory import weight_bytes


def plan_run(job: Job) -> Plan:
    """Measures what is left to do of a job.

    Args:
        job: with a scratch folder as ``run_dir``.

    Raises:
        UserError: if the run would be refused, or a step does not fit in the GPU's memory.
    """
    job, found, prior = prepare_run(job)
    settings = job.settings
    plan = Plan(
        name=settings.name,
        seed=settings.seed,
        device="cpu",
        folder=str(as_typed(settings.home)),
        prior=prior.value,
        test_set=_test_set(found),
        is_baseline=isinstance(job, BaselineJob),
        fallbacks=found.fallbacks,
    )
    if prior in (PriorState.FINISHED, PriorState.NO_RESPONSES):
        parameters = read_summary(settings.home).parameters
        plan.trainable, plan.total = parameters.trainable, parameters.total
    if prior is not PriorState.FINISHED:
        with expect(ValueError):
            _measure(job, found, plan)
    return plan


def _test_set(found: Found) -> tuple[str, int] | None:
    """The fingerprint of a classifier's test split, and how many of its items are evaluated."""
    if found.data.kind != ClassificationData.kind:
        return None
    split = found.data.facts()["splits"]["test"]
    size, limit = found.data.eval_batch_size, 1.0
    batches = -(-split["examples"] // size)
    if isinstance(found, FoundNetwork):
        limit = found.trainer.limit_test_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    return split["sha256"], min(split["examples"], batches * size)


@singledispatch
def _measure(job: Job, found: Found, plan: Plan) -> None:
    """Fills in what is left to do; each kind of job has its own implementation."""
    raise TypeError(f"there is no dry run of a {type(job).__name__}")


@_measure.register
def _(job: BaselineJob, found: Found, plan: Plan) -> None:
    # Fitting it takes no longer than a measurement would.
    with contextlib.redirect_stdout(io.StringIO()):
        summary = job.fit(found)
    plan.trainable = plan.total = summary.parameters.trainable
    seconds = summary.seconds
    plan.seconds = {"training": seconds.training, "evaluation": seconds.evaluation}


@_measure.register
def _(job: NetworkJob, found: FoundNetwork, plan: Plan) -> None:
    plan.device = device_name(found.trainer)
    if plan.prior == PriorState.NO_RESPONSES.value:
        model, _ = load_language_model(job.settings.home)
        _plan_responses(plan, _ready(model, found.trainer), found.data)
        return
    device = found.trainer.strategy.root_device
    plan.program_mib, plan.num_processes = memory_mib(device), job.planned.size
    built = job.build(found)
    try:
        _plan_training(plan, job, built)
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"a training step does not fit in the memory of {plan.device}, of which the weights "
            f"take {weight_bytes(built.task) / 2**20:,.0f} MiB: lower data.batch_size (and raise "
            f"trainer.accumulate_grad_batches as much) or data.max_length"
        ) from error
    if isinstance(built.task, LanguageModel):
        _plan_responses(plan, _ready(built.task, built.trainer), built.data)
        if job.untrained_responses and plan.longest_responses_s is not None:
            # Before fine-tuning a model seldom ends a response by itself.
            plan.seconds["responses before fine-tuning"] = plan.longest_responses_s


def _ready(model: LanguageModel, trainer: L.Trainer) -> LanguageModel:
    return ready_to_generate(model, trainer.strategy.root_device, str(trainer.precision))


def _plan_training(plan: Plan, job: NetworkJob, built: Built) -> None:
    trainer, data = built.trainer, built.data
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    before = list(callbacks)
    groups = parameter_groups(built.task)
    plan.trainable = sum(group.trainable for group in groups)
    plan.total = sum(group.total for group in groups)
    train = _Batches.of(data.train_dataloader(), trainer.limit_train_batches)
    val = _Batches.of(data.val_dataloader(), trainer.limit_val_batches)
    tests = [_Batches.of(loader, trainer.limit_test_batches) for loader in data.test_dataloader()]

    # Callbacks that watch steps are part of a step's time; bars and checkpoints are not.
    aside = (ModelCheckpoint, ProgressBar, FrozenActivations, Resume)
    frozen = FrozenActivationsMeasure()
    callbacks[:] = [c for c in before if not isinstance(c, aside)]
    callbacks += [frozen] if any(isinstance(c, FrozenActivations) for c in before) else []
    training = None
    if trainer.max_epochs and train.num:
        at_validation = [c for c in before if isinstance(c, SampleResponses)]
        training = measure_training(built, train.widest, at_validation)
    callbacks.clear()
    is_half = trainer.precision in ("bf16-true", "16-true")
    shares = job.planned.size if job.strategy == "fsdp2" else 1
    if training is None:
        reset_peak_memory(trainer.strategy.root_device)
    per_token = measure_evaluation(built, [test.some for test in tests])
    plan.peak_mib = peak_memory_mib(trainer.strategy.root_device) + frozen.mib
    in_parts: dict[str, int] = {}
    if shares > 1:
        whole, part = (
            memory_needs(built.task, built.task.backbone.blocks, num_shares=size, half=is_half)
            for size in (1, shares)
        )
        copies = 3 if "resume" in job.callbacks else 1 if "checkpoint" in job.callbacks else 0
        # From a GPU, what is put together goes to main memory, tensor by tensor.
        saved = 0 if trainer.strategy.root_device.type == "cuda" else copies * part.put_together
        plan.peak_mib = peak_in_parts_mib(plan.peak_mib, plan.program_mib, whole, part, saved)
        in_parts = {
            "weights": part.weights,
            "gradients": part.gradients,
            "optimizer": part.optimizer,
        }
    plan.seconds["evaluation"] = sum(
        seconds * test.tokens for seconds, test in zip(per_token, tests, strict=True)
    )
    if training is None:
        plan.memory = {"weights": weight_bytes(built.task)}
        return
    plan.memory = training.memory
    plan.memory |= in_parts
    plan.widest_batch = list(train.widest.input_ids.shape)
    if plan.prior == PriorState.INTERRUPTED.value:
        resume = job.settings.home / files.CHECKPOINTS / files.RESUME
        state = torch.load(resume, map_location="cpu", weights_only=True, mmap=True)
        plan.steps_done = state["global_step"]
    plan.steps = training.total_steps - plan.steps_done
    epochs = plan.steps / training.steps_per_epoch
    validations = _validations(trainer, epochs) if val.num else 0
    plan.frozen_activations_mib = frozen.mib
    plan.seconds = {
        "frozen blocks": frozen.seconds,
        "training": training.seconds_per_token * train.tokens * epochs,
        "validation": validations * (per_token[1] * val.tokens + training.validation_end_s),
        "checkpoints": _writing(job, built, training, epochs),
    } | plan.seconds


def _plan_responses(plan: Plan, model: LanguageModel, data: Any) -> None:
    """Adds the time to respond to the test split, with responses as long as the references."""
    if not isinstance(data, Instructions):
        return
    options, context_length = model.options.generation, model.backbone.context_length
    records, look = data.records["test"], Prompts(data.prompt_style, data.tokenizer)
    prompts = [prompt_tokens(record, look, context_length, options) for record in records]
    wanted = [len(data.tokenizer.encode(record.output)) + 1 for record in records]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    size = options.batch_size
    batches = [order[at : at + size] for at in range(0, len(order), size)]
    middle = batches[len(batches) // 2]
    prefill, per_token = measure_generation(model, [prompts[index] for index in middle])
    width = len(prompts[middle[-1]])
    expected = longest = 0.0
    for batch in batches:
        start = prefill * len(prompts[batch[-1]]) / width * len(batch) / len(middle)
        room = min(options.max_new_tokens, context_length - len(prompts[batch[0]]))
        expected += start + per_token * min(room, max(wanted[index] for index in batch))
        longest += start + per_token * room
    plan.seconds["responses"], plan.longest_responses_s = expected, longest


@dataclass
class _Batches:
    """What an epoch over a loader consists of."""

    num: int = 0
    tokens: int = 0
    """Padding included."""
    widest: Any = None
    some: list[Any] = field(default_factory=list)
    """A few, spread over the epoch."""

    @classmethod
    def of(cls, loader: Any, limit: float | int) -> "_Batches":
        num = min(len(loader), limit) if isinstance(limit, int) else int(len(loader) * limit)
        found = cls(num)
        stride = max(1, num // EVALUATED_BATCHES)
        most = (0, 0)
        for index, batch in enumerate(islice(loader, num)):
            size = batch.input_ids.numel()
            found.tokens += size
            # Among batches of the same width, the one with most real tokens.
            if (need := (size, int(batch.lengths.sum()))) > most:
                found.widest, most = batch, need
            if index % stride == 0:
                found.some.append(batch)
        return found


def _validations(trainer: L.Trainer, epochs: float) -> int:
    """How many validations there are in so many epochs."""
    in_epoch = int(trainer.num_training_batches // (trainer.val_check_batch or math.inf))
    return int(epochs // (trainer.check_val_every_n_epoch or 1)) * in_epoch


def _writing(job: NetworkJob, built: Built, training: Training, epochs: float) -> float:
    """Seconds for the checkpoints of every epoch, and for the last."""
    memory = training.memory
    weights = memory["weights" if built.task.base is None else "gradients"]
    each = weights * ("checkpoint" in job.callbacks)
    each += (weights + memory["optimizer"]) * ("resume" in job.callbacks)
    last = weights * ("checkpoint" in job.callbacks)
    return seconds_to_write(int(each * epochs) + last, Path(job.settings.run_dir))
