"""What ``summary.json`` says about a classifier's decision, and what it changes."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from llm_lightning.run_format.parts import PART, Amount, Count, Finite, Positive, Share
from llm_lightning.run_format.splits import Split


class _Part(BaseModel):
    model_config = PART


class Outcome(_Part):
    """Results of a classifier's labels on one split."""

    examples: Count
    """Examples that were labelled: without those where the decision was left to people."""
    right: Count
    f1: Share | None
    """Of the second of two classes, else the macro average."""
    balanced_accuracy: Share | None
    cost: Amount | None
    """Mean cost of an example, if costs were given."""
    loss: Amount
    """Mean negative log-likelihood of all examples, in nats."""
    ece: Share
    """Expected calibration error, of all examples."""

    @property
    def accuracy(self) -> float | None:
        """Share of the labelled examples that are right; None if none was labelled."""
        return self.right / self.examples if self.examples else None


class DecisionEffect(_Part):
    """What a decision changes on one split."""

    before: Outcome
    """Of the most probable class."""
    after: Outcome
    abstained: Count
    """Examples where the decision was left to people."""
    abstained_wrong: Count
    """Those of them whose most probable class is wrong."""
    changed: Count
    """Examples that were decided otherwise than for the most probable class."""
    corrected: Count
    """Those of them that are right now."""
    spoiled: Count
    """Those of them that were right before."""


class DecisionFacts(_Part):
    """How a run decides, fitted on its validation split."""

    kind: Literal["accuracy", "f1", "cost"]
    """What was optimised."""
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """All logits are divided by it."""
    threshold: Finite | None
    """Least probability of the second of two classes that decides for it."""
    costs: list[list[Amount]] | None
    """By true class (rows) and decided class (columns)."""
    abstain_below: Share
    """Least probability of the decided class."""
    fitted_on: Positive
    """Validation examples."""
    effects: dict[Split, DecisionEffect]
