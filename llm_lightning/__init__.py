"""Fine-tune small language models and see, with evidence, what each choice buys.

::

    import llm_lightning

    run = llm_lightning.train("last_block", "optim.lr=1e-4")
    run.metrics
    run.plot("loss")
    llm_lightning.load("runs/last_block/seed_123").predict(["You won a prize!"])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_lightning.commands.notebook import train
    from llm_lightning.runs.handle import Run, load

__version__ = "0.2.0"
__all__ = ["Run", "__version__", "load", "train"]

_HOMES = {
    "train": "llm_lightning.commands.notebook",
    "load": "llm_lightning.runs.handle",
    "Run": "llm_lightning.runs.handle",
}


def __getattr__(name: str) -> Any:
    """Imports the Python API when it is used: the command line's help should not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
