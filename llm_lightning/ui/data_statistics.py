"""How long the examples of each split are, and how many there are of each class."""

from dataclasses import dataclass

import numpy as np

from llm_lightning.data.language import LanguageData
from llm_lightning.data.module import DataModule
from llm_lightning.run_format.splits import SPLITS
from llm_lightning.ui.run_data import RunTexts


@dataclass(frozen=True)
class SplitStatistics:
    """One split."""

    name: str
    examples: int
    class_counts: dict[str, int]
    """Empty if there are no classes."""
    truncated: int | None
    """Examples that lost tokens; ``None`` if that is not counted."""
    lengths: list[int]
    """Tokens of each example, as the model sees it."""

    @property
    def quantiles(self) -> tuple[int, int, int, int]:
        """Least, median, 95 % quantile and most tokens."""
        low, middle, high, most = np.quantile(
            self.lengths, [0, 0.5, 0.95, 1], method="inverted_cdf"
        ).tolist()
        return int(low), int(middle), int(high), int(most)


def split_statistics(data: DataModule) -> list[SplitStatistics]:
    """Describes the splits of data that are set up."""
    facts = data.facts()["splits"]
    found = []
    for split in SPLITS:
        own = facts[split]
        if isinstance(data, RunTexts):
            lengths = data.lengths(split)
        elif isinstance(data, LanguageData):
            lengths = [len(sequence) for sequence in data.sequences[split]]
        else:
            raise TypeError(f"the lengths of {type(data)} are unknown")
        counts, cut = own.get("class_counts") or {}, own.get("truncated")
        found.append(SplitStatistics(split, own["examples"], counts, cut, lengths))
    return found
