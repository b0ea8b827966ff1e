"""The reference of settings describes every setting and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from llm_lightning.config import schema
from llm_lightning.config.experiments import conf_dir, list_experiments

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def settings_page() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        import settings_page

        yield settings_page


@pytest.fixture(scope="module")
def page(settings_page: ModuleType) -> str:
    return settings_page.page()


def keys(fields: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every setting of a configuration; a part of callbacks or loggers is one itself."""
    for name, value in fields.items():
        key = f"{prefix}{name}"
        if name == "_target_":
            if prefix.startswith(("callbacks.", "loggers.")):
                yield prefix.rstrip(".")
        elif isinstance(value, dict) and value:
            yield from keys(value, f"{key}.")
        else:
            yield key


def composed(*overrides: str) -> DictConfig:
    return compose("config", overrides=[*overrides, "run_dir=somewhere"])


@pytest.mark.slow
def test_the_settings_of_cfg_job_are_those_on_the_page(
    settings_page: ModuleType, page: str
) -> None:
    schema.register()
    found: set[str] = set()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for group in ("model", "task", "data", "finetune", "trainer", "callbacks", "logger"):
            for file in (conf_dir() / group).glob("*.yaml"):
                cfg = composed(f"{group}={file.stem}")
                found |= set(keys(OmegaConf.to_container(cfg)))  # type: ignore[arg-type]
        row = composed("+experiment=row_01")  # `published` is empty without
        found |= set(keys(OmegaConf.to_container(row)))  # type: ignore[arg-type]
    found.discard("published")
    assert settings_page.documented_settings(page) == found


def test_every_setting_has_a_meaning_and_a_default(page: str) -> None:
    entries = [block for block in page.split("\n\n") if "\n: " in block]
    assert len(entries) > 100
    for entry in entries:
        term, meaning = entry.split("\n: ")
        assert len(meaning) > 5, term
        assert meaning.strip().endswith("."), term
        assert ":class:" not in entry
        assert "``" not in entry


def test_values_are_those_of_the_code_and_the_files(page: str) -> None:
    assert "*float*, default `5e-05`\n: Peak learning rate" in page
    assert "default `[q, k, v, out, fc1, fc2]`" in page
    assert "`{#setting-finetune-num_blocks}" not in page
    assert "[`finetune.num_blocks`]{#setting-finetune-num_blocks} *int*, default `required`" in page
    assert "| `nano` | 7.7M parameters" in page
    assert "| `gpt2_small` (default) |" in page


def test_every_experiment_is_listed() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        import generated_pages

        listed = generated_pages.experiments_page()
        commands = generated_pages.commands_page()
        folder = generated_pages.run_folder_page()
    for name in list_experiments():
        assert f"| `{name}` |" in listed
    for option in ("--baseline-row", "--responses", "--compare", "--quantization", "--json"):
        assert option in commands
    for file in ("config.yaml", "response_scores.csv", "output.txt"):
        assert f"| `{file}` |" in folder
    assert "`weights.sha256`" in folder
    assert "`metrics`" in folder
