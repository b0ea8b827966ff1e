"""``python -m llm_lightning``, and the console script ``llm-lightning``."""

import sys

from llm_lightning.commands.main import main as run_command_line
from llm_lightning.commands.startup import run_and_exit


def main() -> None:
    """Runs the command line and ends the process with its exit status."""
    run_and_exit(lambda: run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
