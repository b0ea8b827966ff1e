"""What the three splits are called, in data, in logs and in a summary."""

from typing import Literal, get_args

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

EVALUATED = ("train_eval", "val_eval", "test")
"""Names under which the final evaluation logs ``SPLITS``, in their order: the curves of training
and validation have the plain names."""

SPLIT_OF = dict(zip(EVALUATED, SPLITS, strict=True))
"""The split that a name in ``EVALUATED`` belongs to."""
