"""GPT-2 itself: network, tokenizer, weights. Plain torch, no Lightning, no Hydra, no data."""
