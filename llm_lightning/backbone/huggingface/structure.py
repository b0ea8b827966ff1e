"""Where the parts of a transformers model are: its blocks, what follows them, and their layers.

Nothing here knows a family of models. The blocks are found by what the model declares about itself
and checked with one pass over two tokens; linear layers are recognised by their names.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from llm_lightning.backbone.protocol import LinearLayer

# Names of linear layers within a block, over all families of transformers with separate matrices
# or one matrix whose rows are query, key and value in this order. `out` precedes `fc2`: BERT's
# `attention.output.dense` ends like its `output.dense`.
_NAMES = {
    "q": r"(q|q_proj|q_lin|query|query_proj)",
    "k": r"(k|k_proj|k_lin|key|key_proj)",
    "v": r"(v|v_proj|v_lin|value|value_proj)",
    "qkv": r"Wqkv",
    "out": r"(o|o_proj|out_proj|out_lin|\w*att\w*\.(Wo|dense|c_proj|output\.dense))",
    "fc1": r"(fc1|fc_in|lin1|w1|w3|Wi|c_fc|gate_proj|up_proj|gate_up_proj|dense_h_to_4h"
    r"|intermediate\.dense)",
    "fc2": r"(fc2|fc_out|lin2|w2|mlp\.(Wo|c_proj)|down_proj|dense_4h_to_h|output\.dense)",
}


@dataclass
class Structure:
    """The parts of a model."""

    blocks_name: str
    """Name of the ModuleList of the blocks."""
    final_names: list[str]
    """Names of the modules that run after the last block, in this order."""
    blocks_return_tuples: bool
    """Whether a block returns its hidden states as the first part of a tuple."""


def structure(model: nn.Module, num_layers: int, declared: set[str]) -> Structure:
    """Finds the parts of a model.

    Args:
        model: a base model of transformers, without a head.
        num_layers: its number of blocks, as its configuration has it.
        declared: names of the classes that the model declares indivisible
            (``_no_split_modules``), the blocks' among them; perhaps none.

    Raises:
        ValueError: if there is not exactly one list of blocks, or they do not run one after
            another, each once; or if the states change their width after them.
    """
    name = _blocks_name(model, num_layers, declared)
    blocks = cast(nn.ModuleList, model.get_submodule(name))
    calls, results, states = _calls(model, blocks)
    order = [call for call in calls if call in set(blocks)]
    if order != list(blocks) or len(set(map(id, blocks.parameters()))) != sum(
        len(list(block.parameters())) for block in blocks
    ):
        raise ValueError(
            f"model.weights: the blocks of {type(model).__name__} ({name}) share parameters or do "
            f"not run one after another: this architecture is not supported"
        )
    returns_tuples = isinstance(results[-1], tuple)
    width = (results[-1][0] if returns_tuples else results[-1]).shape[-1]
    if states.shape[-1] != width:
        raise ValueError(
            f"model.weights: {type(model).__name__} returns states of width {states.shape[-1]}, "
            f"its blocks have {width}: this architecture is not supported"
        )
    after = calls[calls.index(order[-1]) + 1 :]
    names = {module: module_name for module_name, module in model.named_modules()}
    inside = set(blocks.modules())
    final = [names[module] for module in after if module not in inside]
    return Structure(name, list(dict.fromkeys(final)), returns_tuples)


def linear_layers(block: nn.Module, prefix: str) -> list[LinearLayer]:
    """Returns the linear layers of a block.

    Args:
        block: the block.
        prefix: of their names, with a dot at the end.
    """
    layers = []
    for name, layer in block.named_modules():
        if isinstance(layer, nn.Linear):
            layers.append(LinearLayer(prefix + name, _rows(name, layer.out_features)))
    return layers


def _rows(name: str, out_features: int) -> dict[str, tuple[int, int]]:
    role = next((r for r, names in _NAMES.items() if re.search(rf"(^|\.){names}$", name)), None)
    if role is None:
        return {}
    if role == "qkv":
        third = out_features // 3
        return {part: (i * third, (i + 1) * third) for i, part in enumerate("qkv")}
    return {role: (0, out_features)}


def _blocks_name(model: nn.Module, num_layers: int, declared: set[str]) -> str:
    lists = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module)
    }
    found: list[str] = [
        name for name, blocks in lists.items() if {type(b).__name__ for b in blocks} <= declared
    ]
    if not found:  # a model that declares nothing, such as DistilBERT
        found = [
            name
            for name, blocks in lists.items()
            if len(blocks) == num_layers and len({type(block) for block in blocks}) == 1
        ]
    # Lists within blocks, such as the experts of a mixture, are not stacks of blocks.
    found = [name for name in found if not any(name.startswith(f"{other}.") for other in found)]
    if len(found) != 1 or len(lists[found[0]]) != num_layers:
        described = ", ".join(f"{name} ({len(lists[name])})" for name in found) or "none"
        raise ValueError(
            f"model.weights: {type(model).__name__} must have one list of {num_layers} transformer "
            f"blocks, found {described}: this architecture is not supported"
        )
    return found[0]


@torch.no_grad()
def _calls(model: nn.Module, blocks: nn.ModuleList) -> tuple[list[nn.Module], list[Any], Tensor]:
    """The innermost modules and the blocks in the order they run; what blocks and model return."""
    calls: list[nn.Module] = []
    results: list[Any] = []
    of_interest = set(blocks.children())

    def record(module: nn.Module, _: Any, result: Any) -> None:
        calls.append(module)
        if module in of_interest:
            results.append(result)

    watched = [m for m in model.modules() if m in of_interest or not list(m.children())]
    hooks = [module.register_forward_hook(record) for module in watched]
    was_training = model.training
    try:
        ids = torch.zeros(1, 2, dtype=torch.long)
        states = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
    except Exception as error:  # of the model's own code, which may need other inputs
        raise ValueError(
            f"model.weights: {type(model).__name__} cannot run on token ids alone "
            f"({type(error).__name__}: {error}): this architecture is not supported"
        ) from error
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return calls, results, states


class Replaced(nn.Module):
    """Runs in the place of a block; everything that a model reads from the block is the block's."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        # Not registered: its parameters stay where they are.
        object.__setattr__(self, "_block", block)

    def __getattr__(self, name: str) -> Any:
        """Attributes such as the kind of attention are those of the block."""
        return getattr(object.__getattribute__(self, "_block"), name)


