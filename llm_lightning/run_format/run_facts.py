"""The parts of ``summary.json``: data, weights, parameters, responses, time and chance."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from llm_lightning.run_format.parts import PART, Amount, Count, Finite, Positive, Share, Text
from llm_lightning.run_format.splits import Split


class _Part(BaseModel):
    model_config = PART


class SplitFacts(_Part):
    """One split of the data."""

    examples: Count
    sha256: Text
    """Fingerprint of its texts and labels."""
    truncated: Count | None = None
    """Texts that lost tokens to the maximum length."""
    class_counts: dict[str, Count] | None = None
    """Examples of each class."""
    tokens: Count | None = None
    label_tokens: Count | None = None
    """Tokens in the loss."""
    response_tokens: Count | None = None
    empty_outputs: Count | None = None
    """Records without a reference response."""


class DataFacts(_Part):
    """What a run was trained and evaluated on."""

    model_config = ConfigDict(extra="allow")

    source: Text | None = None
    splits: dict[Split, SplitFacts]
    max_length: Count | None = None
    """Longest input, in tokens."""
    padding: str | None = None
    test_in_train: Count | None = None
    """Test texts that are in the training split too."""
    val_in_train: Count | None = None
    duplicates_dropped: Count | None = None
    folds: Count | None = None
    """Of a cross-validation; ``None`` for a single split."""
    fold: Count | None = None
    """The fold that is the test split, from 0."""
    prompt_style: str | None = None
    mask: str | None = None


class ParameterGroup(_Part):
    """Neighbouring parameters that are treated alike."""

    name: str
    """``backbone.h.0-10``, ``head`` ..."""
    trainable: Count
    total: Count


class ParameterCounts(_Part):
    """How many parameters there are, and how many of them train."""

    trainable: Count
    total: Count
    groups: list[ParameterGroup] = []


class WeightFacts(_Part):
    """The weights that training started from."""

    model: str
    """Short name of the model, as in ``conf/model/``."""
    source: Text
    """Model and origin of the weights, for people."""
    sha256: str | None = None
    """Of the file; ``None`` for random weights."""
    head_loaded: bool = False
    """Whether the file's head was taken over too."""
    unused: Count = 0
    """Tensors of the file that nothing here uses: other heads, and poolers before them."""
    unused_names: list[str] = []
    """The first of them."""


class Score(_Part):
    """A mean with its 95 % interval, as a share."""

    mean: Share
    low: Share
    high: Share
    standard_error: Finite | None = None
    n: Positive


class ResponseFacts(_Part):
    """The responses to the test instructions, and their scores."""

    file: str
    examples: Count
    scores: dict[str, Score]
    untrained_scores: dict[str, Score] | None = None
    """Scores of the model before fine-tuning, on the same instructions."""
    seconds: Amount
    tokens_per_second: Amount
    precision: str | None = None
    """Of the weights that wrote them, ``fp32`` or ``bf16``; ``None`` if it is not recorded."""


class FrozenActivations(_Part):
    """What the cache of frozen activations held."""

    blocks: Positive
    examples: Count
    mib: Amount
    kept_in: Literal["memory", "file"]
    seconds: Amount


class Seconds(_Part):
    """Where the time went."""

    total: Amount
    training: Amount
    validation: Amount
    evaluation: Amount
    saving: Amount | None = None
    """Of checkpoints, most of it within ``training``; ``None`` in runs of earlier versions."""


class Seeds(_Part):
    """What each part of chance was drawn with."""

    init: int
    """Initial weights: head, adapters, random backbone."""
    order: int
    """Order of examples, and dropout."""
    split: int | None = None
    """Training, validation and test; ``None`` if the split is not drawn at random."""


class Trial(_Part):
    """What the search goes by that a run is a trial of."""

    objective: str
    """A validation metric."""
    searched: list[str] = []
    """Keys of the settings that its sweep file varies."""
    stopped_after: Count | None = None
    """Epochs after which the search stopped it; ``None`` if it had all that it was to have."""
