"""What a model is trained on: from files to batches."""
