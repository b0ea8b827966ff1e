"""The root configuration, and the schemas that every YAML file in ``conf/`` starts from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import MISSING, OmegaConf

from llm_lightning.backbone.weights import ModelConfig
from llm_lightning.data.instructions import Instructions
from llm_lightning.data.spam import SmsSpam
from llm_lightning.data.table import Table
from llm_lightning.data.text import TextFiles
from llm_lightning.evaluation.baselines import Baseline
from llm_lightning.finetuning.adaptation import LoRA
from llm_lightning.finetuning.qlora import QLoRA
from llm_lightning.finetuning.strategies import AllLayers, ChosenBlocks, TopBlocks
from llm_lightning.tasks.options import ClassifierOptions, LanguageModelOptions
from llm_lightning.training.optim import AdamW

MAX_NAME_LENGTH = 150  # of a run folder, in characters

# Overrides that do not change what a run computes, and so stay out of its folder's name.
_NOT_IN_NAME = (
    "experiment", "seed", "runs_dir", "offline_fallback", "rerun", "sweep", "dry_run", "objective",
)  # fmt: skip


@dataclass
class Published:
    """What the book reports for a setting; accuracies in percent, losses in nats a token."""

    row: int | None = None
    """Row of its results table."""
    train: float | None = None
    """Training accuracy, on 1,040 of 1,045 messages."""
    val: float | None = None
    """Validation accuracy, on 149 messages."""
    test: float | None = None
    """Test accuracy, on 300 messages."""
    initial_train_loss: float | None = None
    """Loss before training, on five training batches."""
    initial_val_loss: float | None = None
    """Loss before training, on five validation batches: 40 of 55 entries."""
    train_loss: float | None = None
    """The last training loss it prints, on five batches."""
    val_loss: float | None = None
    """The last validation loss it prints, on five batches."""
    judge_score: float | None = None
    """Mean score of the test answers by Llama 3 8B, 0 to 100; its standard error is 3 to 5."""
    judged: str | None = None
    """How many of the test answers got a score."""
    minutes: float | None = None
    """Training time; on an A100 where ``source`` says nothing else."""
    source: str | None = None
    """Where the figures stand."""
    note: str | None = None
    """What is known to be wrong with them."""


class Checkpoint(Enum):
    """Which weights of a run."""

    last = "last"
    """Those after the last epoch, as in the book."""
    best = "best"
    """Those with the lowest validation loss; the validation metrics are then flattering."""


@dataclass
class Config:
    """Everything that a run is made of."""

    model: Any = MISSING
    """Network and weights: ``conf/model``."""
    task: Any = MISSING
    """Head and objective: ``conf/task``."""
    data: Any = MISSING
    """Texts, splits, padding, batches: ``conf/data``."""
    finetune: Any = MISSING
    """What trains: ``conf/finetune``."""
    optim: AdamW = field(default_factory=AdamW)
    """Optimizer and schedule."""
    trainer: Any = MISSING
    """Arguments of ``lightning.Trainer``: ``conf/trainer``."""
    callbacks: dict[str, Any] = field(default_factory=dict)
    """Lightning callbacks by name."""
    loggers: dict[str, Any] = field(default_factory=dict)
    """Lightning loggers by name."""
    seed: int = 123
    """Seed of starting weights, order of examples and dropout."""
    offline_fallback: bool = True
    """Whether small stand-ins replace data or weights that cannot be had; else that is an error."""
    rerun: bool = False
    """Whether an interrupted run of the same settings starts over instead of going on."""
    evaluate: Checkpoint = Checkpoint.last
    """Checkpoint that the final table speaks of."""
    dry_run: bool = False
    """Whether to say what the run would take, and to train and keep nothing."""
    compile: bool = False
    """Whether torch.compile is used on the blocks; a start of minutes that long runs on a GPU may
    earn back."""
    objective: str = "loss"
    """Validation value that a search over settings goes by: ``loss``, ``accuracy`` or another
    that the final table has for the split; of the weights that ``evaluate`` names."""
    runs_dir: str = "runs"
    """Folder of all run folders."""
    run_dir: str = MISSING
    """This run's folder."""
    published: Published | None = None
    """What the book reports for this setting, if it does."""


def run_name(overrides: Sequence[str]) -> str:
    """Names a run after its experiment and every setting that was changed on the command line.

    ``["+experiment=last_block", "optim.lr=1e-4", "seed=2"]`` becomes
    ``last_block-optim.lr=0.0001``. Of paths only the last part is kept, with a digest of the
    whole, so that ``a/data.csv`` and ``b/data.csv`` stay different runs.
    """
    experiment, changes = "run", []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        value = str(override.get_value_element_as_str())
        if key == "experiment":
            experiment = value
        elif key not in _NOT_IN_NAME and not key.startswith("hydra"):
            value = value.strip("'\"")
            tail = value.rstrip("/").rsplit("/", 1)[-1]
            if tail != value:
                tail += f"@{_digest(value)[:4]}"
            change = f"~{key}" if override.is_delete() else f"{key}={tail}"
            changes.append(change.replace(" ", "_"))
    name = "-".join([experiment, *sorted(changes)])
    if len(name) > MAX_NAME_LENGTH:  # file systems allow 255 bytes
        name = f"{name[: MAX_NAME_LENGTH - 9]}-{_digest(name)[:8]}"
    return name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# On import: launchers send jobs to processes where nothing but their function's module is loaded.
OmegaConf.register_new_resolver("run_name", run_name, replace=True)


def register() -> None:
    """Registers the schemas with Hydra; harmless when called again."""
    store = ConfigStore.instance()
    store.store(group="schema", name="config", node=Config, package="_global_")
    store.store(group="schema/model", name="gpt2", node=ModelConfig)
    store.store(group="schema/task", name="classify", node=ClassifierOptions)
    store.store(group="schema/task", name="language_model", node=LanguageModelOptions)
    store.store(group="schema/task", name="baseline", node=Baseline)
    store.store(group="schema/data", name="sms_spam", node=SmsSpam)
    store.store(group="schema/data", name="table", node=Table)
    store.store(group="schema/data", name="instructions", node=Instructions)
    store.store(group="schema/data", name="text", node=TextFiles)
    store.store(group="schema/finetune", name="top_blocks", node=TopBlocks)
    store.store(group="schema/finetune", name="chosen_blocks", node=ChosenBlocks)
    store.store(group="schema/finetune", name="all_layers", node=AllLayers)
    store.store(group="schema/finetune", name="lora", node=LoRA)
    store.store(group="schema/finetune", name="qlora", node=QLoRA)
