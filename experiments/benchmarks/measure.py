"""One measurement in this process: ``python measure.py MODULE.FUNCTION ARGUMENTS RESULT``.

``ARGUMENTS`` are JSON; what the function returns goes to the file ``RESULT`` as JSON.
"""

import importlib
import json
import sys
from pathlib import Path


def main() -> None:
    call, arguments, result = sys.argv[1:]
    module, _, function = call.rpartition(".")
    value = getattr(importlib.import_module(module), function)(**json.loads(arguments))
    Path(result).write_text(json.dumps(value), encoding="utf-8")


if __name__ == "__main__":
    main()
