"""The fields of a dataclass or pydantic model, with the text under each."""

import ast
import dataclasses
import inspect
import re
import sys
from enum import Enum
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

from omegaconf import MISSING

REQUIRED = "required"


class Field(NamedTuple):
    """One field, ready to be printed."""

    name: str
    type: str
    """As written in the class; empty for ``Any``."""
    default: str
    """As YAML writes it; ``REQUIRED`` if there is none."""
    meaning: str
    """Markdown."""
    owner: type
    """The class that declares it."""


def fields_of(cls: type) -> list[Field]:
    """Returns the fields of a dataclass in their order, without ``_target_``.

    A field without a text of its own has that of the class above it.
    """
    found = []
    for field in dataclasses.fields(cls):
        if field.name == "_target_" or not field.init:
            continue
        owner = next(c for c in cls.__mro__ if field.name in inspect.get_annotations(c))
        kind = "" if field.type in (Any, "Any") else annotations(owner)[field.name]
        meaning = _meaning(cls, owner, field.name)
        found.append(Field(field.name, kind, _default(field), meaning, owner))
    return found


@cache
def texts(owner: type | ModuleType) -> dict[str, str]:
    """Returns the string literal under each field or alias that a class or module declares."""
    found = {}
    for statement, below in pairwise(_body(owner)):
        if isinstance(statement, ast.AnnAssign | ast.Assign) and _is_text(below):
            is_typed = isinstance(statement, ast.AnnAssign)
            target = statement.target if is_typed else statement.targets[0]
            found[ast.unparse(target)] = markdown(below.value.value)
    return found


@cache
def annotations(cls: type) -> dict[str, str]:
    """Returns the type of each field that a class declares, as its source has it."""
    return {
        ast.unparse(statement.target): ast.unparse(statement.annotation)
        for statement in _body(cls)
        if isinstance(statement, ast.AnnAssign)
    }


def markdown(text: str) -> str:
    """Turns a docstring into one paragraph of Markdown."""
    text = re.sub(r":\w+:`~?([\w.]+\.)?(\w+)`", r"`\2`", " ".join(text.split()))
    return text.replace("``", "`")


def first_sentence(cls: Any) -> str:
    """Returns the beginning of a docstring, up to its first blank line."""
    return markdown((inspect.getdoc(cls) or "").split("\n\n")[0])


def arguments_of(cls: Any) -> dict[str, str]:
    """Returns what a Google docstring says about each argument."""
    doc = inspect.getdoc(cls) or ""
    block = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc, re.MULTILINE)
    entries = re.findall(r"^    (\w+): (.+(?:\n {5,}.+)*)", block.group(1) if block else "", re.M)
    return {name: markdown(text) for name, text in entries}


def yaml_text(value: Any) -> str:
    """Returns a default as YAML and the command line have it."""
    if isinstance(value, Enum):
        return str(value.value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(yaml_text, value))}]"
    return str(value) if value != "" else '""'


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default_factory is not dataclasses.MISSING:
        return yaml_text(field.default_factory())
    if field.default in (dataclasses.MISSING, MISSING):
        return REQUIRED
    return yaml_text(field.default)


def _meaning(cls: type, owner: type, name: str) -> str:
    text = texts(owner).get(name, "")
    above = cls.__mro__[cls.__mro__.index(owner) + 1 :]
    if not text or text.startswith("As in `"):
        inherited = (texts(c)[name] for c in above if c is not object and name in texts(c))
        return next(inherited, text)
    return text


def _body(owner: type | ModuleType) -> list[ast.stmt]:
    if isinstance(owner, ModuleType):
        return ast.parse(inspect.getsource(owner)).body
    if owner.__module__ == "builtins":
        return []
    tree = ast.parse(inspect.getsource(sys.modules[owner.__module__]))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == owner.__name__:
            return node.body
    return []


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
