"""First steps of GPT-2 XL (1.56 billion parameters, random weights) in two processes with FSDP2.

    python experiments/scale/xl.py last_block      # or lora, all

Batches of one text of 16 tokens, parameters in bf16 once they are shared out, two steps, no
checkpoints; prints each step's loss and the peak of each process.
"""

import sys

from watched import SHORT, run

SETTINGS = (
    "model=gpt2_xl", "model.weights=random", "trainer.devices=2", "trainer.strategy=fsdp2",
    "trainer.precision=bf16-true", "data.batch_size=1", "data.eval_batch_size=1",
    "data.max_length=16", *SHORT, "trainer.limit_train_batches=2", "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1", "~callbacks.checkpoint", "~callbacks.resume",
)  # fmt: skip


def main() -> None:
    """Prints what happened."""
    done = run(f"+experiment={sys.argv[1]}", *SETTINGS)
    if done.status:
        sys.exit(done.output)
    print("losses of the steps:", *(f"{loss:.4f}" for loss in done.losses))
    print("peaks, MiB:", *(f"{peak:,.0f}" for peak in done.peaks_mib))
    print(f"{done.seconds:.0f} s")


if __name__ == "__main__":
    main()
