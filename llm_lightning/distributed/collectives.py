"""What the processes of a run compute together; each function returns at once without a group."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

_ABSENT = object()
_BYTES_AT_ONCE = 64 * 2**20


def group_size() -> int:
    """Returns how many processes are in the group; 1 outside of one."""
    return dist.get_world_size() if dist.is_initialized() else 1


def group_rank() -> int:
    """Returns this process's number in the group, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def summed(values: Tensor) -> Tensor:
    """Returns the sum of all processes' tensors, of equal shapes, on the device of this one's."""
    if group_size() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total


def of_main(value: T) -> T:
    """Returns the main process's value."""
    if group_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def of_all(value: T) -> list[T]:
    """Returns every process's value, in the order of their numbers."""
    if group_size() == 1:
        return [value]
    found: list[T | None] = [None] * group_size()
    dist.all_gather_object(found, value)
    return cast(list[T], found)


def in_turn(items: Sequence[T]) -> list[T]:
    """Returns the items of all processes: the first one of each, then the second one of each.

    So items that were dealt out one by one are in their order again.
    """
    if group_size() == 1:
        return list(items)
    rounds = zip_longest(*of_all(list(items)), fillvalue=_ABSENT)
    return [cast(T, item) for one in rounds for item in one if item is not _ABSENT]


def add_up(rows: Tensor) -> None:
    """Replaces the rows, equally many in each process, by their sums over all processes."""
    if group_size() == 1:
        return
    for part in _parts(rows):
        dist.all_reduce(part)


def copy_from_main(rows: Tensor) -> None:
    """Replaces the rows, equally many in each process, by the main process's."""
    if group_size() == 1:
        return
    for part in _parts(rows):
        dist.broadcast(part, src=0)


def wait_for_all() -> None:
    """Returns once every process has come here."""
    if group_size() > 1:
        dist.all_reduce(torch.zeros(1))


def _parts(rows: Tensor) -> Sequence[Tensor]:
    """Views of some rows each, so that what is under way needs little memory."""
    if rows.ndim == 0:
        return [rows]
    num_bytes = rows[:1].numel() * rows.element_size()
    return torch.split(rows, max(1, _BYTES_AT_ONCE // max(1, num_bytes)))
