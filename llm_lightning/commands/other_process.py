"""``python -m llm_lightning.commands.other_process``: one more process of a run on several devices.

Not for people: the run's first process starts it.
"""

import sys
from dataclasses import replace

from hydra.core.hydra_config import HydraConfig

from llm_lightning.config.composed import Composed
from llm_lightning.config.jobs import job_of
from llm_lightning.runs.network_job import NetworkJob
from llm_lightning.runs.together import receive


def main() -> None:
    """Does this process's part of the job.

    Raises:
        TypeError: if it was started for something else than a network's job.
    """
    told = receive()
    composed = told.job
    if not isinstance(composed, Composed):
        raise TypeError(f"a job is made from what was composed, got {type(composed)}")
    HydraConfig.instance().set_config(composed.hydra)
    job = job_of(composed.cfg, composed.choices)
    if not isinstance(job, NetworkJob):
        raise TypeError(f"only networks train in several processes, got {type(job)}")
    # What replaces unavailable weights was decided before; see the main process.
    replace(job, fallback=None, processes=told.processes).join(told)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
