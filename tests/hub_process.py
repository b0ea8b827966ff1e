"""A process of its own, for which a server of the test is the Hub.

HF_ENDPOINT and HF_HOME take effect when huggingface_hub is imported.
"""

import os
import subprocess
import sys
from pathlib import Path


def in_new_process(
    program: str, endpoint: str, hf_home: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a Python program with a Hub and a cache of its own; it must succeed."""
    inherited = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    own = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(hf_home),
        "HF_HUB_OFFLINE": "0",
        "LLM_LIGHTNING_OFFLINE": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=inherited | own | environment,
        capture_output=True,
        text=True,
        check=True,
    )
