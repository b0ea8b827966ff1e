"""Options that several commands have, in words; nothing is imported for them."""

ALLOW_DOWNLOAD = "fetch the run's base from the Hub if it is not on this machine"
"""Help of ``--allow-download``, of every command that loads a run's model."""
