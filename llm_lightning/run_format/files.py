"""What the files in a run's folder are called.

::

    config.yaml            the resolved configuration
    status.json            running, finished, failed (and why) or interrupted
    summary.json           final metrics, parameter counts, fingerprints, versions, times; written
                           last, when the run is finished
    metrics.csv            curves (and TensorBoard events)
    predictions_test.csv   a classifier's prediction for each test text
    predictions_val.csv    the same for each validation text
    class_metrics_test.csv precision, recall, F1 and support of each class on the test split
    decisions_test.csv     what was decided for each test text, if the run fitted a decision
    instruction-data-with-response.json  a language model's response to each test instruction
    response_scores.csv    how close each response is to its reference
    responses_untrained.json, response_scores_untrained.csv  the same before fine-tuning
    judge-*.json           a judge's scores of these responses
    pairs-*.json           a judge's choices between these and another run's
    benchmarks-*.json      results of lm-evaluation-harness
    splits/                the texts of each split
    tokenizer/             the model's tokenizer, unless it is GPT-2's, which this package brings
    checkpoints/           best.ckpt (lowest validation loss) and last.ckpt: what trained, and
                           which base it belongs to; resume.ckpt while the run is unfinished
    plots/                 pictures of the above
    output.txt             terminal output, if the run shared a terminal with others in a sweep
"""

CONFIG = "config.yaml"
STATUS = "status.json"
SUMMARY = "summary.json"
CURVES = "metrics.csv"
CURVES_BEFORE = "metrics_before_interruption.csv"
"""What versions up to 0.2 left of an interrupted run."""
PREDICTIONS = "predictions_test.csv"
VAL_PREDICTIONS = "predictions_val.csv"
CLASS_METRICS = "class_metrics_test.csv"
RESPONSES = "instruction-data-with-response.json"
"""The book's name for a test split with a model's responses."""
UNTRAINED_RESPONSES = "responses_untrained.json"
"""Responses of the model before fine-tuning, in the same form."""
RESPONSE_SCORES = "response_scores.csv"
UNTRAINED_SCORES = "response_scores_untrained.csv"
"""Scores of these."""
JUDGEMENTS = "judge-*.json"
PAIRS = "pairs-*.json"
DECISIONS = "decisions_test.csv"
SPLITS_FOLDER = "splits"
SPLIT_TEXT, SPLIT_LABEL = "Text", "Label"
"""Columns of a classifier's splits, as in the book; the label is a class index."""
TOKENIZER = "tokenizer"
CHECKPOINTS = "checkpoints"
LAST = "last.ckpt"
RESUME = "resume.ckpt"
PLOTS = "plots"
OUTPUT = "output.txt"
PLAN = "plan.json"
"""Of a dry run, in a scratch folder."""
HPARAMS = "hparams.yaml"
"""What Lightning's loggers leave, which ``CONFIG`` makes superfluous."""
EVENTS = "events.out.tfevents.*"
DAMAGED = ".damaged"
"""Ends the name of a damaged file that was set aside."""

TEXT, LABEL, PREDICTED = "text", "label", "predicted"
"""Columns of ``PREDICTIONS`` and ``VAL_PREDICTIONS``, beside a probability for each class."""
DECIDED, PROBABILITY, ABSTAINED = "decided", "probability", "abstained"
"""Columns of ``DECISIONS``, beside those of ``PREDICTIONS``: the decided class, its probability
after temperature scaling, and whether the decision was left to people."""
INDEX = "index"
"""The column of ``RESPONSE_SCORES`` and ``DECISIONS`` that numbers the items, from 0."""
RESPONSE = "model_response"
"""The field of ``RESPONSES`` that the model wrote, beside those of the record."""

MOST_LEVELS = 3
"""Below a folder, in which runs are looked for to name one: as deep as a sweep of sweeps."""


def split_file(split: str, kind: str) -> str:
    """Returns the file of a split in ``SPLITS_FOLDER``: ``test.csv`` of a classifier's data.

    Args:
        split: one of :data:`~llm_lightning.run_format.splits.SPLITS`.
        kind: of the data: ``classification`` or ``instructions``.
    """
    return f"{split}.{'csv' if kind == 'classification' else 'json'}"


def checkpoint_file(name: str) -> str:
    """Returns the file in ``CHECKPOINTS`` with the ``best`` or the ``last`` weights."""
    return f"{name}.ckpt"


def probability(class_name: str) -> str:
    """Returns the column of ``PREDICTIONS`` with the probability of a class."""
    return f"probability_{class_name}"
