"""Which parameters train, and how: strategies, LoRA, QLoRA, cached frozen activations."""
