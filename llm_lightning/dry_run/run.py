"""What a run would take, measured on its own data and model before anything is spent."""

import contextlib
import io
import math
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from omegaconf import DictConfig

from llm_lightning.backbone.tokenizer import gpt2_encoding
from llm_lightning.callbacks.frozen_activations import FrozenActivations
from llm_lightning.callbacks.sample_responses import SampleResponses
from llm_lightning.data.instructions import Instructions
from llm_lightning.dry_run.measure import (
    EVALUATED_BATCHES,
    FrozenActivationsProbe,
    Training,
    probe_answering,
    probe_evaluation,
    probe_training,
    seconds_to_write,
)
from llm_lightning.dry_run.plan import Plan
from llm_lightning.evaluation.responses import prompt_tokens
from llm_lightning.finetuning.coverage import parameter_groups
from llm_lightning.runs import folder as run_folder
from llm_lightning.runs.baseline import fit_baseline
from llm_lightning.runs.build import Found, FoundModel, Run, build
from llm_lightning.runs.folder import Former
from llm_lightning.runs.record import device_name
from llm_lightning.runs.responses import ready_to_answer
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.training.step_memory import weight_bytes


def real_folder(cfg: DictConfig) -> Path:
    """Returns the folder that the run would write; in a dry run ``run_dir`` is a scratch folder."""
    return Path(cfg.runs_dir).absolute() / HydraConfig.get().sweep.subdir


def plan_run(cfg: DictConfig, found: Found) -> Plan:
    """Measures what is left to do of a run.

    Args:
        cfg: the composed configuration, with a scratch folder as ``run_dir``.
        found: data and weights.

    Raises:
        ValueError: if the run would be refused, or a step does not fit in the GPU's memory.
    """
    folder = real_folder(cfg)
    before = run_folder.former(folder, cfg, found)
    plan = Plan(folder.parent.name, cfg.seed, "cpu", before.value, stand_ins=len(found.notices))
    if before in (Former.FINISHED, Former.UNANSWERED):
        counts = run_folder.read_summary(folder)["parameters"]
        plan.trainable, plan.total = counts["trainable"], counts["total"]
    if before is Former.FINISHED:
        return plan
    if not isinstance(found, FoundModel):
        # Fitting it takes no longer than a probe would.
        with contextlib.redirect_stdout(io.StringIO()):
            summary = fit_baseline(cfg, found)
        plan.trainable = plan.total = summary["parameters"]["trainable"]
        seconds = summary["seconds"]
        plan.seconds = {part: seconds[part] for part in ("training", "evaluation")}
        return plan
    plan.device = device_name(found.trainer)
    if before is Former.UNANSWERED:
        model, _ = run_folder.load_language_model(folder)
        _plan_answers(plan, _ready(model, found.trainer), found.data)
        return plan
    built = build(cfg, found)
    try:
        _plan_training(plan, cfg, built, folder)
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"a training step does not fit in the memory of {plan.device}, of which the weights "
            f"take {weight_bytes(built.task) / 2**20:,.0f} MiB: lower data.batch_size (and raise "
            f"trainer.accumulate_grad_batches as much) or data.max_length"
        ) from error
    if isinstance(built.task, LanguageModel):
        _plan_answers(plan, _ready(built.task, built.trainer), built.data)
    return plan


def _ready(model: LanguageModel, trainer: L.Trainer) -> LanguageModel:
    return ready_to_answer(model, trainer.strategy.root_device, str(trainer.precision))


