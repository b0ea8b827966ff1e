"""Peak memory of a large model on one device, with each of the settings that lower it.

    python experiments/scale/large.py MODEL [ROWS]      # such as gpt2_large 1,2

Random weights, everything trains in fp32 unless it says otherwise, two steps of 8 texts of 64
tokens; prints a table.
"""

import sys

from watched import SHORT, run

PADDED = ("task.pooling=last", "task.mask_padding=false", "data.padding=max_length")
CHECKPOINTING = "callbacks=gradient_checkpointing"
ROWS: dict[str, tuple[str, ...]] = {
    "AdamW": (),
    "activation checkpointing": (CHECKPOINTING,),
    "moments in 8 bits": ("optim.state_bits=8",),
    "both": (CHECKPOINTING, "optim.state_bits=8"),
    "both, bf16-true": (CHECKPOINTING, "optim.state_bits=8", "trainer.precision=bf16-true"),
    "LoRA": ("finetune=lora",),
    "LoRA, activation checkpointing": ("finetune=lora", CHECKPOINTING),
}


def main() -> None:
    """Prints a row for each choice."""
    model, *chosen = sys.argv[1:]
    numbers = {int(n) for n in chosen[0].split(",")} if chosen else set(range(1, len(ROWS) + 1))
    print("| settings | peak, MiB | loss of the last step | seconds a step |")
    print("| --- | ---: | ---: | ---: |", flush=True)
    for number, (name, settings) in enumerate(ROWS.items(), 1):
        if number not in numbers:
            continue
        done = run(
            "+experiment=all", f"model={model}", "model.weights=random", "data.max_length=64",
            *PADDED, *SHORT, "trainer.precision=32-true", "trainer.limit_train_batches=2",
            "data.eval_batch_size=8", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1",
            "~callbacks.checkpoint", "~callbacks.resume", *settings,
        )  # fmt: skip
        if done.status:
            print(f"| {name} | failed |\n{done.output}", flush=True)
            continue
        steps = len(done.losses)
        cells = (
            name,
            f"{max(done.peaks_mib):,.0f}",
            f"{done.losses[-1]:.4f}",
            f"{done.summary['seconds']['training'] / steps:.0f}",
        )
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
