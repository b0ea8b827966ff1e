"""The reference of settings: every key of ``--cfg job``, from the schemas and from ``conf/``."""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from documented_fields import Field, arguments_of, fields_of, first_sentence, texts, yaml_text
from hydra.utils import get_class

from llm_lightning.config import schema
from llm_lightning.config.experiments import conf_dir
from llm_lightning.presentation.markdown import literal
from llm_lightning.run_format.published import Published
from llm_lightning.runs.settings import Checkpoint

_ENTRY = re.compile(r"^`([\w.]+)`(?=[ ,].*\n: )", re.MULTILINE)

TITLES = {
    "model": ("Model", "Network and weights: `model=NAME`."),
    "task": ("Task", "Head and objective: `task=NAME`."),
    "data": ("Data", "Texts, splits, padding and batches: `data=NAME`."),
    "finetune": ("Fine-tuning", "Which parameters train: `finetune=NAME`."),
}


def page() -> str:
    """Returns the page."""
    parts = [
        "# Settings",
        "Every setting can be changed on the command line as `key=value`, as in `optim.lr=1e-4`. "
        "`python -m llm_lightning +experiment=last_block --cfg job` prints all of them with the "
        "values that an experiment gives them. A misspelt key or a value of the wrong type is an "
        "error before anything is downloaded or trained.",
        "This page is generated from the schemas in the code and the files in `conf/`.",
        "## Run",
        *map(_root_entry, _root_fields()),
    ]
    for group, (title, text) in TITLES.items():
        parts += [f"## {title}", text, _choices(group), *_schemas(group)]
    parts += _suited_to_models()
    parts += ["## Optimizer and schedule", first_sentence(schema.AdamW)]
    parts += (_entry("optim", field) for field in fields_of(schema.AdamW))
    parts += ["## Decisions", first_sentence(schema.Decide)]
    parts += (_entry("decide", field) for field in fields_of(schema.Decide))
    parts += _trainer()
    parts += _parts_by_name("callbacks", "Callbacks", "Lightning callbacks by name")
    parts += _parts_by_name("loggers", "Loggers", "Lightning loggers by name")
    parts += [
        "## Published figures",
        "`published` holds what the book reports for the setting of an experiment: "
        "accuracies in percent, losses in nats a token. It changes nothing in a run.",
        *(_entry("published", field) for field in fields_of(Published)),
    ]
    return _with_anchors("\n\n".join(parts) + "\n")


def documented_settings(text: str) -> set[str]:
    """Returns the keys that a page describes."""
    return set(re.findall(r"^\[`([\w.]+)`\]\{#setting-", text, re.MULTILINE))


def _with_anchors(text: str) -> str:
    """Gives each setting an anchor, once: some belong to more than one choice."""
    seen: set[str] = set()

    def anchored(entry: re.Match[str]) -> str:
        key = entry.group(1)
        if key in seen:
            return entry.group()
        seen.add(key)
        return f"[`{key}`]{{#setting-{key.replace('.', '-')}}}"

    return _ENTRY.sub(anchored, text)


def _root_fields() -> Iterator[Field]:
    described = {*TITLES, "optim", "decide", "trainer", "callbacks", "loggers", "published"}
    return (field for field in fields_of(schema.Config) if field.name not in described)


def _root_entry(field: Field) -> str:
    values = {"run_dir": "made of runs_dir, the run's name and the seed"}
    field = field._replace(default=values.get(field.name, field.default))
    entry = _entry("", field)
    if field.type == Checkpoint.__name__:
        words = texts(Checkpoint)
        entry += "".join(f" `{one.value}`: {words[one.name]}" for one in Checkpoint)
    return entry


def _entry(group: str, field: Field) -> str:
    key = f"{group}.{field.name}" if group else field.name
    choices = {Checkpoint.__name__: " | ".join(one.value for one in Checkpoint)}
    kind = f" *{choices.get(field.type, field.type)}*," if field.type else ","
    return f"`{key}`{kind} default `{field.default}`\n: {field.meaning or '—'}"


