"""LoRA as a strategy: which layers get adapters, and what else trains."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, cast

from torch import nn

from llm_lightning.finetuning.lora import INITS, SCALINGS, LoRALinear, adapters, effective_scale
from llm_lightning.finetuning.strategies import Model, Strategy, is_tied

# Short names of what can be adapted: the layer in a block, and which third of its output.
_IN_BLOCK = {
    "q": ("attn.c_attn", 0),
    "k": ("attn.c_attn", 1),
    "v": ("attn.c_attn", 2),
    "out": ("attn.c_proj", None),
    "fc1": ("mlp.c_fc", None),
    "fc2": ("mlp.c_proj", None),
}
QKV_ADAPTERS = ("separate", "shared")
HEADS = ("full", "lora", "both", "frozen")


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
    targets: list[str] = field(default_factory=lambda: [*_IN_BLOCK])
    """The adapted layers: ``q``, ``k``, ``v``, ``out``, ``fc1``, ``fc2`` in every chosen block,
    ``head``, or patterns over layer names such as ``h.*.mlp.*``."""
    blocks: Any = "all"
    """Blocks with adapters: ``all``, a number n for the last n, or a list of indices from 0."""
    qkv: str = "separate"
    """Whether query, key and value each have an adapter of this rank (``separate``, as in the
    book), or share one (``shared``: one A for all three, as in PEFT on GPT-2, with a third fewer
    parameters in that layer)."""
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
        model.backbone.requires_grad_(False)
        model.head.requires_grad_(False)
        for name, rows in self._sites(model).items():
            if name == "head":
                model.head = self._adapter(name, model.head, rows)
                continue
            parent, _, child = name.rpartition(".")
            layer = cast(nn.Linear, model.backbone.get_submodule(name))
            adapted = self._adapter(name, layer, rows)
            setattr(model.backbone.get_submodule(parent), child, adapted)
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
        blocks = self._block_indices(len(model.backbone.h))
        places = dict.fromkeys(place for place, _ in _IN_BLOCK.values())
        names = [f"h.{i}.{place}" for i in blocks for place in places]
        chosen: dict[str, set[int | None]] = {}  # thirds of the output; None: all of it
        for target in self.targets:
            if target in _IN_BLOCK:
                place, third = _IN_BLOCK[target]
                matches = [f"h.{i}.{place}" for i in blocks]
            else:
                matches = [name for name in [*names, "head"] if fnmatchcase(name, target)]
                third = None
            if not matches:
                raise ValueError(
                    f"finetune.targets: {target!r} matches no layer; possible are "
                    f"{', '.join([*_IN_BLOCK, *names, 'head'])}"
                )
            for name in matches:
                chosen.setdefault(name, set()).add(third)
        if self.head in ("lora", "both"):
            chosen["head"] = {None}
        if not chosen:
            raise ValueError("finetune.targets must name at least one layer, got []")
        order = [*(name for name, _ in model.backbone.named_modules()), "head"]
        return {name: self._rows(model, name, chosen[name]) for name in order if name in chosen}

    def _rows(self, model: Model, name: str, thirds: set[int | None]) -> list[tuple[int, int]]:
        layer = model.head if name == "head" else model.backbone.get_submodule(name)
        out_features = cast(nn.Linear, layer).out_features
        if not name.endswith(_IN_BLOCK["q"][0]):
            return [(0, out_features)]
        wanted = range(3) if None in thirds else sorted(cast("set[int]", thirds))
        if self.qkv == "shared":
            if len(wanted) < 3:
                raise ValueError(
                    "finetune.qkv=shared is one adapter over query, key and value: "
                    f"finetune.targets must name q, k and v, got {self.targets}"
                )
            return [(0, out_features)]
        width = out_features // 3
        return [(third * width, (third + 1) * width) for third in wanted]

    def _block_indices(self, n_layer: int) -> list[int]:
        if self.blocks == "all":
            return list(range(n_layer))
        if isinstance(self.blocks, int):
            if self.blocks > n_layer:
                raise ValueError(
                    f"finetune.blocks must be at most the model's {n_layer} blocks, "
                    f"got {self.blocks}"
                )
            return list(range(n_layer - self.blocks, n_layer))
        if beyond := [index for index in self.blocks if index >= n_layer]:
            raise ValueError(
                f"finetune.blocks: the model's blocks are 0 to {n_layer - 1}, got {beyond}"
            )
        return sorted(set(self.blocks))


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
