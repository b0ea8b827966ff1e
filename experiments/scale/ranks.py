"""Peak memory of each process: DDP, where each has the whole model, against FSDP2.

    python experiments/scale/ranks.py MODEL [SETTING ...]      # such as gpt2_medium

Two processes, random weights, four steps of batches of 4 for each; prints a table. Checkpoints are
left out, as they are whole in the main process; the last column is its peak with them.
"""

import sys

from watched import SHORT, run

WITHOUT = ("~callbacks.checkpoint", "~callbacks.resume")


def main() -> None:
    """Prints a row for each strategy."""
    model, *more = sys.argv[1:]
    print("| trained | strategy | process 1, MiB | process 2, MiB | process 1 with checkpoints |")
    print("| --- | --- | ---: | ---: | ---: |", flush=True)
    for trained in ("all", "last_block", "lora"):
        for strategy in ("ddp", "fsdp2"):
            settings = (
                f"+experiment={trained}", f"model={model}", "model.weights=random",
                "data.batch_size=4", "trainer.devices=2", f"trainer.strategy={strategy}",
                *SHORT, *more,
            )  # fmt: skip
            bare, whole = run(*settings, *WITHOUT), run(*settings)
            if bare.status or whole.status:
                print(f"| {trained} | {strategy} | failed |\n{bare.output}\n{whole.output}")
                continue
            first, second = bare.peaks_mib
            print(
                f"| {trained} | {strategy} | {first:,.0f} | {second:,.0f} "
                f"| {whole.peaks_mib[0]:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
