"""Which of several machines this one is, and where their processes meet: as torchrun tells it."""

from collections.abc import Mapping
from dataclasses import dataclass

_NODE, _HOST, _PORT = "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"


@dataclass(frozen=True)
class MeetingPlace:
    """Where a run's first process listens."""

    host: str
    port: int


def node_rank(environment: Mapping[str, str], num_nodes: int) -> int:
    """Returns the number of this machine, from 0.

    Args:
        environment: with ``NODE_RANK`` if there are several machines.
        num_nodes: how many there are.

    Raises:
        ValueError: if it is missing or out of range.
    """
    if num_nodes == 1:
        return 0
    value = environment.get(_NODE, "")
    if not value.isdecimal() or int(value) >= num_nodes:
        raise ValueError(
            f"trainer.num_nodes={num_nodes} needs {_NODE} in the environment, a number from 0 to "
            f"{num_nodes - 1} on each machine, got {value!r}"
        )
    return int(value)


def meeting_place(environment: Mapping[str, str]) -> MeetingPlace:
    """Returns where the processes of several machines meet.

    Args:
        environment: with ``MASTER_ADDR`` and ``MASTER_PORT``.

    Raises:
        ValueError: if one is missing or impossible.
    """
    host, port = environment.get(_HOST, ""), environment.get(_PORT, "")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"several machines need {_HOST} and {_PORT} in the environment: the address of the "
            f"first one, and a free port there; got {host!r} and {port!r}"
        )
    return MeetingPlace(host, int(port))
