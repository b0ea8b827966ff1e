"""LightningModules: what is computed from a batch, and nothing else."""
