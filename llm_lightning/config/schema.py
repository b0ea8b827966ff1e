"""The schemas that every YAML file in ``conf/`` starts from."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.backbone.weights import ModelConfig
from llm_lightning.config.run_name import output_dir, run_name
from llm_lightning.data.imdb import Imdb
from llm_lightning.data.instructions import Instructions
from llm_lightning.data.spam import SmsSpam
from llm_lightning.data.table import Table
from llm_lightning.data.text import TextFiles
from llm_lightning.evaluation.baselines import Baseline
from llm_lightning.evaluation.decisions import Decide
from llm_lightning.finetuning.adaptation import LoRA
from llm_lightning.finetuning.qlora import QLoRA
from llm_lightning.finetuning.strategies import AllLayers, ChosenBlocks, TopBlocks
from llm_lightning.run_format.published import Published
from llm_lightning.runs.settings import Checkpoint
from llm_lightning.tasks.options import ClassifierOptions, LanguageModelOptions
from llm_lightning.training.optim import AdamW


@dataclass
class Config:
    """The root of every configuration."""

    model: Any = MISSING
    """Network and weights: ``conf/model``."""
    task: Any = MISSING
    """Head and objective: ``conf/task``."""
    data: Any = MISSING
    """Texts, splits, padding and batches: ``conf/data``."""
    finetune: Any = MISSING
    """Which parameters train: ``conf/finetune``."""
    optim: AdamW = field(default_factory=AdamW)
    """Optimizer and schedule."""
    decide: Decide = field(default_factory=Decide)
    """How a classifier decides after training."""
    trainer: Any = MISSING
    """Arguments of ``lightning.Trainer``: ``conf/trainer``."""
    callbacks: dict[str, Any] = field(default_factory=dict)
    """Lightning callbacks by name."""
    loggers: dict[str, Any] = field(default_factory=dict)
    """Lightning loggers by name."""
    baselines: list[str] = field(default_factory=lambda: ["naive_bayes", "logreg"])
    """Baselines without a network that are fitted on the same splits of a classification run and
    shown beside it in the final table; ``[]`` for none."""
    untrained_responses: bool = True
    """Whether an instruction run also generates and scores responses before fine-tuning, to show
    what was learnt."""
    seed: int = 123
    """Seed of a run, from 0 to 2**32 - 1: of ``init_seed`` and ``order_seed``, unless they are set.
    The split has a seed of its own, ``data.split_seed``."""
    init_seed: int = 123
    """Seed of what is drawn before training: the head, adapters, and the backbone if its weights
    are random. By default ``seed``."""
    order_seed: int = 123
    """Seed of what is drawn during training: the order of examples, and dropout. By default
    ``seed``."""
    offline_fallback: bool = True
    """Whether a small packaged model or dataset replaces one that is unavailable; otherwise that
    is an error."""
    rerun: bool = False
    """Whether a finished or interrupted run of the same settings starts over; by default the first
    is skipped and the second is resumed."""
    checkpoint_every: Any = "5min"
    """How often a run saves within an epoch what it would resume from: a number of optimizer steps,
    or a time as ``30s``, ``5min`` or ``2h``. It saves after epochs, too. Less than 2 % of its time
    goes into that, unless a number of steps is asked for."""
    evaluate: Checkpoint = Checkpoint.last
    """Checkpoint that the final evaluation uses."""
    dry_run: bool = False
    """Whether to measure and print what the run would take, and to train and keep nothing."""
    threads: int | None = None
    """Threads on the CPU, of all processes of a machine together; by default one for each core that
    other programs leave free, unless ``OMP_NUM_THREADS`` is set."""
    compile: bool = False
    """Whether torch.compile is used on the blocks; it takes minutes at the start, which long runs
    on a GPU may earn back."""
    objective: str = "loss"
    """Validation metric that a search optimises: ``loss``, ``accuracy`` or another column of the
    final table; of the checkpoint that ``evaluate`` names."""
    trial: bool = False
    """Whether this run is a trial of a search: a report shows it among the trials, by its
    validation score, and not as a row. Sweep files that search set it."""
    runs_dir: str = "runs"
    """Folder of all run folders."""
    run_dir: str = MISSING
    """This run's folder."""
    published: Published | None = None
    """What the book reports for this setting."""


SCHEMAS: dict[str, dict[str, type]] = {
    "model": {"gpt2": ModelConfig, "hub": HubModel},
    "task": {
        "classify": ClassifierOptions,
        "language_model": LanguageModelOptions,
        "baseline": Baseline,
    },
    "data": {
        "sms_spam": SmsSpam,
        "imdb": Imdb,
        "table": Table,
        "instructions": Instructions,
        "text": TextFiles,
    },
    "finetune": {
        "top_blocks": TopBlocks,
        "chosen_blocks": ChosenBlocks,
        "all_layers": AllLayers,
        "lora": LoRA,
        "qlora": QLoRA,
    },
}
"""Every swappable part by configuration group: a dataclass that is both schema and object."""

# On import: launchers send jobs to processes where nothing but their function's module is loaded.
OmegaConf.register_new_resolver("run_name", run_name, replace=True)
OmegaConf.register_new_resolver("output_dir", output_dir, replace=True)


def register() -> None:
    """Registers the schemas with Hydra; harmless when called again."""
    store = ConfigStore.instance()
    store.store(group="schema", name="config", node=Config, package="_global_")
    for group, schemas in SCHEMAS.items():
        for name, schema in schemas.items():
            store.store(group=f"schema/{group}", name=name, node=schema)
