"""LoRA as a strategy: which layers get adapters, and what else trains."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, cast

from torch import nn

from llm_lightning.backbone.memory import memory_bytes
from llm_lightning.backbone.protocol import ROLES
from llm_lightning.finetuning.lora import INITS, SCALINGS, LoRALinear, adapters, effective_scale
from llm_lightning.finetuning.strategies import Model, Strategy, as_module, is_tied

QKV_ADAPTERS = ("separate", "shared")
HEADS = ("full", "lora", "both", "frozen")
_BYTES_TO_TRAIN = 4 * 4  # of a parameter: weight, gradient, and the optimizer's two moments


@dataclass
class LoRA(Strategy):
    """Freezes everything and trains low-rank adapters; see :mod:`llm_lightning.finetuning.lora`.

    Raises:
        ValueError: if a field is out of range; or, when applied, if a target or block does not
            exist, or nothing would be adapted.
    """

    _target_: str = "llm_lightning.finetuning.adaptation.LoRA"
    rank: int = 16
    """Rank of every adapter, at least 1."""
    alpha: float = 16.0
    """Numerator of the effective scale, above 0."""
    scaling: str = "alpha_over_rank"
    """Effective scale of the adapters: ``alpha_over_rank`` (the LoRA paper; the book's appendix
    E), ``alpha`` (the book's chapters 6 and 7) or ``rslora``, alpha / sqrt(rank)."""
    dropout: float = 0.0
    """Dropout on the adapters' input, in [0, 1)."""
    targets: list[str] = field(default_factory=lambda: [*ROLES])
    """The adapted layers: ``q``, ``k``, ``v``, ``out``, ``fc1``, ``fc2`` in every chosen block,
    ``head``, or patterns over layer names such as ``h.*.mlp.*``. A model may name its layers
    otherwise; the error for a pattern without a match lists them."""
    blocks: Any = "all"
    """Blocks with adapters: ``all``, a number n for the last n, or a list of indices from 0."""
    qkv: str = "separate"
    """Where one matrix computes query, key and value, as in GPT-2: whether each of them has an
    adapter of this rank (``separate``, as in the book), or they share one (``shared``: one A for
    all three, as in PEFT on GPT-2, with a third fewer parameters in that layer)."""
    head: str = "full"
    """``full``: the head trains without an adapter. ``lora``: its initial weights are frozen and
    its adapter trains. ``both``: the two train. ``frozen``: neither. The weights of a head tied to
    the embedding stay frozen in any case."""
    init: str = "fan_in"
    """Initial A: uniform in ±1/sqrt(in_features) (``fan_in``, as in the LoRA paper's code) or
    in ±1/sqrt(rank) (``rank``, as in the book)."""
    dora: bool = False
    """Whether the norm of each adapted row trains too (DoRA)."""

    def __post_init__(self) -> None:
        """Checks the ranges that do not depend on a model."""
        if self.rank < 1:
            raise ValueError(f"finetune.rank must be at least 1, got {self.rank}")
        if self.alpha <= 0:
            raise ValueError(f"finetune.alpha must be above 0, got {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"finetune.dropout must lie in [0, 1), got {self.dropout}")
        for key, allowed in (
            ("scaling", SCALINGS),
            ("qkv", QKV_ADAPTERS),
            ("head", HEADS),
            ("init", INITS),
        ):
            if getattr(self, key) not in allowed:
                raise ValueError(
                    f"finetune.{key} must be one of {', '.join(allowed)}, "
                    f"got {getattr(self, key)!r}"
                )
        is_list = isinstance(self.blocks, list) and all(map(_is_index, self.blocks))
        if not (self.blocks == "all" or _is_index(self.blocks) or is_list):
            raise ValueError(
                f"finetune.blocks must be all, a number or a list of indices, got {self.blocks!r}"
            )

    def apply(self, model: Model) -> None:
        """See :class:`Strategy`."""
        backbone = as_module(model.backbone)
        backbone.requires_grad_(False)
        model.head.requires_grad_(False)
        sites = self._sites(model)
        self._check_size(model, sites)
        for name, rows in sites.items():
            if name == "head":
                model.head = self._adapter(name, model.head, rows)
                continue
            parent, _, child = name.rpartition(".")
            layer = cast(nn.Linear, backbone.get_submodule(name))
            adapted = self._adapter(name, layer, rows)
            setattr(backbone.get_submodule(parent), child, adapted)
        if self.head in ("full", "both") and not is_tied(model):
            for parameter in (model.head.weight, model.head.bias):
                if parameter is not None:
                    parameter.requires_grad_(True)

    def base_loaded(self, model: Model) -> None:
        """Initialises DoRA's norms to those of the loaded weights."""
        for layer in adapters(cast(nn.Module, model)).values():
            layer.measure_base()

    def describe(self, model: Model) -> dict[str, Any]:
        """Number, rank and effective scale of the adapters."""
        return {
            "adapters": len(adapters(cast(nn.Module, model))),
            "rank": self.rank,
            "effective_scale": effective_scale(self.scaling, self.rank, self.alpha),
        }

    def _check_size(self, model: Model, sites: dict[str, list[tuple[int, int]]]) -> None:
        """Refuses adapters that cannot be trained in this machine's memory, before they are made.

        Raises:
            ValueError: with the number of their parameters.
        """
        backbone, number = as_module(model.backbone), 0
        for name, rows in sites.items():
            layer = model.head if name == "head" else backbone.get_submodule(name)
            own_in = cast(nn.Linear, layer).in_features
            number += self.rank * sum(own_in + stop - start for start, stop in rows)
        needed, there = _BYTES_TO_TRAIN * number, memory_bytes()
        if needed > there:
            raise ValueError(
                f"finetune.rank={self.rank:,} makes adapters of {number:,} parameters, which take "
                f"{needed / 2**30:,.1f} GiB to train, and this machine has {there / 2**30:,.1f} "
                f"GiB of memory: choose a lower rank"
            )

    def _layer(self, name: str) -> type[LoRALinear]:
        """The class of the layer that replaces the one of this name."""
        return LoRALinear

    def _adapter(self, name: str, layer: nn.Linear, rows: list[tuple[int, int]]) -> LoRALinear:
        return self._layer(name)(
            layer,
            rows=rows,
            rank=self.rank,
            scale=effective_scale(self.scaling, self.rank, self.alpha),
            dropout=self.dropout,
            init=self.init,
            dora=self.dora,
        )

    def _sites(self, model: Model) -> dict[str, list[tuple[int, int]]]:
        """Groups of rows of each layer to adapt, by its name in the backbone, or ``head``."""
        blocks = self._block_indices(model.backbone.num_blocks)
        layers = {
            layer.name: layer.rows for i in blocks for layer in model.backbone.linear_layers(i)
        }
        chosen: dict[str, set[str]] = {}  # roles of each layer; none: all rows of its output
        for target in self.targets:
            if target in ROLES:
                matches = {name: {target} for name, rows in layers.items() if target in rows}
            else:
                every = {**{name: set(rows) for name, rows in layers.items()}, "head": set()}
                matches = {name: own for name, own in every.items() if fnmatchcase(name, target)}
            if not matches:
                known = dict.fromkeys(role for rows in layers.values() for role in rows)
                raise ValueError(
                    f"finetune.targets: {target!r} matches no layer; possible are "
                    f"{', '.join([*known, *layers, 'head'])}"
                )
            for name, roles in matches.items():
                chosen.setdefault(name, set()).update(roles)
        if self.head in ("lora", "both"):
            chosen["head"] = set()
        if not chosen:
            raise ValueError("finetune.targets must name at least one layer, got []")
        return {
            name: self._rows(model, layers.get(name, {}), name, chosen[name])
            for name in [*layers, "head"]
            if name in chosen
        }

    def _rows(
        self, model: Model, own: dict[str, tuple[int, int]], name: str, roles: set[str]
    ) -> list[tuple[int, int]]:
        """The groups of rows to adapt in one layer, of which ``own`` are those of each role."""
        if len(own) < 2:
            backbone = as_module(model.backbone)
            layer = model.head if name == "head" else backbone.get_submodule(name)
            return [(0, cast(nn.Linear, layer).out_features)]
        if self.qkv == "shared":
            if len(roles) < len(own):
                raise ValueError(
                    "finetune.qkv=shared is one adapter over query, key and value: "
                    f"finetune.targets must name q, k and v, got {self.targets}"
                )
            return [(0, max(stop for _, stop in own.values()))]
        return sorted(rows for role, rows in own.items() if role in roles)

    def _block_indices(self, available: int) -> list[int]:
        if self.blocks == "all":
            return list(range(available))
        if isinstance(self.blocks, int):
            if self.blocks > available:
                raise ValueError(
                    f"finetune.blocks must be at most the model's {available} blocks, "
                    f"got {self.blocks}"
                )
            return list(range(available - self.blocks, available))
        if beyond := [index for index in self.blocks if index >= available]:
            raise ValueError(
                f"finetune.blocks: the model's blocks are 0 to {available - 1}, got {beyond}"
            )
        return sorted(set(self.blocks))


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
