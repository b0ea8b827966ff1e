"""GPT-2: network, tokenizer, weights, generation. Plain torch, without Lightning, Hydra or data."""
