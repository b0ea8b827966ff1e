"""What near-duplicates across splits do to logistic regression on words: RUN [SIMILARITY]."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from llm_lightning.evaluation.audit.near_duplicates import near_duplicates
from llm_lightning.evaluation.baselines import Baseline
from llm_lightning.run_format.audit_files import LABEL, OTHER_SPLIT, ROW, SPLIT, TEXT
from llm_lightning.run_format.files import SPLIT_LABEL, SPLIT_TEXT
from llm_lightning.statistics import wilson_interval


def main(run: Path, similarity: float) -> None:
    """Prints the test accuracy with and without the near-duplicates."""
    splits = {name: read(run, name) for name in ("train", "test")}
    train, test = splits["train"], splits["test"]
    in_train, in_test = repeats(test, train, similarity), repeats(train, test, similarity)
    print("| trained on | tested on | right | accuracy | 95 % (Wilson) |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name, trained in (("all", train), ("without near-duplicates of test", train[~in_test])):
        fitted = Baseline("logreg").fit(trained[TEXT].tolist(), trained[LABEL].tolist())
        right = fitted.probabilities(test[TEXT].tolist()).argmax(axis=1) == test[LABEL].to_numpy()
        for part, kept in (
            ("all", np.ones_like(in_train)),
            ("without near-duplicates of training", ~in_train),
            ("near-duplicates of training only", in_train),
        ):
            hits, total = int(right[kept].sum()), int(kept.sum())
            ends = wilson_interval(hits, total)
            print(
                f"| {name} ({len(trained):,}) | {part} | {hits} of {total} | "
                f"{100 * hits / total:.2f} | {100 * ends.low:.1f} to {100 * ends.high:.1f} |"
            )


def read(run: Path, split: str) -> pd.DataFrame:
    found = pd.read_csv(run / "splits" / f"{split}.csv", keep_default_na=False)
    return pd.DataFrame(
        {
            SPLIT: split,
            ROW: range(1, len(found) + 1),
            LABEL: found[SPLIT_LABEL],
            TEXT: found[SPLIT_TEXT],
        }
    )


def repeats(table: pd.DataFrame, other: pd.DataFrame, similarity: float) -> np.ndarray:
    """Whether each row of a split has a near-duplicate in another."""
    near = near_duplicates(pd.concat([other, table], ignore_index=True), similarity)
    own, others = table[SPLIT].iloc[0], other[SPLIT].iloc[0]
    rows = near[(near[SPLIT] == own) & (near[OTHER_SPLIT] == others)][ROW]
    return table[ROW].isin(rows).to_numpy()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.8)
