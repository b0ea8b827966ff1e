"""What an audit of labelled texts writes: file names and columns.

A row number counts from 1, without the header, in the split's file or in the table that was
audited.
"""

LABEL_ERRORS = "label_errors.csv"
NEAR_DUPLICATES = "near_duplicates.csv"
CONFLICTS = "conflicting_labels.csv"
TO_LABEL = "to_label.csv"
PAGE = "index.html"

SPLIT, ROW, LABEL, TEXT = "split", "row", "label", "text"
"""Where a text is and what it is labelled."""
SUGGESTED, SELF_CONFIDENCE, FOUND_BY = "suggested", "self_confidence", "found_by"
"""Of ``LABEL_ERRORS``: the most probable class, the probability of the given label, and whether
``words``, the ``run`` or ``both`` found it."""
WHERE, SIMILARITY = "where", "similarity"
"""Of ``NEAR_DUPLICATES``: ``across`` two splits or ``within`` one, and the Jaccard similarity."""
OTHER_SPLIT, OTHER_ROW, OTHER_LABEL, OTHER_TEXT = (
    f"other_{column}" for column in (SPLIT, ROW, LABEL, TEXT)
)
"""Of ``NEAR_DUPLICATES``: the text that it is similar to."""
GROUP = "group"
"""Of ``CONFLICTS``: numbers the texts that are equal."""
LINE, PREDICTED, PROBABILITY, ENTROPY, MARGIN = (
    "line", "predicted", "probability", "entropy", "margin",
)  # fmt: skip
"""Of ``TO_LABEL``: where the text is, what is predicted, and how unsure that is."""

ALL = "all"
"""The split of a table that is not split."""
