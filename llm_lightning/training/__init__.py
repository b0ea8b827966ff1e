"""Optimisation and the callbacks that watch a run."""
