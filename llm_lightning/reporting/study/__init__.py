"""Many run folders in, one page out: what was measured, how sure it is, what went wrong.

::

    runs, reading    a run's files, and what is wrong with the broken ones
    summary_rules    what summary.json must hold
    rows             runs that differ by their seed alone, and their names
    published        a row beside what the book reports
    comparisons      rows against one of them, on the same test items
    scores           calibration, ROC, precision at another share of spam
    mistakes         the test messages that are missed, and what they resemble
    data_card        what the splits hold
    answers          answers to instructions, side by side
    axis, svg        pictures that scale and follow the reader's colours
    charts, learning_charts, cost_charts, score_charts    what they show
    classification, language, findings    the sections of the page and its first sentences
    page, tables     index.html; table.md and table.csv
"""
