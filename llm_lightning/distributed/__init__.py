"""Several processes that train one model: who they are, what they share, which cores they have."""