def _choices(group: str) -> str:
    rows = []
    for file in _choice_files(group):
        text = file.read_text(encoding="utf-8")
        comments = (line[1:].strip() for line in text.splitlines() if line.startswith("#"))
        comment = next(line for line in comments if line and not line.startswith("@"))
        values = dict(_flat(yaml.safe_load(text) or {})) if file.stem != "default" else {}
        shown = ", ".join(f"`{key}: {yaml_text(value)}`" for key, value in values.items())
        default = " (default)" if file.stem == _default_choice(group) else ""
        rows.append(f"| `{file.stem}`{default} | {literal(comment)} | {shown} |")
    return "| choice | what it is | values that it sets |\n| --- | --- | --- |\n" + "\n".join(rows)


def _choice_files(group: str) -> list[Path]:
    """The YAML files of a group: models by size, otherwise the default first."""
    default = _default_choice(group)
    files = sorted((conf_dir() / group).glob("[!_]*.yaml"))
    return sorted(files, key=lambda file: (_num_parameters(file), file.stem != default))


def _default_choice(group: str) -> Any:
    config = yaml.safe_load((conf_dir() / "config.yaml").read_text(encoding="utf-8"))
    named = (one for one in config["defaults"] if isinstance(one, dict))
    return next(one[group] for one in named if group in one)


def _num_parameters(file: Path) -> float:
    """The size of a model by its comment, in millions; 0 for anything else."""
    found = re.match(r"# ([\d.]+)([MB]) parameters", file.read_text(encoding="utf-8"))
    return float(found[1]) * {"M": 1, "B": 1000}[found[2]] if found else 0.0


def _suited_to_models() -> Iterator[str]:
    files = sorted((conf_dir() / "model_task").glob("*.yaml"))
    if not files:
        return
    yield "## Settings that come with a model"
    yield (
        "Some models bring settings for a task. They replace the defaults; an experiment and the "
        "command line replace them in turn, and the start of a run prints those in effect."
    )
    rows = []
    for file in files:
        values = _flat(yaml.safe_load(file.read_text(encoding="utf-8")) or {})
        shown = ", ".join(f"`{key}={yaml_text(value)}`" for key, value in values)
        rows.append(f"| `{file.stem}` | {shown} |")
    yield "| model and task | settings |\n| --- | --- |\n" + "\n".join(rows)


