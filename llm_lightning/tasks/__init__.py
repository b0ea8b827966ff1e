"""LightningModules: what is computed for a batch, and how it trains."""
