"""Lightning's logger for Weights & Biases, for several runs in one process."""

from typing import Any

from lightning.pytorch.loggers import WandbLogger

from llm_lightning.presentation.extras import require


class OneRunWandbLogger(WandbLogger):
    """Ends the process's earlier run, which Lightning's would go on writing to.

    Args:
        arguments: of Lightning's logger.

    Raises:
        ValueError: if wandb is not installed.
    """

    def __init__(self, **arguments: Any) -> None:
        require("logger=wandb", {"wandb": "wandb"}, "loggers")
        import wandb

        if wandb.run is not None:
            wandb.finish()
        super().__init__(**arguments)
