"""Optimisation, precision, and measurements of time and memory."""
