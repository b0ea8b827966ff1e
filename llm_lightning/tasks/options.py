"""The settings of each task: the ``task`` configuration group."""

from dataclasses import dataclass, field

from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.tasks.pooling import check_pooling


@dataclass
class ClassifierOptions:
    """The head of a classifier and its training objective.

    Raises:
        ValueError: if a field is out of range.
    """

    _target_: str = "llm_lightning.tasks.classifier.Classifier"
    pooling: str = "auto"
    """The hidden state that the head classifies: of the ``last_real`` token, of the ``last``
    position (perhaps padding, as in the book's first rows), of the ``first``, of the ``cls`` token
    with which encoders begin; or the mean over the real tokens (``mean_real``) or over all
    positions (``mean``). ``auto``: ``last_real`` for a causal model, ``mean_real`` otherwise."""
    mask_padding: bool = True
    """Whether attention hides padding from real tokens and from the pooled position."""
    head_dropout: float = 0.0
    """Dropout before the head, in [0, 1)."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes in the training loss, in [0, 1)."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_pooling(self.pooling)
        for key in ("head_dropout", "label_smoothing"):
            if not 0 <= getattr(self, key) < 1:
                raise ValueError(f"task.{key} must lie in [0, 1), got {getattr(self, key)}")


@dataclass
class LanguageModelOptions:
    """The head of a language model, and how it generates."""

    _target_: str = "llm_lightning.tasks.language_model.LanguageModel"
    tie_weights: bool = True
    """Whether the output embedding is the input embedding, as in GPT-2; otherwise it starts as a
    copy and trains separately, as in the book."""
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    """How responses are generated once the model is trained."""
