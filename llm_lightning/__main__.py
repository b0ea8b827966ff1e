"""``python -m llm_lightning``, and the console script ``llm-lightning``."""

import sys

from llm_lightning.commands.main import main as run_command_line
from llm_lightning.commands.startup import run_and_exit
from llm_lightning.cores import limit_waiting


def main() -> None:
    """Runs the command line and ends the process with its exit status."""
    limit_waiting()
    run_and_exit(lambda: run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
