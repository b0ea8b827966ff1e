"""``python -m llm_lightning``, and the console script ``llm-lightning``."""

import sys

from llm_lightning.distributed.cores import limit_waiting
from llm_lightning.training import stop_signals


def main() -> None:
    """Runs the command line and ends the process with its exit status."""
    limit_waiting()
    with stop_signals.handled():  # before the imports, which take a moment
        try:
            from llm_lightning.commands.main import main as run_command_line
            from llm_lightning.commands.startup import run_and_exit
        except KeyboardInterrupt:
            sys.exit(stop_signals.exit_status())
        run_and_exit(lambda: run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
