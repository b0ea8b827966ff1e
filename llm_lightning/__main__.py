"""``python -m llm_lightning``."""

from llm_lightning.cli import main

main()
