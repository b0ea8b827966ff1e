"""How durations, tables, progress and errors are shown, spelt once."""
