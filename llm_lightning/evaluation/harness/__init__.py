"""EleutherAI's lm-evaluation-harness on a model in place."""
