"""What the documents tell people to type exists."""

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override

from llm_lightning.commands.main import COMMANDS
from llm_lightning.config import schema
from llm_lightning.config.experiments import conf_dir, list_experiments

ROOT = Path(__file__).parents[2]
# Generated pages; and results, which keep the commands that they were made with.
LEFT_OUT = {"settings.md", "experiments.md", "commands.md", "run-folder.md", "experiments"}
# A line of the changelog may be about a name that is gone.
LEFT_OUT |= {"CHANGELOG.md"}
DOCUMENTS = [
    file
    for file in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    if not LEFT_OUT & set(file.relative_to(ROOT).parts)
]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command of this program in a code block, as file and arguments."""
    for file in DOCUMENTS:
        blocks = re.findall(r"^```\w*\n(.*?)^```", file.read_text(encoding="utf-8"), re.M | re.S)
        for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
            # NAME, RUN, <folder> and [key=value] stand for something.
            match = re.search(r"python -m llm_lightning(?= |$)([^|>&]*)", line)
            if match and not re.search(r"\bNAME\b|\bRUN\b|<|\[key", line):
                yield file.name, shlex.split(match.group(1), comments=True)


def test_sub_commands_know_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    seen = set()
    for file, arguments in commands():
        if not arguments or arguments[0] not in COMMANDS:
            continue
        name = arguments[0]
        with pytest.raises(SystemExit):
            import_module(f"llm_lightning.commands.{name}").main(["--help"])
        known = capsys.readouterr().out
        for option in (one for one in arguments[1:] if one.startswith("--")):
            assert f"{option} " in known or f"{option}\n" in known, f"{file}: {arguments}"
        seen.add(name)
    assert seen == set(COMMANDS)


@pytest.mark.slow
def test_runs_and_sweeps_compose() -> None:
    schema.register()
    done: set[tuple[str, ...]] = set()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for file, arguments in commands():
            words = [one for one in arguments if "=" in one and not one.startswith("-")]
            if not words or arguments[0] in COMMANDS:
                continue
            parsed = OverridesParser.create().parse_overrides(words)
            overrides = tuple(filter(None, map(first, parsed)))
            if overrides in done:
                continue
            done.add(overrides)
            try:
                compose("config", overrides=[*overrides, "run_dir=somewhere"])
            except Exception as error:
                raise AssertionError(f"{file}: {' '.join(arguments)}: {error}") from error
    assert len(done) > 20


def first(override: Override) -> str | None:
    """The first of the settings that a sweep tries; ``None`` for a range."""
    if override.key_or_group.startswith("hydra.sweeper"):
        return None
    value = override.value()
    if isinstance(value, Glob):
        return f"+experiment={value.filter(list(list_experiments()))[0]}"
    if not override.is_sweep_override():
        return str(override.input_line)
    if not override.is_discrete_sweep():
        return None
    sign = "+" if override.is_add() else ""
    return f"{sign}{override.key_or_group}={next(override.sweep_string_iterator())}"


def test_settings_and_experiments_named_in_the_text_exist() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        import settings_page

        known = settings_page.documented_settings(settings_page.page())
    groups = {key.rpartition(".")[0] for key in known}
    pattern = r"\b(?:model|task|data|finetune|optim|trainer|callbacks|loggers)\.[a-z_]\w*(?:\.\w+)*"
    endings = (".py", ".yaml", ".json", ".csv", ".onnx", ".safetensors")
    for file in DOCUMENTS:
        for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", file.read_text(encoding="utf-8")):
            for name in re.findall(rf"(?<![\w./+]){pattern}", code):
                if name.endswith(endings) or "wandb" in name or name in _NOT_SETTINGS:
                    continue
                assert name in known | groups, f"{file.name}: {name}"
            for name in re.findall(r"\+experiment=([a-z]\w*)(?!\()\b", code):
                assert name in {*list_experiments(), "glob"}, f"{file.name}: {name}"


# Fields of summary.json that read like settings.
_NOT_SETTINGS = {"data.test_in_train"}


def test_what_the_dockerfile_copies_is_there_and_reaches_docker() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [path for line in lines if line.startswith("COPY ") for path in line.split()[1:-1]]
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    assert copied
    assert all((ROOT / path).exists() for path in copied)
    assert set(copied) == allowed
