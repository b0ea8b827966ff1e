"""Every chart: a function from data to a matplotlib figure, with one style for all."""
