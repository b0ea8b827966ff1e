"""Intervals and tests; nothing here knows what a run is."""
