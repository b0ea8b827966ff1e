"""What all screens share: the runs, the models in memory, and how a wrong value is shown."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from llm_lightning.network import Unavailable
from llm_lightning.runs.terminal_output import as_typed
from llm_lightning.ui.found_runs import FoundRun, find_runs, short_names
from llm_lightning.ui.loaded_models import LoadedModels

P = ParamSpec("P")
T = TypeVar("T")

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
"""Of every event: the page is no API."""

_SHOWN = (ValueError, OSError, Unavailable)


@dataclass
class Context:
    """What all screens share."""

    roots: list[Path]
    """Folders of runs; new runs go to the first."""
    votes: Path
    """The database of the arena."""
    experiments: dict[str, str]
    """Name and description."""
    problem_of: Callable[[Sequence[str]], str | None]
    """Says what is wrong with a command line."""
    models: LoadedModels = field(default_factory=LoadedModels)

    def runs(self) -> list[FoundRun]:
        """Returns all runs."""
        return find_runs(self.roots)

    def folder(self, chosen: str | None) -> Path:
        """Returns the folder of a run that was chosen on the page.

        Raises:
            ValueError: if none was, or it is gone.
        """
        if not chosen:
            raise ValueError("choose a run first")
        folders = [run.folder for run in self.runs()]
        if Path(chosen) not in folders:
            raise ValueError(f"{chosen} is no run any more")
        return Path(chosen)


Accepts = Callable[[FoundRun], bool]
"""Which runs can be chosen."""


def is_classifier(run: FoundRun) -> bool:
    """Whether a run classifies texts."""
    return run.has_model and run.kind == "classification"


def follows_instructions(run: FoundRun) -> bool:
    """Whether a run responds to instructions."""
    return run.has_model and run.kind == "instructions"


def any_run(run: FoundRun) -> bool:
    """Every run."""
    return True


class RunChooser:
    """A drop-down list of runs, brought up to date when its screen is opened.

    Args:
        context: what all screens share.
        label: above the list.
        accepts: which runs are in it.
        nothing: what to say where there is none.
        several: how many can be chosen; ``None`` for one.
        place: of the run that is chosen at first, among those that changed last.
    """

    def __init__(
        self,
        context: Context,
        label: str,
        accepts: Accepts = any_run,
        *,
        nothing: str = "There is no run yet: start one in the tab Runs.",
        several: int | None = None,
        place: int = 0,
    ) -> None:
        self._context, self._accepts, self._several = context, accepts, several
        self._nothing, self._place = nothing, place
        runs = self._runs()
        self.field = gr.Dropdown(
            choices=_choices(runs),
            value=self._value(runs, None),
            label=label,
            info=self._info(runs),
            multiselect=several is not None,
            max_choices=several,
        )

    def update(self, chosen: Any) -> Any:
        """Returns the list as it is now, with the choice that was made if it is still there."""
        runs = self._runs()
        return gr.Dropdown(
            choices=_choices(runs), value=self._value(runs, chosen), info=self._info(runs)
        )

    def _info(self, runs: list[FoundRun]) -> str | None:
        return None if runs else self._nothing

    def _runs(self) -> list[FoundRun]:
        return [run for run in self._context.runs() if self._accepts(run)]

    def _value(self, runs: list[FoundRun], chosen: Any) -> Any:
        known = [value for _, value in _choices(runs)]
        if self._several is None:
            first = known[min(self._place, len(known) - 1)] if known else None
            return chosen if chosen in known else first
        kept = [value for value in chosen or [] if value in known]
        alike = [str(run.folder) for run in runs if run.kind == runs[0].kind]
        return kept or alike[: min(2, self._several)]


def _choices(runs: list[FoundRun]) -> list[tuple[str, str]]:
    names = short_names([run.shown for run in runs])
    return [(name, str(run.folder)) for name, run in zip(names, runs, strict=True)]


def reported(function: Callable[P, T]) -> Callable[P, T]:
    """Makes an error that the user can put right a message; what the page shows stays."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def stream(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                yield from function(*args, **kwargs)
            except _SHOWN as error:
                yield _told(error)

        return stream

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return function(*args, **kwargs)
        except _SHOWN as error:
            return _told(error)

    return call


def _told(error: BaseException) -> Any:
    # Gradio takes messages for HTML, and they may quote a file.
    gr.Warning(escape(str(error)))
    return gr.skip()


def typed(folder: Path) -> str:
    """Returns a folder as a person would type it."""
    return str(as_typed(folder))
