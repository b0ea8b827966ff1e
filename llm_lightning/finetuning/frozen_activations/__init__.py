"""Activations of frozen blocks: computed once, then read from memory or a file."""
