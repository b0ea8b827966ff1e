"""``python -m llm_lightning``."""

from llm_lightning.commands.main import main

main()
