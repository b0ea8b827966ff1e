"""What may be wrong with labelled texts, and which unlabelled ones to label next."""
