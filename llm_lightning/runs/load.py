"""A trained model, rebuilt from its run's folder.

The folder may come from anybody: nothing in it is executed, and nothing is fetched because it names
a repository, unless the user allows that.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llm_lightning.backbone.families import locate, model_from, saved_tokenizer
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.hub import BeforeDownload
from llm_lightning.backbone.tokenizer import Tokenizer
from llm_lightning.data.batching import Padder
from llm_lightning.data.prompt_styles import CHAT, PROMPT_STYLES
from llm_lightning.run_format import files
from llm_lightning.run_format.summary import Summary, read_summary
from llm_lightning.runs.checkpoint_contents import described, read_checkpoint
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.text_classifier import TextClassifier

if TYPE_CHECKING:
    from llm_lightning.tasks.language_model import LanguageModel

_MOST_ADDED = 1_000
"""Tokens of a tokenizer that its model's embedding may have no row for: some text models have the
tokenizer of a model that also takes images."""

_LONGEST_NAME = 255
"""Of a file, in the usual file systems."""

T = TypeVar("T", bound=FineTunedModel)


def refuse_download(source: str) -> None:
    """Refuses to fetch a base because a run folder names it.

    Raises:
        ValueError: naming the repository, and how to allow it.
    """
    raise ValueError(
        f"this run's base {source} is not on this machine, and nothing is fetched because a run "
        f"folder names it. If you trust that repository, add --allow-download "
        f"(in Python: load(folder, allow_download=True))"
    )


def load_task(
    folder: Path, before_download: BeforeDownload | None = refuse_download
) -> tuple[FineTunedModel, Summary]:
    """Rebuilds the model of a run of any kind; see :func:`load_classifier`.

    Raises:
        ValueError: also if the run is a baseline, which has no network.
    """
    summary = read_summary(folder)
    if summary.weights is None:
        raise ValueError(f"{folder} is a baseline: it has no network")
    if summary.kind == "classification":
        return load_classifier(folder, before_download)
    return load_language_model(folder, before_download)


def load_classifier(
    folder: Path, before_download: BeforeDownload | None = refuse_download
) -> tuple[TextClassifier, Summary]:
    """Rebuilds the classifier that a run's summary describes, on the CPU, in evaluation mode.

    Args:
        folder: the run's.
        before_download: called with the repository of the base if that is not on this machine; may
            raise. ``None`` fetches it.

    Raises:
        ValueError: if the folder holds no finished run, or one of another kind, or its checkpoint
            is gone or damaged, or the weights it was trained on changed.
        Unavailable: if those weights are unavailable.
    """
    model, summary = _load(folder, TextClassifier, before_download)
    if summary.class_names != model.hparams["class_names"]:
        raise ValueError(
            f"{folder / files.SUMMARY} and its checkpoint name other classes: "
            f"{summary.class_names!r:.100} and {model.hparams['class_names']!r:.100}"
        )
    return model, summary


def load_language_model(
    folder: Path, before_download: BeforeDownload | None = refuse_download
) -> "tuple[LanguageModel, Summary]":
    """Rebuilds the language model that a run's summary describes; see :func:`load_classifier`."""
    from llm_lightning.tasks.language_model import LanguageModel  # with Lightning, which takes long

    return _load(folder, LanguageModel, before_download)


def _load(
    folder: Path, task_class: type[T], before_download: BeforeDownload | None
) -> tuple[T, Summary]:
    if (folder / files.CONFIG).is_file() and not (folder / files.SUMMARY).is_file():
        raise ValueError(f"the run in {folder} is not finished: its command continues it")
    summary = read_summary(folder)
    if summary.kind not in task_class.data_kinds:
        command = "predict" if summary.kind == "classification" else "generate"
        raise ValueError(
            f"{folder} holds a run of kind {summary.kind}: use python -m llm_lightning {command}"
        )
    path = _checkpoint_file(folder, summary)
    checkpoint = read_checkpoint(path, task_class)
    fields, base = checkpoint["hyper_parameters"], checkpoint["base"]
    if base is None:
        fields["model"] = fields["model"] | {"init": "empty"}  # every weight is loaded next
    try:
        model = task_class(**fields)
        config = None if base is None else model_from(base["model"])
        _check_text(model)
    # Settings of the wrong kind or size meet the code of every part of a model.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"{described(path)} describes no model that this version can make: "
            f"{type(error).__name__}: {reason}"
        ) from error
    if config is not None:
        model.load_base(config, locate(config, before_download=before_download))
    try:
        model.load_trained(checkpoint)
    except ValueError as error:
        raise ValueError(f"{described(path)} cannot be used: {error}") from error
    model.tokenizer = _tokenizer(folder / files.TOKENIZER, model)
    return model.eval(), summary


def _checkpoint_file(folder: Path, summary: Summary) -> Path:
    if summary.checkpoint is None:
        raise ValueError(
            f"{folder} kept no checkpoint: it is a baseline, or callbacks.checkpoint was removed"
        )
    inside = Path(summary.checkpoint)
    if inside.is_absolute() or ".." in inside.parts or len(summary.checkpoint) > _LONGEST_NAME:
        raise ValueError(
            f"{folder / files.SUMMARY} is damaged: checkpoint must be a file in the run's folder, "
            f"got {summary.checkpoint!r:.100}"
        )
    path = folder / inside
    if not path.is_file():
        raise ValueError(f"the checkpoint {path} is missing: train the run again")
    return path


def _check_text(model: FineTunedModel) -> None:
    """Checks how the model's texts become tokens; anything else is only noticed in use.

    Raises:
        ValueError: if a length or a style is impossible.
    """
    text: dict[str, Any] = model.hparams["text"]
    length, context = text.get("max_length"), model.backbone.context_length
    if length is not None and not 1 <= length <= context:
        raise ValueError(f"text.max_length must lie between 1 and the context {context}: {length}")
    if isinstance(model, TextClassifier):
        Padder(**text)
    elif text and text.get("prompt_style") not in (*PROMPT_STYLES, CHAT):
        raise ValueError(f"text.prompt_style is unknown: {text.get('prompt_style')!r}")


def _tokenizer(folder: Path, model: FineTunedModel) -> Tokenizer:
    is_gpt2 = isinstance(model.backbone, GPT2)
    if is_gpt2 == folder.is_dir():
        what = "has files of one, and GPT-2's comes with this program" if is_gpt2 else "is missing"
        raise ValueError(f"the tokenizer {folder} {what}: copy the run's whole folder again")
    found = saved_tokenizer(folder)
    if found.vocab_size > model.backbone.vocab_size + _MOST_ADDED:
        raise ValueError(
            f"the tokenizer {folder} has {found.vocab_size:,} tokens, and the model an embedding "
            f"for {model.backbone.vocab_size:,}: it belongs to another model"
        )
    return found
