"""Files of tensors, safetensors or pickled, read as what anybody may have written.

Nothing is executed: only tensors are unpickled. Every problem is a ValueError that names the file;
the libraries' own errors differ between formats, and one of them advises to turn the protection
against code in a file off.
"""

import pickle
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from torch import Tensor

MOST_LISTED = 20
"""Problems that a message lists; of the others it gives the number."""

_WEIGHTS_WITHIN = ("state_dict", "model_state_dict", "model", "module", "weights")
"""Where training programs keep the weights in their own checkpoints."""


@dataclass
class Reader:
    """One tensor of a checkpoint, read on demand."""

    shape: tuple[int, ...]
    is_floating: bool
    read: Callable[[], Tensor]


def tensor_readers(path: Path) -> dict[str, Reader]:
    """Returns what reads each tensor of a checkpoint, by its key.

    Raises:
        ValueError: if the file cannot be read or is damaged, or contains anything but plain tensors
            with names.
    """
    if path.suffix == ".safetensors":
        return _safetensors_readers(path)
    # Files from before torch 1.6 are not zip archives and cannot be memory-mapped.
    state = unpickled(path, f"model.weights: {path}")
    if not isinstance(state, Mapping):
        raise ValueError(
            f"model.weights: {path} contains objects other than tensors: "
            f"it holds a {type(state).__name__}, and not tensors by their names"
        )
    problems = [said for key, value in state.items() if (said := _why_no_weight(key, value))]
    if problems:
        within = next((key for key in _WEIGHTS_WITHIN if isinstance(state.get(key), dict)), None)
        hint = f"; its weights seem to be under {within!r}: save these alone" if within else ""
        raise ValueError(
            f"model.weights: {path} contains objects other than tensors with values{hint}; "
            f"{listed(problems)}"
        )
    return {
        key: Reader(tuple(value.shape), value.is_floating_point(), value.detach)
        for key, value in state.items()
    }


def unpickled(path: Path, what: str) -> Any:
    """Reads a pickled file of tensors and plain values, without executing anything.

    Args:
        path: of a file that ``torch.save`` wrote.
        what: names it in errors.

    Raises:
        ValueError: if it cannot be read or is damaged, or contains other objects.
    """
    try:
        is_archive = zipfile.is_zipfile(path)
        if is_archive and _is_compressed(path):
            raise RuntimeError("a compressed archive, which torch.save does not write")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are refused next
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        # torch's own message advises to turn this protection off.
        raise ValueError(f"{what} contains objects other than tensors") from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise _unreadable(what, error) from error
    # A damaged file can make the unpickler stumble anywhere: RuntimeError, EOFError, KeyError,
    # TypeError, MemoryError and others.
    except Exception as error:
        raise ValueError(f"{what} is not a readable checkpoint: {_described(error)}") from error


def listed(problems: Sequence[str]) -> str:
    """Says how many problems there are, and lists the first of them.

    Args:
        problems: each beginning with its kind and a colon.
    """
    number = f"{len(problems):,} problem{'' if len(problems) == 1 else 's'}:"
    shown = [number, *problems[:MOST_LISTED]]
    if rest := problems[MOST_LISTED:]:
        kinds = Counter(problem.partition(":")[0] for problem in rest)
        counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        shown.append(f"and {len(rest):,} more ({counts})")
    return "\n  ".join(shown)


def check_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Refuses weights that are NaN or infinite: what they compute means nothing.

    Args:
        tensors: by their names.
        what: says where they are from, and what follows.

    Raises:
        ValueError: ``what``, and the names.
    """
    problems = [
        f"not finite: {name}, {number:,} of {value.numel():,} values"
        for name, value in tensors.items()
        if (number := _num_not_finite(value))
    ]
    if problems:
        raise ValueError(f"{what}; {listed(problems)}")


def _num_not_finite(values: Tensor) -> int:
    # A sum takes no memory, and a value that is not finite always shows in it.
    if not values.is_floating_point() or bool(values.sum().isfinite()):
        return 0
    return int((~values.isfinite()).sum())


def _safetensors_readers(path: Path) -> dict[str, Reader]:
    def read(key: str) -> Tensor:
        # Opened for each tensor: closing the file releases its mapped pages, which would otherwise
        # add up to a second copy of the model.
        with safe_open(path, framework="pt") as file:
            return cast(Tensor, file.get_tensor(key))

    what = f"model.weights: {path}"
    readers = {}
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 (not a dict)
                part = file.get_slice(key)
                is_floating = "F" in part.get_dtype()  # F32, F16, BF16 ... rather than I64, BOOL
                readers[key] = Reader(tuple(part.get_shape()), is_floating, partial(read, key))
    except OSError as error:
        raise _unreadable(what, error) from error
    except Exception as error:  # SafetensorError, and what its parts raise
        raise ValueError(f"{what} is not a readable checkpoint: {_described(error)}") from error
    return readers


def _is_compressed(path: Path) -> bool:
    """Whether parts of an archive may expand to any size."""
    with zipfile.ZipFile(path) as archive:
        return any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist())


def _why_no_weight(key: Any, value: Any) -> str | None:
    """Why an entry of a file is no weight, beginning with the kind of problem."""
    if not isinstance(key, str):
        return f"no name: the key {key!r:.60} is of type {type(key).__name__}"
    if not isinstance(value, Tensor):
        return f"no tensor: {key} is of type {type(value).__name__}"
    if value.is_meta:
        return f"no values: {key} is a meta tensor, which has only a shape"
    if value.layout is not torch.strided or value.is_quantized:
        kind = "quantized" if value.is_quantized else str(value.layout).removeprefix("torch.")
        return f"not dense: {key} is stored as {kind}"
    return None


def _unreadable(what: str, error: OSError) -> ValueError:
    return ValueError(f"{what} cannot be read: {error.strerror or error}")


def _described(error: Exception) -> str:
    """The first line of an error's text; its type, if there is none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
