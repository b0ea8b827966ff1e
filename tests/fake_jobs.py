"""Jobs that tell where they ran; light, for processes of their own import it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf


@dataclass
class FakeJobs:
    """In place of ``llm_lightning.sweeping.job.Jobs``."""

    cfg: DictConfig = field(
        default_factory=lambda: OmegaConf.create({"trainer": {"devices": 1, "accelerator": "auto"}})
    )
    names: tuple[str, ...] = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")

    def run(self, overrides: Sequence[str], number: int) -> dict[str, Any]:
        if "die" in overrides:
            os._exit(9)
        return {"number": number, "pid": os.getpid()} | {n: os.environ.get(n) for n in self.names}

    def lost(self, overrides: Sequence[str], number: int, reason: str) -> dict[str, Any]:
        return {"number": number, "lost": reason}
