"""A finished run as a Python object, for notebooks and scripts."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from llm_lightning.data.prompts import Record
from llm_lightning.reporting.draw.run_figures import figures
from llm_lightning.run_format import files
from llm_lightning.run_format.summary import Summary, read_summary
from llm_lightning.runs.generation import stream_text, what_is_lost
from llm_lightning.runs.load import load_classifier, load_language_model, refuse_download
from llm_lightning.runs.prediction import best_device, decision_of, predict
from llm_lightning.runs.responses import ready_to_generate
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.text_classifier import TextClassifier

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Run:
    """A finished run: its summary, its pictures and its model.

    The model is loaded when it is first used, on the GPU if there is one.

    Args:
        folder: the run's, such as ``runs/last_block/seed_123``.
        allow_download: whether the base that the folder names is fetched from the Hub if it is not
            on this machine.

    Raises:
        ValueError: if it is not the folder of a finished run.
    """

    def __init__(self, folder: str | Path, *, allow_download: bool = False) -> None:
        self.folder = Path(folder)
        self.summary: Summary = read_summary(self.folder)
        self._before_download = None if allow_download else refuse_download
        self._classifier: TextClassifier | None = None
        self._language_model: LanguageModel | None = None

    @property
    def metrics(self) -> pd.DataFrame:
        """Loss and metrics: a row a split, and a row a baseline on the test split."""
        rows = {str(split): values for split, values in self.summary.metrics.items()}
        rows |= {f"{name} (test)": found for name, found in self.summary.baselines.items()}
        return pd.DataFrame.from_dict(rows, orient="index", dtype=float)

    def plot(self, name: str | None = None) -> "Figure | dict[str, Figure]":
        """Draws a picture of the run.

        Args:
            name: such as ``loss``; ``None`` draws all.

        Returns:
            The figure, or all figures by name.

        Raises:
            ValueError: if the run has no picture of this name.
        """
        drawn = figures(self.folder)
        if name is None:
            return drawn
        if name not in drawn:
            raise ValueError(f"name must be one of {', '.join(drawn)}, got {name!r}")
        return drawn[name]

    def predict(self, texts: Sequence[str]) -> pd.DataFrame:
        """Classifies texts.

        Args:
            texts: any strings.

        Returns:
            A row a text: ``text``, ``label``, ``probability`` of the label, ``abstained``,
            ``truncated``, ``empty`` (nothing but white space, so that the label says nothing), and
            ``probability_<class>`` of every class. If the run fitted a decision, also
            ``raw_label`` and ``raw_probability_<class>``: those without it.

        Raises:
            ValueError: if the run is not a classifier.
        """
        if isinstance(texts, str):
            raise TypeError("predict() takes a list of texts: put the text into [...]")
        if self.summary.kind != "classification":
            raise ValueError(f"{self.folder} is no classifier: use run.generate([...])")
        if self._classifier is None:
            model, _ = load_classifier(self.folder, self._before_download)
            self._classifier = model.to(best_device())
        rows = []
        for one in predict(self._classifier, list(texts), decision_of(self.summary)):
            fields = one.fields()
            by_class, raw = fields.pop("probabilities"), fields.pop("raw_probabilities", {})
            fields |= {files.probability(name): p for name, p in by_class.items()}
            rows.append(fields | {f"raw_{files.probability(name)}": p for name, p in raw.items()})
        return pd.DataFrame(rows)

    def generate(
        self, instructions: Sequence[str], inputs: Sequence[str] | None = None
    ) -> list[str]:
        """Responds to instructions, with the generation settings of the run.

        Args:
            instructions: what the model shall do, one a response.
            inputs: the texts that they are about, one an instruction; ``None``: none.

        Warns:
            UserWarning: where a prompt did not fit into the model's context; says what was cut.

        Raises:
            ValueError: if the run does not follow instructions, or the lengths differ.
        """
        if isinstance(instructions, str):
            raise TypeError("generate() takes a list of instructions: put it into [...]")
        if self.summary.kind == "classification":
            raise ValueError(f"{self.folder} is a classifier: use run.predict([...])")
        if inputs is not None and len(inputs) != len(instructions):
            raise ValueError(f"got {len(instructions)} instructions and {len(inputs)} inputs")
        if self._language_model is None:
            model, summary = load_language_model(self.folder, self._before_download)
            if not model.hparams["text"]:
                raise ValueError(f"{self.folder} was trained on plain text, not on instructions")
            self._language_model = ready_to_generate(model, best_device(), summary.precision)
        model = self._language_model
        options = model.options.generation
        responses: list[str] = []
        for record in map(Record, instructions, inputs or [""] * len(instructions)):
            if lost := what_is_lost(model, record, options):
                warnings.warn(f"response {len(responses)}: {lost}", stacklevel=2)
            responses.append("".join(stream_text(model, record, options)).strip())
        return responses

    def __repr__(self) -> str:
        """Folder and test metrics."""
        values = {k: v for k, v in self.summary.metrics["test"].items() if v is not None}
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        return f"Run({str(self.folder)!r}: test {shown})"


def load(folder: str | Path, *, allow_download: bool = False) -> Run:
    """Opens a finished run; see :class:`Run`."""
    return Run(folder, allow_download=allow_download)
