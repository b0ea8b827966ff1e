"""How checkpoints reach the disk: whole or not at all, and without a second copy in memory."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from llm_lightning.run_format.atomic_files import replacing


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there once it is on the disk.

    Lightning's own writes it into memory first, twice over, which for a model of which everything
    trains is more than the rest of the training needs.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Writes a checkpoint; a previous file of this name is replaced at the very end.

        Args:
            checkpoint: what Lightning saves.
            path: of the file; its folder is created if necessary.
            storage_options: none, as files are local.

        Raises:
            TypeError: if there are storage options.
        """
        if storage_options is not None:
            raise TypeError("checkpoints are local files, which have no storage options")
        with replacing(Path(path)) as new, new.open("wb") as out:
            torch.save(checkpoint, out)
