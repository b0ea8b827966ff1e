"""Activations of frozen blocks, computed once for every example."""