class Skipped(Replaced):
    """Does nothing: its output is its input."""

    def __init__(self, block: nn.Module, *, returns_tuple: bool) -> None:
        super().__init__(block)
        object.__setattr__(self, "_returns_tuple", returns_tuple)

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Any:
        """Returns the hidden states as a block does."""
        return (hidden_states, None) if self._returns_tuple else hidden_states


class StartedWith(Replaced):
    """Runs the block on other hidden states than those it is given."""

    def __init__(self, block: nn.Module, states: Tensor) -> None:
        super().__init__(block)
        object.__setattr__(self, "_states", states)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Runs the block; all arguments but the first are those of the model."""
        return self._block(self._states, *args, **kwargs)


class Stopped(Replaced):
    """Ends the pass with the hidden states that it is given."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Any:
        """Does not return.

        Raises:
            Reached: always.
        """
        raise Reached(hidden_states)


class StoppedAfter(Replaced):
    """Runs the block and ends the pass with its output."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Does not return.

        Raises:
            Reached: always.
        """
        result = self._block(*args, **kwargs)
        raise Reached(result[0] if isinstance(result, tuple) else result)


class Reached(Exception):
    """The end of the blocks that were wanted.

    Args:
        states: (B, T, C) hidden states there.
    """

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


@contextmanager
def replaced(blocks: nn.ModuleList, by: dict[int, nn.Module]) -> Iterator[None]:
    """Puts other modules in the place of some blocks, for one pass.

    Args:
        blocks: of a model.
        by: the replacements by index.
    """
    kept = {index: blocks[index] for index in by}
    try:
        for index, module in by.items():
            blocks._modules[str(index)] = module
        yield
    finally:
        for index, module in kept.items():
            blocks._modules[str(index)] = module