def _plan_training(plan: Plan, cfg: DictConfig, built: Run, folder: Path) -> None:
    trainer, data = built.trainer, built.data
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    before = list(callbacks)
    groups = parameter_groups(built.task)
    plan.trainable = sum(group.trainable for group in groups)
    plan.total = sum(group.total for group in groups)
    train = _Batches.of(data.train_dataloader(), trainer.limit_train_batches)
    val = _Batches.of(data.val_dataloader(), trainer.limit_val_batches)
    tests = [_Batches.of(loader, trainer.limit_test_batches) for loader in data.test_dataloader()]

    # Those that watch steps belong to what steps take; bars and checkpoints do not.
    aside = (ModelCheckpoint, ProgressBar, FrozenActivations)
    frozen = FrozenActivationsProbe()
    callbacks[:] = [c for c in before if not isinstance(c, aside)]
    callbacks += [frozen] if any(isinstance(c, FrozenActivations) for c in before) else []
    training = None
    if cfg.trainer.max_epochs and train.num:
        at_validation = [c for c in before if isinstance(c, SampleResponses)]
        training = probe_training(built, train.widest, at_validation)
    callbacks.clear()
    per_token = probe_evaluation(built, [test.some for test in tests])
    plan.seconds["evaluation"] = sum(
        seconds * test.tokens for seconds, test in zip(per_token, tests, strict=True)
    )
    if training is None:
        plan.memory = {"weights": weight_bytes(built.task)}
        return
    plan.memory, plan.peak_mib = training.memory, training.peak_mib
    plan.widest_batch = list(train.widest.input_ids.shape)
    if plan.before == Former.INTERRUPTED.value:
        resume = folder / run_folder.CHECKPOINTS / run_folder.RESUME
        state = torch.load(resume, map_location="cpu", weights_only=True, mmap=True)
        plan.steps_done = state["global_step"]
    plan.steps = training.total_steps - plan.steps_done
    epochs = plan.steps / training.steps_per_epoch
    validations = _validations(built, epochs) if val.num else 0
    plan.frozen_mib = frozen.mib
    plan.seconds = {
        "frozen blocks": frozen.seconds,
        "training": training.seconds_per_token * train.tokens * epochs,
        "validation": validations * (per_token[1] * val.tokens + training.validation_end_s),
        "checkpoints": _writing(cfg, built, training, epochs),
    } | plan.seconds


def _plan_answers(plan: Plan, model: LanguageModel, data: Any) -> None:
    """Adds the time to answer the test split, with answers as long as the references."""
    if not isinstance(data, Instructions):
        return
    options, n_positions = model.options.generation, model.backbone.config.n_positions
    records = data.records["test"]
    prompts = [prompt_tokens(r, data.prompt_style, n_positions, options) for r in records]
    wanted = [len(gpt2_encoding().encode_ordinary(record.output)) + 1 for record in records]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    size = options.batch_size
    batches = [order[at : at + size] for at in range(0, len(order), size)]
    middle = batches[len(batches) // 2]
    reading, writing = probe_answering(model, [prompts[index] for index in middle])
    width = len(prompts[middle[-1]])
    expected = longest = 0.0
    for batch in batches:
        start = reading * len(prompts[batch[-1]]) / width * len(batch) / len(middle)
        room = min(options.max_new_tokens, n_positions - len(prompts[batch[0]]))
        expected += start + writing * min(room, max(wanted[index] for index in batch))
        longest += start + writing * room
    plan.seconds["answers"], plan.longest_answers_s = expected, longest


@dataclass
class _Batches:
    """What an epoch over a loader reads."""

    num: int = 0
    tokens: int = 0
    """Padding included."""
    widest: Any = None
    some: list[Any] = field(default_factory=list)
    """A few, from all over."""

    @classmethod
    def of(cls, loader: Any, limit: float | int) -> "_Batches":
        num = min(len(loader), limit) if isinstance(limit, int) else int(len(loader) * limit)
        found = cls(num)
        stride = max(1, num // EVALUATED_BATCHES)
        most = (0, 0)
        for index, batch in enumerate(islice(loader, num)):
            size = batch.input_ids.numel()
            found.tokens += size
            # Among batches as wide as each other, the one with most real tokens.
            if (need := (size, int(batch.lengths.sum()))) > most:
                found.widest, most = batch, need
            if index % stride == 0:
                found.some.append(batch)
        return found


def _validations(built: Run, epochs: float) -> int:
    """How often the validation split is read in so many epochs."""
    trainer = built.trainer
    in_epoch = int(trainer.num_training_batches // (trainer.val_check_batch or math.inf))
    return int(epochs // (trainer.check_val_every_n_epoch or 1)) * in_epoch


def _writing(cfg: DictConfig, built: Run, training: Training, epochs: float) -> float:
    """Seconds for the checkpoints of every epoch, and for the last."""
    memory = training.memory
    weights = memory["weights" if built.task.base is None else "gradients"]
    each = weights * ("checkpoint" in cfg.callbacks)
    each += (weights + memory["optimizer"]) * ("resume" in cfg.callbacks)
    last = weights * ("checkpoint" in cfg.callbacks)
    return seconds_to_write(int(each * epochs) + last, Path(cfg.run_dir))
