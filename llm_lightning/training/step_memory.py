"""Memory of one training step by what it is used for."""

from collections.abc import Iterable
from typing import Any, cast

import lightning as L
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from llm_lightning.finetuning.qlora import quantized_bytes


def memory_by_part(module: L.LightningModule, batch: Any) -> dict[str, int]:
    """Measures the memory of a training step; deletes the gradients.

    Args:
        module: attached to a trainer that is training.
        batch: of the step, on any device.

    Returns:
        Bytes of ``weights``, ``gradients``, ``optimizer`` (state) and ``activations``: the tensors
        that the forward pass saves for the backward pass, without those that are temporary.
    """
    trainer = module.trainer
    for parameter in module.parameters():
        parameter.grad = None
    own = {_address(t) for t in (*module.parameters(), *module.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if _address(tensor) not in own:
            kept[_address(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    moved = trainer.strategy.batch_to_device(batch)
    as_in_training = trainer.precision_plugin.train_step_context()
    with as_in_training, saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = cast(Tensor, module.training_step(moved, 0))
    activations = sum(kept.values())
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = sum(_bytes(p.grad) for p in module.parameters() if p.grad is not None)
    for parameter in module.parameters():
        parameter.grad = None
    state = [value for entry in trainer.optimizers[0].state.values() for value in entry.values()]
    return {
        "weights": weight_bytes(module),
        "gradients": gradients,
        "optimizer": sum(_bytes(value) for value in state if isinstance(value, Tensor)),
        "activations": activations,
    }


def weight_bytes(model: nn.Module) -> int:
    """Returns the bytes of parameters and buffers; quantized matrices include their scales."""
    layers = [m for m in model.modules() if getattr(m, "is_quantized", False)]
    quantized = [cast(nn.Linear, layer) for layer in layers]
    their_own = {id(layer.weight) for layer in quantized}
    dense = (t for t in (*model.parameters(), *model.buffers()) if id(t) not in their_own)
    return _distinct(dense) + sum(map(quantized_bytes, quantized))


def _distinct(tensors: Iterable[Tensor]) -> int:
    return sum({_address(t): t.untyped_storage().nbytes() for t in tensors}.values())


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
