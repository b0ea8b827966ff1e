"""The report as files: one HTML page, a Markdown and a CSV table, and the figures as SVG."""
