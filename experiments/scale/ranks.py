"""Peak memory of each process: DDP, where each has the whole model, against FSDP2.

    python experiments/scale/ranks.py MODEL [TRAINED,...]      # such as gpt2_medium all,lora

Two processes, random weights, four steps of batches of four texts for each; prints a table. The
first process also puts checkpoints together; the last column is what a dry run expects of it.
"""

import re
import sys

from watched import SHORT, run


def main() -> None:
    """Prints a row for each strategy."""
    model, *chosen = sys.argv[1:]
    strategies = chosen[0].split(",") if chosen else ("all", "last_block", "lora")
    print("| trained | strategy | process 1, MiB | process 2, MiB | expected of process 1, MiB |")
    print("| --- | --- | ---: | ---: | ---: |", flush=True)
    for trained in strategies:
        for strategy in ("ddp", "fsdp2"):
            settings = (
                f"+experiment={trained}", f"model={model}", "model.weights=random",
                "data.batch_size=4", "trainer.devices=2", f"trainer.strategy={strategy}", *SHORT,
            )  # fmt: skip
            done, planned = run(*settings), run(*settings, "dry_run=true")
            told = re.search(r"peak of .*?([\d,]+\.\d)\s*$", planned.output, re.MULTILINE)
            if done.status or told is None:
                print(f"| {trained} | {strategy} | failed |\n{done.output}\n{planned.output}")
                continue
            cells = [f"{peak:,.0f}" for peak in done.peaks_mib]
            expected = told[1].partition(".")[0]
            print("| " + " | ".join((trained, strategy, *cells, expected)) + " |", flush=True)


if __name__ == "__main__":
    main()
