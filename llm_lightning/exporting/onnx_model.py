"""A run's model as an ONNX graph, and what ONNX Runtime computes with it.

The graph is the network as it runs here, of whatever family: token ids in, logits out, for any
number of texts of any length. ``model-int8.onnx`` is the same with the weights of its matrices in
eight bits; activations are quantized while it runs ("dynamic quantization").
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llm_lightning.exporting.dense import Dense, rebuilt
from llm_lightning.exporting.libraries import quiet
from llm_lightning.exporting.samples import sample_batch
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.pooling import mean, pooled_positions
from llm_lightning.tasks.text_classifier import TextClassifier

ONNX = "model.onnx"
INT8 = "model-int8.onnx"
QUANTIZE = ("int8",)

_MOST_IN_ONE_FILE = 1_800_000_000
"""Bytes of weights; the format itself ends at 2 GiB, and larger ones are put beside the graph."""


class ClassifierGraph(nn.Module):
    """A classifier without what depends on the values of its input.

    Args:
        task: with plain weights; what it computes does not depend on padding.
    """

    def __init__(self, task: TextClassifier) -> None:
        super().__init__()
        self.backbone = cast(nn.Module, task.backbone)
        self.head = task.head
        self._pooling = task.pooling
        # A causal backbone hides padding from real tokens without a mask.
        self._is_masked = task.options.mask_padding and not task.backbone.is_causal

    def forward(
        self, input_ids: Int[Tensor, "B T"], attention_mask: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B classes"]:
        """Computes the logits.

        Args:
            input_ids: padded on the right.
            attention_mask: 1 at real tokens, of which each row has one.
        """
        lengths = attention_mask.sum(dim=1)
        hidden = self.backbone(input_ids, attention_mask.bool() if self._is_masked else None)
        places = pooled_positions(lengths, hidden.shape[1], self._pooling)
        if places is None:
            pooled = mean(hidden, lengths, self._pooling)
        else:
            index = places[:, :, None].expand(-1, -1, hidden.shape[2])
            pooled = hidden.gather(1, index)[:, 0]
        return cast(Tensor, self.head(pooled))


class LanguageGraph(nn.Module):
    """A language model, for whole texts at a time.

    Args:
        task: with plain weights.
    """

    def __init__(self, task: FineTunedModel) -> None:
        super().__init__()
        self.backbone = cast(nn.Module, task.backbone)
        self.head = cast(nn.Module, task.head)

    def forward(self, input_ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Computes the logits of all positions; padding is on the right, where nobody looks."""
        return cast(Tensor, self.head(self.backbone(input_ids)))


def write_onnx(
    task: FineTunedModel, model: Dense, folder: Path, quantize: str | None
) -> list[Path]:
    """Writes ``model.onnx``, and ``model-int8.onnx`` if asked for.

    Args:
        task: the run's.
        model: its plain weights, adapters merged.
        folder: must exist.
        quantize: one of ``QUANTIZE``, or ``None``.

    Returns:
        The files of the graphs.
    """
    plain = rebuilt(task, model)
    names = ["input_ids"]
    graph: nn.Module = LanguageGraph(plain)
    if isinstance(plain, TextClassifier):
        names.append("attention_mask")
        graph = ClassifierGraph(plain)
    size = sum(value.nbytes for value in graph.parameters())
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    files = [folder / ONNX]
    with _quiet_export():
        torch.onnx.export(
            graph.eval(),
            tuple(_inputs(task)[name] for name in names),
            files[0],
            dynamo=True,
            input_names=names,
            output_names=["logits"],
            dynamic_shapes={name: axes for name in names},
            external_data=size > _MOST_IN_ONE_FILE,
            verbose=False,
        )
        if quantize is not None:
            files.append(folder / INT8)
            _quantize(files[0], files[1], is_large=size > _MOST_IN_ONE_FILE)
    return files


@torch.no_grad()
def onnx_logits(task: FineTunedModel, file: Path) -> list[Float[Tensor, "..."]]:
    """Returns the samples' logits by ONNX Runtime; see :func:`~verification.logits_of`."""
    _, lengths = sample_batch(task)
    session = session_of(file)
    asked = {one.name for one in session.get_inputs()}
    given = {name: value.numpy() for name, value in _inputs(task).items() if name in asked}
    logits = torch.from_numpy(session.run(None, given)[0])
    if isinstance(task, TextClassifier):
        return list(logits)
    return [row[:length] for row, length in zip(logits, lengths, strict=True)]


def session_of(file: Path) -> Any:
    """Opens a graph with ONNX Runtime, on the CPU."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # errors only
    return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])


def _inputs(task: FineTunedModel) -> dict[str, Int[Tensor, "B T"]]:
    """The samples, as a graph takes them."""
    ids, lengths = sample_batch(task)
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask}


def _quantize(source: Path, target: Path, *, is_large: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        weight_type=QuantType.QInt8,
        per_channel=True,
        use_external_data_format=is_large,
    )


@contextmanager
def _quiet_export() -> Iterator[None]:
    """Hides the exporter's reports, which are about the exporter."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
