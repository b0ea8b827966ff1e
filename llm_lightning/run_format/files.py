"""What the files in a run's folder are called.

::

    config.yaml            the resolved configuration
    status.json            running, finished, failed (and why) or interrupted
    summary.json           final metrics, parameter counts, fingerprints, versions, times
    metrics.csv            curves (and TensorBoard events)
    predictions_test.csv   a classifier's prediction for each test text
    instruction-data-with-response.json  a language model's response to each test instruction
    response_scores.csv    how close each response is to its reference
    responses_untrained.json, response_scores_untrained.csv  the same before fine-tuning
    judge-*.json           a judge's scores of these responses
    splits/                the texts of each split
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
"""Curves of the interrupted part of a run that is going on."""
PREDICTIONS = "predictions_test.csv"
RESPONSES = "instruction-data-with-response.json"
"""The book's name for a test split with a model's responses."""
UNTRAINED_RESPONSES = "responses_untrained.json"
"""Responses of the model before fine-tuning, in the same form."""
RESPONSE_SCORES = "response_scores.csv"
UNTRAINED_SCORES = "response_scores_untrained.csv"
"""Scores of these."""
JUDGEMENTS = "judge-*.json"
SPLITS = "splits"
CHECKPOINTS = "checkpoints"
BEST = "best.ckpt"
LAST = "last.ckpt"
RESUME = "resume.ckpt"
PLOTS = "plots"
OUTPUT = "output.txt"
EVENTS = "events.out.tfevents.*"

TEXT, LABEL, PREDICTED = "text", "label", "predicted"
"""Columns of ``PREDICTIONS``, beside a probability for each class."""
RESPONSE = "model_response"
"""The field of ``RESPONSES`` that the model wrote, beside those of the record."""


def probability(class_name: str) -> str:
    """Returns the column of ``PREDICTIONS`` with the probability of a class."""
    return f"probability_{class_name}"
