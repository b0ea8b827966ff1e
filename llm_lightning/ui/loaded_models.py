"""Models of runs, kept in memory while people try them."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llm_lightning.run_format.files import SUMMARY
from llm_lightning.run_format.summary import Summary
from llm_lightning.runs.load import load_classifier, load_language_model
from llm_lightning.runs.prediction import best_device
from llm_lightning.runs.responses import ready_to_generate
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.text_classifier import TextClassifier

MOST_LOADED = 3
"""Models in memory at a time; the one that was used longest ago makes room."""


class LoadedModels:
    """Loads the models of finished runs when they are first used.

    They take turns: side by side they would only slow each other down.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: OrderedDict[
            tuple[Path, int], tuple[TextClassifier | LanguageModel, Summary]
        ] = OrderedDict()

    @contextmanager
    def classifier(self, folder: Path) -> Iterator[tuple[TextClassifier, Summary]]:
        """Lends the classifier of a run.

        Raises:
            ValueError: if the run has none.
            Unavailable: if the weights it was trained on are unavailable.
        """
        with self._lock:
            key = _key(folder)
            if key not in self._models:
                model, summary = load_classifier(folder)
                self._keep(key, model.to(best_device()), summary)
            found, summary = self._used(key)
            if not isinstance(found, TextClassifier):
                raise ValueError(f"{folder} is no classifier: use the chat")
            yield found, summary

    @contextmanager
    def language_model(self, folder: Path) -> Iterator[tuple[LanguageModel, Summary]]:
        """Lends the language model of a run; see :meth:`classifier`."""
        with self._lock:
            key = _key(folder)
            if key not in self._models:
                model, summary = load_language_model(folder)
                if not model.hparams["text"]:
                    raise ValueError(f"{folder} was trained on plain text, not on instructions")
                ready = ready_to_generate(model, best_device(), summary.precision)
                self._keep(key, ready, summary)
            found, summary = self._used(key)
            if not isinstance(found, LanguageModel):
                raise ValueError(f"{folder} is no language model: use Try it")
            yield found, summary

    def _keep(
        self, key: tuple[Path, int], model: TextClassifier | LanguageModel, summary: Summary
    ) -> None:
        while len(self._models) >= MOST_LOADED:
            self._models.popitem(last=False)
        self._models[key] = model, summary

    def _used(self, key: tuple[Path, int]) -> tuple[TextClassifier | LanguageModel, Summary]:
        self._models.move_to_end(key)
        return self._models[key]


def _key(folder: Path) -> tuple[Path, int]:
    """A run that was trained again is another model."""
    file = folder / SUMMARY
    return folder, file.stat().st_mtime_ns if file.is_file() else 0