def _flat(fields: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in fields.items():
        if key in ("defaults", "_target_", "callbacks", "name"):
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", "(pinned)" if key in ("sha256", "revision") else value


def _schemas(group: str) -> Iterator[str]:
    """Yields a section a schema; what several share comes first, once."""
    schemas = schema.SCHEMAS[group]
    users: dict[type, list[str]] = {}
    for name, cls in schemas.items():
        for owner in {field.owner for field in fields_of(cls)}:
            users.setdefault(owner, []).append(name)
    shared = [o for o, names in users.items() if len(names) > 1 and o not in schemas.values()]
    for owner in sorted(shared, key=lambda o: -len(users[o])):
        yield f"### {_titled(users[owner], len(schemas))}"
        # As a user has it: of a class that only the base declares, take the fields it declares.
        any_user = schemas[users[owner][0]]
        yield from _entries(group, (f for f in _declared(owner, any_user)))
    for name, cls in schemas.items():
        if len(schemas) > 1:
            yield f"### {_choice_names(group, name)}"
        yield first_sentence(cls)
        above = [n for n, other in schemas.items() if other is not cls and issubclass(cls, other)]
        if above:
            yield f"All settings of {', '.join(f'`{n}`' for n in above)}, and:"
        own = [f for f in fields_of(cls) if f.owner not in shared]
        own = [f for f in own if not any(f.owner is schemas[n] for n in above)]
        if own:
            yield from _entries(group, own)
        else:
            yield "No settings of its own."


def _declared(owner: type, user: type) -> list[Field]:
    fields = fields_of(owner) if dataclasses.is_dataclass(owner) else fields_of(user)
    return [field for field in fields if field.owner is owner]


def _entries(group: str, fields: Iterable[Field]) -> Iterator[str]:
    for field in fields:
        inner = _dataclass_of(field)
        if inner is None:
            yield _entry(group, field)
        else:
            yield from _entries(f"{group}.{field.name}", fields_of(inner))


def _dataclass_of(field: Field) -> type | None:
    found = getattr(__import__(field.owner.__module__, fromlist=["_"]), field.type, None)
    return found if isinstance(found, type) and dataclasses.is_dataclass(found) else None


def _titled(names: list[str], num_all: int) -> str:
    return "All of them" if len(names) == num_all else " and ".join(f"`{name}`" for name in names)


def _choice_names(group: str, name: str) -> str:
    """The choices that start from a schema."""
    found = [
        file.stem
        for file in _choice_files(group)
        if re.search(rf"/schema/{group}/{name}@", file.read_text(encoding="utf-8"))
    ]
    return ", ".join(f"`{one}`" for one in found or [name])


def _trainer() -> Iterator[str]:
    yield "## Trainer"
    yield (
        "Arguments of "
        "[`lightning.Trainer`](https://lightning.ai/docs/pytorch/stable/common/trainer.html); "
        "others are added as `+trainer.NAME=VALUE`."
    )
    yield _choices("trainer")
    folder = conf_dir() / "trainer"
    texts = [
        (folder / name).read_text(encoding="utf-8") for name in ("default.yaml", "_epochs.yaml")
    ]
    text = "\n".join(texts)
    part = yaml.safe_load(texts[0]) | yaml.safe_load(texts[1])
    yield from _arguments("trainer", part, get_class(part["_target_"]), text)


def _parts_by_name(group: str, title: str, text: str) -> Iterator[str]:
    """Yields what ``config.yaml`` and the tasks add to a dict of parts, and their arguments."""
    yield f"## {title}"
    yield (
        f"{text}: remove one with `~{group}.NAME`, change its arguments with "
        f"`{group}.NAME.ARGUMENT=VALUE`, add one with `+{group}.NAME._target_=CLASS`."
    )
    choices = {"callbacks": "callbacks", "loggers": "logger"}[group]
    yield _choices(choices)
    sources = [
        conf_dir() / "config.yaml",
        *sorted((conf_dir() / "task").glob("*.yaml")),
        *sorted((conf_dir() / choices).glob("*.yaml")),
    ]
    for file in sources:
        content = file.read_text(encoding="utf-8")
        given = yaml.safe_load(content)
        parts = given if file.parent.name == choices else given.get(group) or {}
        for name, part in parts.items():
            if "_target_" not in part:  # it changes one that is there
                continue
            cls = get_class(part["_target_"])
            is_choice = file.parent.name in ("task", choices)
            where = f" With `{file.parent.name}={file.stem}`." if is_choice else ""
            key = f"{group}.{name}"
            what = _comment(content, name) or first_sentence(cls)
            yield f"`{key}` *{cls.__name__}*\n: {what}{where}"
            yield from _arguments(key, part, cls, content)


def _arguments(key: str, part: dict[str, Any], cls: Any, source: str) -> Iterator[str]:
    """Yields an entry an argument: its comment in the YAML file, or what its class says."""
    words = arguments_of(cls) | arguments_of(cls.__init__)
    for name, value in part.items():
        if name == "_target_":
            continue
        text = _comment(source, name) or _sentence(words.get(name, f"See `{cls.__name__}`."))
        own = f"{key}.{name}"
        yield f"`{own}`, default `{yaml_text(value)}`\n: {text}"


def _comment(yaml_source: str, key: str) -> str | None:
    found = re.search(rf"^ *{key}:[^#\n]*# (.+)$", yaml_source, re.MULTILINE)
    return _sentence(found.group(1) + ".") if found else None


def _sentence(text: str) -> str:
    """The first sentence, as one."""
    text = re.split(r"(?<=[a-z`)])\. (?=[A-Z])", text)[0].strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
