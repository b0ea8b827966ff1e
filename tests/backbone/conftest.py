"""Folders of small models, written once for all tests of the contract."""

from collections.abc import Callable
from pathlib import Path

import pytest
from contract import pretraining_head, save
from contract_families import FAMILIES

Folders = Callable[[str], Path]


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The folder of a family, with its head of pretraining; not to be changed."""
    made: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp("models") / name
            save(FAMILIES[name], pretraining_head(FAMILIES[name]), folder)
            made[name] = folder
        return made[name]

    return folder_of
