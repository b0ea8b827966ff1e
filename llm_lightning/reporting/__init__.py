"""Run folders in, tables and pictures out. Reads files only."""
