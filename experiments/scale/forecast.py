"""The peak memory that a dry run expects, beside what the run takes.

    python experiments/scale/forecast.py [CASE ...]      # by name; all of them without one

Each case is a dry run and a run in processes of their own; prints a table. With SMOLLM2=FOLDER in
the environment, also cases of the transformers model in that folder. Cases of two processes are in
ranks.py.
"""

import os
import sys

from watched import SHORT, run

PADDED = ("task.pooling=last", "task.mask_padding=false", "data.padding=max_length")
"""Padding takes part, as in the book; otherwise it is left out of the computation."""
STRATEGIES = ("last_layer", "last_block", "lora", "all")


def cases() -> dict[str, tuple[str, ...]]:
    """Settings by the name of the case."""
    found = {}
    for model, more in (("nano", ()), ("gpt2_small", ("data.batch_size=4",))):
        for strategy in STRATEGIES:
            own = (f"+experiment={strategy}", f"model={model}", "model.weights=random", *more)
            found[f"{model} {strategy} unpadded"] = own
            found[f"{model} {strategy} padded"] = (*own, *PADDED)
        found[f"{model} all in 8 bits"] = (*found[f"{model} all unpadded"], "optim.state_bits=8")
    if folder := os.environ.get("SMOLLM2"):
        for strategy in STRATEGIES[1:]:
            found[f"SmolLM2 {strategy}"] = (
                f"+experiment={strategy}", "model=hub", f"model.weights={folder}",
                "data.batch_size=4", "data.eval_batch_size=4",
            )  # fmt: skip
    return found


def main() -> None:
    """Prints a row a case."""
    print("| case | expected MiB | measured MiB | expected / measured |", flush=True)
    print("| --- | ---: | ---: | ---: |", flush=True)
    for name, settings in cases().items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        planned = run(*settings, *SHORT, "dry_run=true")
        done = run(*settings, *SHORT)
        expected = planned.expected_mib
        if expected is None or done.status:
            print(f"| {name} | failed |\n{planned.output}\n{done.output}", flush=True)
            continue
        measured = done.summary["peak_memory_mib"]
        row = f"| {name} | {expected:,.0f} | {measured:,.0f} | {expected / measured:.2f} |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
