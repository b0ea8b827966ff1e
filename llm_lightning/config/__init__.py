"""The schema of every setting, and how a configuration becomes a job."""
