"""How good a model is: metrics, baselines, responses and their scores."""
