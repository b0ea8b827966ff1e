"""Settings that are refused before anything is built, downloaded or written."""

import contextlib
import inspect
import math
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import lightning as L
from hydra.utils import get_class
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, ListConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from llm_lightning.config.overrides import suggestion
from llm_lightning.evaluation.baselines import METHODS
from llm_lightning.runs.settings import Checkpoint
from llm_lightning.training.parallel import STRATEGIES

GROUPS = ("model", "task", "data", "finetune", "optim", "decide")
"""Parts of a configuration that are dataclasses of this project."""

_LARGEST = 2**31
_OWN_OR_LIGHTNING = re.compile(r"(llm_lightning|lightning)(\.[A-Za-z_]\w*)+")
_ONLY = "only classes of llm_lightning and lightning are made from settings"


def check(cfg: DictConfig) -> None:
    """Refuses settings that do not exist, or whose value would only be noticed later or never.

    Args:
        cfg: a composed configuration; nothing in it is instantiated.

    Raises:
        ValueError: naming the key, its rule and the value.
    """
    with explained():
        _check_all(cfg)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turns what OmegaConf says about a setting into a ValueError that names the setting."""
    try:
        yield
    except MissingMandatoryValue as error:
        key = error.full_key
        raise ValueError(f"{key} has no default: give it a value, as in {key}=3") from error
    except OmegaConfBaseException as error:
        raise ValueError(str(error)) from error


def _check_all(cfg: DictConfig) -> None:
    _check_keys(cfg)
    _check_targets(cfg)
    for key, value in _numbers(cfg, ""):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{key} must be a finite number, got {value}")
        if isinstance(value, int) and abs(value) >= _LARGEST and not key.endswith("seed"):
            raise ValueError(f"{key} must be below 2**31, got {value:,}")
    for rules in (_of_trainer(cfg), _of_the_rest(cfg), _intervals(cfg)):
        for key, holds, rule in rules:
            if not holds:
                raise ValueError(f"{key} must be {rule}, got {OmegaConf.select(cfg, key)!r}")
    if unknown := [method for method in cfg.baselines if method not in METHODS]:
        raise ValueError(f"baselines must be among {', '.join(METHODS)}, got {unknown[0]!r}")
    if cfg.evaluate is Checkpoint.best and "checkpoint" not in cfg.callbacks:
        raise ValueError("evaluate=best needs callbacks.checkpoint, which was removed")
    if cfg.evaluate is Checkpoint.best and cfg.trainer.limit_val_batches == 0:
        raise ValueError("evaluate=best needs validation, got trainer.limit_val_batches=0")
    for group in GROUPS:
        OmegaConf.to_object(cfg[group])  # checks its own ranges


Rule = tuple[str, bool, str]
"""A key, whether its value is right, and what it must be."""


def _of_trainer(cfg: DictConfig) -> Iterator[Rule]:
    trainer = cfg.trainer
    yield "trainer.max_epochs", _is_count(trainer.max_epochs, least=0), "a whole number >= 0"
    accumulated = trainer.accumulate_grad_batches
    yield (
        "trainer.accumulate_grad_batches",
        _is_count(accumulated, least=1),
        "a whole number >= 1",
    )
    yield "trainer.devices", _is_count(trainer.devices, least=1), "a whole number >= 1"
    yield "trainer.num_nodes", _is_count(trainer.num_nodes, least=1), "a whole number >= 1"
    yield "trainer.strategy", trainer.strategy in STRATEGIES, f"among {', '.join(STRATEGIES)}"
    is_limit = trainer.max_steps == -1 or _is_count(trainer.max_steps, least=1)
    yield "trainer.max_steps", is_limit, "-1 or a whole number >= 1"
    clip = trainer.gradient_clip_val
    yield "trainer.gradient_clip_val", clip is None or _is_number(clip, least=0), "null or >= 0"
    yield (
        "trainer.gradient_clip_val",
        not clip or trainer.strategy != "fsdp2",
        "null with trainer.strategy=fsdp2, which has the norm of no gradient as a whole",
    )
    least = {
        "train": "above 0: there is nothing to train on otherwise",
        "val": "",
        "test": "above 0: the final table needs something to evaluate",
    }
    for split, rule in least.items():
        limit = trainer[f"limit_{split}_batches"]
        if rule:
            yield f"trainer.limit_{split}_batches", limit != 0, rule
        holds = limit is None or limit == 0 or _is_amount(limit)
        yield f"trainer.limit_{split}_batches", holds, _AMOUNT
    every = OmegaConf.select(cfg, "trainer.val_check_interval")
    yield "trainer.val_check_interval", every is None or _is_amount(every), _AMOUNT


def _of_the_rest(cfg: DictConfig) -> Iterator[Rule]:
    for key in ("seed", "init_seed", "order_seed"):
        yield key, 0 <= cfg[key] < 2**32, "between 0 and 2**32 - 1"
    is_number = cfg.threads is None or _is_count(cfg.threads, least=1)
    yield "threads", is_number, "null or a whole number >= 1"
    # As from runs_dir=$UNSET: runs would be written into the root of the file system.
    yield "runs_dir", str(cfg.runs_dir).strip() not in ("", "/"), "a folder, such as runs"


def _intervals(cfg: DictConfig) -> Iterator[Rule]:
    """Of logging, validation and checkpoints: an interval of 0 is none."""
    found = [("trainer", key) for key in ("log_every_n_steps", "check_val_every_n_epoch")]
    for group in ("callbacks", "loggers"):
        for name, part in cfg[group].items():
            keys = part if isinstance(part, DictConfig) else ()
            found += [(f"{group}.{name}", str(key)) for key in keys if "every_n_" in str(key)]
    for prefix, key in found:
        value = OmegaConf.select(cfg, f"{prefix}.{key}")
        holds = value is None or _is_count(value, least=1)
        yield f"{prefix}.{key}", holds, "null or a whole number >= 1"


def _check_keys(cfg: DictConfig) -> None:
    """Refuses settings that do not exist, which ``+`` adds without a word."""
    for group in ("", *GROUPS):
        part = OmegaConf.select(cfg, group) if group else cfg
        schema = OmegaConf.get_type(part)
        if schema is None or not is_dataclass(schema):
            continue
        own = {"hydra"} if not group else set()
        _check_known(part, [field.name for field in fields(schema)], group, own)
    if isinstance(cfg.trainer, DictConfig):
        _check_known(
            cfg.trainer, list(inspect.signature(L.Trainer).parameters), "trainer", _OF_HYDRA
        )


_OF_HYDRA = {"_target_", "_partial_", "_recursive_", "_convert_"}
_AMOUNT = "a number of batches >= 1, or a share in (0, 1]"


def _check_known(part: DictConfig, known: list[str], group: str, own: set[str]) -> None:
    for key in map(str, part):
        if key not in known and key not in own:
            prefix = f"{group}." if group else ""
            hint = suggestion(key, known).replace("mean ", f"mean {prefix}")
            raise ValueError(f"there is no setting {prefix}{key}{hint}")


def _check_targets(cfg: DictConfig) -> None:
    """Refuses classes that settings must not choose: anything may stand after ``_target_``."""
    for group in GROUPS:
        schema = OmegaConf.get_type(cfg[group])
        own = {field.name: field.default for field in fields(schema)} if schema else {}
        target = own.get("_target_")
        if target and cfg[group]._target_ != target:
            raise ValueError(
                f"{group}._target_ must be {target}, got {cfg[group]._target_}: choose another "
                f"{group} with {group}=NAME"
            )
    _check_class("trainer", cfg.trainer, L.Trainer)
    for group, base in (("callbacks", L.Callback), ("loggers", Logger)):
        for name, part in cfg[group].items():
            _check_class(f"{group}.{name}", part, base)


def _check_class(key: str, part: Any, base: type) -> None:
    """Checks the class of a part and of everything inside it; makes none of them."""
    if not isinstance(part, DictConfig) or "_target_" not in part:
        raise ValueError(f"{key} has no _target_: ~{key} removes it")
    found = _class_of(f"{key}._target_", part._target_)
    if not issubclass(found, base):
        raise ValueError(f"{key}._target_ must be a {base.__name__}, got {part._target_}")
    for inner, target in _inner_targets(part, key):
        _class_of(inner, target)


def _class_of(key: str, target: Any) -> type:
    if not isinstance(target, str) or not _OWN_OR_LIGHTNING.fullmatch(target):
        raise ValueError(f"{key}={target} is refused: {_ONLY}")
    try:
        return get_class(target)
    # What is missing may be the module, a library that it needs, or the class in it; and where
    # there is something else of this name, it is no class.
    except Exception as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise ValueError(f"{key}={target} is no class that can be used: {reason}") from error


def _inner_targets(part: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every ``_target_`` inside a part, with its key."""
    children: list[tuple[str, Any]] = []
    if isinstance(part, DictConfig):
        children = [(f"{key}.{name!s}", part._get_node(name)) for name in part]
    elif isinstance(part, ListConfig):
        children = [(f"{key}[{index}]", part._get_node(index)) for index in range(len(part))]
    for inner, child in children:
        if isinstance(child, DictConfig | ListConfig) and not child._is_none():
            if isinstance(child, DictConfig) and "_target_" in child:
                yield f"{inner}._target_", child._target_
            yield from _inner_targets(child, inner)


def _numbers(part: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Every number of a configuration that is given as such, with its key."""
    plain = OmegaConf.to_container(part, resolve=False) if OmegaConf.is_config(part) else part
    if isinstance(plain, dict):
        for key, value in plain.items():
            if not prefix and key == "hydra":
                continue
            yield from _numbers(value, f"{prefix}.{key!s}" if prefix else str(key))
    elif isinstance(plain, list):
        for index, value in enumerate(plain):
            yield from _numbers(value, f"{prefix}[{index}]")
    elif isinstance(plain, int | float) and not isinstance(plain, bool):
        yield prefix, plain


def _is_count(value: Any, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any, *, least: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= least


def _is_amount(value: Any) -> bool:
    return _is_count(value, least=1) or (isinstance(value, float) and 0 < value <= 1)
