"""A run folder to a RunRecord; what is missing or damaged is reported, not raised."""
