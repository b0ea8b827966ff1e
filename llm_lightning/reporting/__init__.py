"""Run folders in; figures, pages and tables out. Only files are read: no model, no training code.

Data flows from left to right, and each room imports only from those on its left::

    read      a run's folder -> RunRecord, or what is wrong with it
    analyse   RunRecords -> rows, comparisons, scores, mistakes, findings: plain dataclasses
    draw      these dataclasses -> matplotlib figures; figures -> PNG files or SVG elements
    render    all of it -> index.html, table.md, table.csv and figures/*.svg

``draw.run_figures.plot_run`` draws a single run; ``render.report_folder.write_report`` writes the
report about many.
"""
