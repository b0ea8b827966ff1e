"""Runs the modules that write the packaged data."""

import os
import subprocess
import sys
from pathlib import Path


def written_by(module: str, out: Path) -> bytes:
    """What the module's command writes to a file, in a process with a fixed seed of hashes."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-m", module, "--out", str(out)], check=True, env=environment)
    return out.read_bytes()
