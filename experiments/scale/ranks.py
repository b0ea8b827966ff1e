"""Peak memory of each process: DDP, where each has the whole model, against FSDP2.

    python experiments/scale/ranks.py MODEL [TRAINED,...]      # such as gpt2_medium all,lora

Two processes, random weights, four steps of batches of four texts for each; prints a table. The
first process also puts checkpoints together. What a dry run expects is of that one, from the start
of training on, as the run itself records it.
"""

import sys

from watched import SHORT, run


def main() -> None:
    """Prints a row for each strategy."""
    model, *chosen = sys.argv[1:]
    strategies = chosen[0].split(",") if chosen else ("all", "last_block", "lora")
    print("| trained | strategy | process 1 | process 2 | recorded | expected | over recorded |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for trained in strategies:
        for strategy in ("ddp", "fsdp2"):
            settings = (
                f"+experiment={trained}", f"model={model}", "model.weights=random",
                "data.batch_size=4", "data.eval_batch_size=4", "trainer.devices=2",
                f"trainer.strategy={strategy}", *SHORT,
            )  # fmt: skip
            done, planned = run(*settings), run(*settings, "dry_run=true")
            expected = planned.expected_mib
            if done.status or expected is None:
                print(f"| {trained} | {strategy} | failed |\n{done.output}\n{planned.output}")
                continue
            recorded = done.summary["peak_memory_mib"]
            cells = [f"{mib:,.0f}" for mib in (*done.peaks_mib, recorded, expected)]
            cells = [trained, strategy, *cells, f"{expected / recorded:.2f}"]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
