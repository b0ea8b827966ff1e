"""Networks, tokenizers, weights, generation: GPT-2 in plain torch, any model of transformers."""
