"""The architecture of a GPT-2, as plain values."""

from dataclasses import dataclass

from llm_lightning.backbone.initialization import INITS
from llm_lightning.backbone.memory import MOST_BLOCKS

LAYER_NORM_EPSILON = 1e-5


@dataclass
class GPTConfig:
    """Architecture of one GPT-2, in the names of the published ``config.json``."""

    n_layer: int = 12
    """Number of transformer blocks, from 1 to 2,000."""
    n_head: int = 12
    """Attention heads per block; divides ``n_embd``."""
    n_embd: int = 768
    """Embedding width C."""
    n_positions: int = 1024
    """Context length: the longest input, in tokens."""
    vocab_size: int = 50257
    """Number of token ids."""
    embd_pdrop: float = 0.0
    """Dropout after the embeddings, in [0, 1)."""
    attn_pdrop: float = 0.0
    """Dropout on the attention weights, in [0, 1)."""
    resid_pdrop: float = 0.0
    """Dropout on each block's two residual branches, in [0, 1)."""
    causal: bool = True
    """Whether a position attends only to itself and earlier ones; false: to the whole text."""
    init: str = "gpt2"
    """Initial weights: ``gpt2`` is N(0, 0.02) with scaled residual projections, ``torch`` is
    PyTorch's defaults (embeddings N(0, 1), linear layers uniform), as in the book's random row,
    ``empty`` leaves memory uninitialised, for weights that are loaded next."""

    @property
    def num_parameters(self) -> int:
        """Number of parameters, of the network without a head."""
        C = self.n_embd
        block = 12 * C * C + 13 * C
        return (self.vocab_size + self.n_positions + 2) * C + self.n_layer * block

    def __post_init__(self) -> None:
        """Checks every range.

        Raises:
            ValueError: naming the setting, its rule and the value.
        """
        for key in ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size"):
            if getattr(self, key) < 1:
                raise ValueError(f"model.{key} must be at least 1, got {getattr(self, key)}")
        if self.n_layer > MOST_BLOCKS:
            raise ValueError(f"model.n_layer must be at most {MOST_BLOCKS:,}, got {self.n_layer:,}")
        for key in ("embd_pdrop", "attn_pdrop", "resid_pdrop"):
            if not 0.0 <= getattr(self, key) < 1.0:
                raise ValueError(f"model.{key} must lie in [0, 1), got {getattr(self, key)}")
        if self.n_embd % self.n_head:
            raise ValueError(
                f"model.n_embd must be a multiple of model.n_head, "
                f"got n_embd={self.n_embd} and n_head={self.n_head}"
            )
        if self.init not in INITS:
            raise ValueError(f"model.init must be one of {', '.join(INITS)}, got {self.init!r}")
