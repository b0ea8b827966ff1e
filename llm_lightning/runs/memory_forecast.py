"""Refuses a run that cannot fit in memory, before anything is downloaded for it."""

from dataclasses import asdict
from typing import Any

import torch

from llm_lightning.backbone.families import Model
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.huggingface.location import known_config
from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.backbone.memory import free_memory_bytes
from llm_lightning.distributed.processes import Processes
from llm_lightning.finetuning.qlora import QLoRA
from llm_lightning.finetuning.strategies import Strategy
from llm_lightning.network import Reachability
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.task import Task
from llm_lightning.training.memory_needs import MemoryNeeds, memory_needs
from llm_lightning.training.optim import AdamW

_MOST = 4 * 4  # bytes of a weight that trains, with its gradient and its moments


def check_memory(
    *,
    model: Model,
    hub: Reachability | None,
    task_class: type[Task],
    task: Any,
    finetune: Strategy,
    optim: AdamW,
    device: torch.device,
    processes: Processes,
    num_measured: int,
    strategy: str,
    precision: str,
) -> None:
    """Refuses what needs more memory than is free, even without any activations.

    Args:
        model: of the run, whose weights may not be here yet.
        hub: whether the Hub can be reached, if the weights would come from there.
        task_class: of the run.
        task: its options.
        finetune: the strategy of fine-tuning.
        optim: the optimizer.
        device: of the first process.
        processes: those that there will be.
        num_measured: how many there are now: a dry run is a single one.
        strategy: how they share the model.
        precision: Lightning's name of it.

    Raises:
        ValueError: naming what is needed, what is free, and what needs less.
    """
    is_gpu = device.type == "cuda"
    if device.type not in ("cuda", "cpu"):
        return
    free = torch.cuda.mem_get_info(device)[0] if is_gpu else free_memory_bytes()
    for_each = free if is_gpu else free // processes.per_node
    architecture = _architecture(model, hub)
    if architecture is None or _is_certainly_small(architecture, for_each):
        return
    outline = _outline(task_class, task, architecture, finetune, optim)
    num_shares = processes.size if strategy == "fsdp2" else 1
    needs, alone = (
        memory_needs(
            outline,
            outline.backbone.blocks,
            num_shares=shares,
            half=precision in ("bf16-true", "16-true"),
            state_bits=optim.state_bits,
            quantized_base=isinstance(finetune, QLoRA),
        )
        for shares in (num_shares, 1)
    )
    # The whole model is made in main memory; a GPU only ever has the parts.
    least, least_alone = (
        one.kept if is_gpu else max(one.start, one.kept) for one in (needs, alone)
    )
    if least > for_each:
        raise ValueError(_refusal(model.name, least, needs, for_each, processes, is_gpu=is_gpu))
    if num_measured < processes.size and least_alone > free:
        raise ValueError(
            f"a dry run measures one process with the whole model, which takes "
            f"{_gib(least_alone)} GiB or more, and {_gib(free)} GiB are free; with "
            f"trainer.strategy={strategy} each of {processes.size} processes takes "
            f"{_gib(least)} GiB and its activations"
        )


def _architecture(model: Model, hub: Reachability | None) -> dict[str, Any] | None:
    """What the model is made from, without its weights; ``None`` where that is not known yet."""
    if not isinstance(model, HubModel):
        return model.architecture() | {"init": "empty"}
    config = known_config(model, hub)
    if config is None:
        return None
    return {
        "config": config,
        "dropout": model.dropout,
        "context_length": model.context_length,
        "init": "empty",
    }


def _is_certainly_small(architecture: dict[str, Any], free: int) -> bool:
    """Whether everything could train twice over, so that counting is not worth its time."""
    if "config" not in architecture:
        fields: dict[str, Any] = architecture
        return 2 * _MOST * GPTConfig(**fields).num_parameters < free
    config = architecture["config"]
    width, layers, words = (
        config.get(key) for key in ("hidden_size", "num_hidden_layers", "vocab_size")
    )
    inner = config.get("intermediate_size")
    has_experts = any("experts" in key for key in config)
    if has_experts or not all(isinstance(number, int) for number in (width, layers, words, inner)):
        return False
    # Attention has at most four matrices of this width, a gated network three of the inner one.
    most = 2 * words * width + layers * width * (8 * width + 3 * inner)
    return bool(2 * _MOST * most < free)


def _outline(
    task_class: type[Task],
    task: Any,
    architecture: dict[str, Any],
    finetune: Strategy,
    optim: AdamW,
) -> Task:
    """The model without memory for its weights."""
    build: Any = task_class
    classes = {"class_names": ["0", "1"], "class_weights": None}
    of_data = classes if issubclass(task_class, Classifier) else {}
    with torch.device("meta"):
        made: Task = build(
            task=asdict(task),
            model=architecture,
            finetune=asdict(finetune),
            optim=asdict(optim),
            text={},
            seed=0,
            **of_data,
        )
    return made


def _refusal(
    name: str, least: int, needs: MemoryNeeds, free: int, processes: Processes, *, is_gpu: bool
) -> str:
    parts = [
        f"{part} {_gib(size)}"
        for part, size in (
            ("weights", needs.weights),
            ("gradients", needs.gradients),
            ("optimizer", needs.optimizer),
        )
    ]
    at_first = f", and {_gib(needs.start)} while the whole model is made in 32 bits"
    whose = "on the GPU" if is_gpu else "in this machine"
    if processes.per_node > 1:
        whose += f" for each of {processes.per_node} processes"
    return (
        f"model={name} does not fit: training it takes {_gib(least)} GiB or more in each "
        f"process, without any activations ({', '.join(parts)} GiB{at_first}), and "
        f"{_gib(free)} GiB are free {whose}. Less is needed by finetune=lora, last_block or qlora, "
        f"by optim.state_bits=8, trainer.precision=bf16-true, more devices with "
        f"trainer.strategy=fsdp2, or a smaller model"
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:,.1f}"
