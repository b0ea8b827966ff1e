# What the scripts of several studies share: sourced by them, once DATA and RUNS are set.
#
#     run_studies STUDY ... [-- SETTING ...]
#
# runs functions of these names, one after the other; they add "${settings[@]}", what follows --, to
# every command.
DATA=$(realpath "${DATA:?set DATA to the folder with the data}")
RUNS=${RUNS:?set RUNS to a folder for the runs}
SMS="data.path='$DATA/sms+spam+collection.zip'"
WORDS=+experiment=baseline_logreg,baseline_naive_bayes,baseline_majority
BERT=(model=minilm "model.weights='${MINILM:-package}'")
LLAMA=(model=smollm2_135m "model.weights='${SMOLLM2:-package}'")
settings=()

run_studies() {
    local studies=() study
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
        [[ $study != *run_studies && $(type -t "$study") == function ]] \
            || { echo "no study $study" >&2; exit 2; }
    done
    for study in "${studies[@]}"; do
        "$study" || echo "$study: some runs failed; the same command tries them again" >&2
    done
    echo "A page about them: python -m llm_lightning report $RUNS/STUDY"
}
