"""All cases: ours and the peers, group by group."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from process import FOLDER
from schedule import KEEPS_STATES, Case, Settings, placed, sizes

RESPONSES_AT_ONCE = 32  # as ours by default

_FP32 = "trainer.precision=32-true"

# Rough seconds of one padded step of 124M on two cores, against training the head alone: only for
# the first forecast of the time left.
_PADDED_STEP_S = 1.1
_WORK = {"last_layer": 1.0, "last_block": 1.1, "last_two_blocks": 1.2, "all": 3.0, "lora": 2.2}


def all_cases(settings: Settings, inputs: Path, max_length: int) -> list[Case]:
    """Every case in the order of a round.

    Args:
        settings: what they share.
        inputs: folder that ``prepare.py`` fills.
        max_length: tokens of the longest training text.
    """
    is_tiny = settings.model == "tiny"
    products = {
        "sizes": [[256, 256, 256]] if is_tiny else [[2048, 2048, 2048], [1024, 768, 3072]],
        "seconds": 0.1 if is_tiny else 3.0,
    }
    cases = [
        Case("machine", "matmul", "machine.rates", products, guess_s=16),
        *_startup(settings),
        *_commands(settings),
        *(c for s in settings.strategies for c in _steps(settings, inputs, max_length, s)),
        *_overhead(settings, inputs, max_length),
        *_generation(settings, inputs),
        *_growth(settings, inputs),
        *(c for s in settings.end_to_end for c in _end_to_end(settings, inputs, s)),
    ]
    if is_tiny:  # every guess is for 124M
        cases = [replace(case, guess_s=6.0) for case in cases]
    return placed(cases)


def _random_weights(model: str) -> list[str]:
    """A model with weights drawn anew, as settings of our program."""
    fields = [f"model.{key}={value}" for key, value in sizes(model).items()]
    known = "nano" if model == "tiny" else model
    return [f"model={known}", *fields, "model.weights=random", "model.init=gpt2"]


def _startup(settings: Settings) -> Iterator[Case]:
    """What passes before anything is computed."""
    our_program = ("-m", "llm_lightning")
    experiment = (*our_program, "+experiment=last_block")
    yield Case("startup", "ours --help", program=(*our_program, "--help"), guess_s=1)
    yield Case("startup", "ours --cfg=job", program=(*experiment, "--cfg=job"), guess_s=5)
    yield Case(
        "startup",
        "ours dry_run=true",
        program=(*experiment, *_random_weights(settings.model), "dry_run=true"),
        guess_s=7,
    )
    for name, line in (
        ("import torch", "import torch"),
        ("import lightning", "import lightning"),
        ("import transformers", "from transformers import GPT2ForSequenceClassification, Trainer"),
    ):
        yield Case("startup", name, program=("-c", line), guess_s=3)


def _commands(settings: Settings) -> Iterator[Case]:
    """What people wait for, with nano."""
    yield Case("commands", "first line of a run", "commands.first_line", guess_s=2)
    yield Case("commands", "whole run", "commands.whole_run", guess_s=7)
    yield Case("commands", "predict", "commands.predict", guess_s=9)
    rows, seeds = settings.sweep
    name, arguments = f"sweep of {rows} rows x {seeds} seeds", {"rows": rows, "seeds": seeds}
    yield Case("commands", name, "commands.sweep", arguments, guess_s=3.0 * rows * seeds)


def _steps(settings: Settings, inputs: Path, max_length: int, strategy: str) -> Iterator[Case]:
    """Optimizer steps on the same batches of mixed lengths."""
    group = f"steps/{strategy}"
    shared = {"sizes": sizes(settings.model), "strategy": strategy, "warmup": settings.warmup}
    padded_s = 7 + (settings.warmup + settings.steps) * _PADDED_STEP_S * _WORK[strategy]
    ours = _our_steps(settings, inputs, strategy, max_length=max_length, passes=2)
    is_cached = strategy in KEEPS_STATES
    # First in the precision that is best here, then in the one that all machines share.
    for name, override in (("ours", "trainer.precision=auto"), ("ours, fp32", _FP32)):
        seconds = 20 if is_cached else padded_s / 2
        yield _ours(group, name, ours, override, seconds)
    if is_cached:
        uncached = "finetune.cache_frozen_activations=false"
        yield _ours(group, "ours, uncached", ours, uncached, padded_s / 2)
    if strategy == "all":
        yield _ours(group, "ours, compiled", ours, "compile=true", padded_s + 120)
    theirs = shared | {"inputs": str(inputs / "steps.json")}
    yield Case(group, "plain", "plain.steps", theirs, guess_s=padded_s)
    library = "peft" if strategy == "lora" else "transformers"
    forms = [("default", padded_s), ("best", padded_s / 2), ("best, fp32", padded_s / 2)]
    if not is_cached:
        forms.append(("best, kept memory", padded_s / 2))
    for form, guess_s in forms:
        arguments = theirs | {"form": form}
        yield Case(group, f"{library}, {form}", "peers.steps", arguments, guess_s=guess_s)


def _our_steps(
    settings: Settings, inputs: Path, strategy: str, *, table: str = "steps.csv", **changes: Any
) -> dict[str, Any]:
    model = changes.pop("model", settings.model)
    return {
        "table": str(inputs / table),
        "strategy": strategy,
        "overrides": _random_weights(model),
        "warmup": settings.warmup,
        "sizes": sizes(model),
        **changes,
    }


def _overhead(settings: Settings, inputs: Path, max_length: int) -> Iterator[Case]:
    """Lightning, metrics and logging around a step on kept states, from the inside out."""
    ours = _our_steps(settings, inputs, "last_block", table="overhead.csv", max_length=max_length)
    twice = ours | {"passes": 2}  # the bare loop fills the states by a first pass of its own
    for name, function, arguments in (
        ("forward, backward, optimizer", "bare_steps", ours),
        ("in Lightning with metrics", "lightning_steps", twice),
        ("the whole program", "steps", twice),
    ):
        yield Case("overhead", name, f"workloads.{function}", arguments, guess_s=20)


def _generation(settings: Settings, inputs: Path) -> Iterator[Case]:
    """Greedy responses; first as ours generates them on this machine."""
    shared = {
        "prompts": str(inputs / "prompts.json"),
        "sizes": sizes(settings.model),
        "new_tokens": settings.new_tokens,
    }
    for name, function, precision, batch_size, guess_s in (
        ("ours", "ours", "auto", RESPONSES_AT_ONCE, 15),
        ("ours, fp32", "ours", "fp32", RESPONSES_AT_ONCE, 40),
        ("transformers, default", "transformers", "fp32", 1, 300),
        ("transformers, batches", "transformers", "fp32", RESPONSES_AT_ONCE, 50),
        ("transformers, batches, autocast", "transformers", "autocast", RESPONSES_AT_ONCE, 80),
        ("transformers, batches, bf16 weights", "transformers", "bf16", RESPONSES_AT_ONCE, 40),
    ):
        arguments = shared | {"precision": precision, "batch_size": batch_size}
        yield Case("generation", name, f"writing.{function}", arguments, guess_s=guess_s)


def _growth(settings: Settings, inputs: Path) -> Iterator[Case]:
    """How time and memory of ours grow with examples, length and size of the model."""
    for count in settings.growth_examples:
        program = (*_our_program(settings, inputs, "last_block"), f"data.num_train={count}")
        yield Case("growth/examples/last_block", str(count), program=program, guess_s=30)
    for strategy in ("last_block", "all"):
        for length in settings.growth_lengths:
            table = f"length_{length}.csv"
            arguments = _our_steps(settings, inputs, strategy, table=table, max_length=length)
            arguments["warmup"] = 1
            name = f"{length} tokens"
            seconds = 8 + length / (6 if strategy == "all" else 30)
            yield _grown(f"growth/length/{strategy}", name, arguments, seconds)
        for model in settings.growth_models:
            length = settings.growth_lengths[1]
            arguments = _our_steps(
                settings,
                inputs,
                strategy,
                table=f"length_{length}.csv",
                max_length=length,
                model=model,
            )
            arguments["warmup"] = 1
            yield _grown(f"growth/model/{strategy}", model, arguments, 30)


def _ours(group: str, name: str, arguments: dict[str, Any], override: str, guess_s: float) -> Case:
    changed = arguments | {"overrides": [*arguments["overrides"], override]}
    return Case(group, name, "workloads.steps", changed, guess_s=guess_s)


def _grown(group: str, name: str, arguments: dict[str, Any], guess_s: float) -> Case:
    return Case(group, name, "workloads.steps", arguments, guess_s=guess_s)


def _end_to_end(settings: Settings, inputs: Path, strategy: str) -> Iterator[Case]:
    """From the command to the final metrics on all three splits."""
    group = f"end_to_end/{strategy}"
    best = ("task.pooling=last_real", "data.padding=batch", "trainer.precision=auto")
    ours = _our_program(settings, inputs, strategy)
    yield Case(group, "ours", program=(*ours, *best), guess_s=80)
    as_book = (*_our_program(settings, inputs, "row_01"), f"finetune={strategy}")
    yield Case(group, "row_01", program=as_book, guess_s=240)
    theirs = {
        "inputs": str(inputs / "inputs.json"),
        "sizes": sizes(settings.model),
        "strategy": strategy,
        "epochs": settings.epochs,
    }
    long = {"guess_s": 1100.0, "is_long": True}
    yield Case(group, "plain", "plain.end_to_end", theirs, **long)
    default, best_form = theirs | {"form": "default"}, theirs | {"form": "best"}
    yield Case(group, "transformers, default", "peers.end_to_end", default, **long)
    yield Case(group, "transformers, best", "peers.end_to_end", best_form, guess_s=260)


def _our_program(settings: Settings, inputs: Path, experiment: str) -> tuple[str, ...]:
    data = () if settings.data is None else (f"data.path='{Path(settings.data).resolve()}'",)
    return (
        "-m",
        "llm_lightning",
        f"+experiment={experiment}",
        *_random_weights(settings.model),
        *data,
        f"trainer.max_epochs={settings.epochs}",
        "data.drop_last=false",  # the same examples for all
        f"runs_dir='{FOLDER}/runs'",
    )
