"""How much of the time goes into checkpoints, at the default setting?

    python experiments/reliability/saving.py --smollm2 FOLDER --seconds 60

FOLDER holds SmolLM2-135M as transformers saves it. Each run trains for so many seconds on the
packaged messages, in a process of its own. The share within a run that is shorter than five minutes
is larger than in a long one, which saves every five minutes: the last column has that.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import time
from collections import defaultdict
from importlib import resources
from pathlib import Path
from typing import Any

from llm_lightning.commands import main as cli
from llm_lightning.commands import train as _train  # noqa: F401  imported before the forks
from llm_lightning.run_format import files
from llm_lightning.training.checkpoint_files import CheckpointFiles

COMMON = (
    "data=sms_spam", "data.split=clean", "baselines=[]",
    "trainer.max_epochs=1000", "trainer.limit_val_batches=4", "trainer.limit_test_batches=2",
    "runs_dir=runs",
)  # fmt: skip
_DEFAULT_S = 300
"""Between checkpoints within an epoch."""
_MIB = 2**20


def measure(settings: list[str], seconds: float, folder: Path) -> dict[str, Any]:
    """Runs a command in a process of its own; returns where its time went.

    Args:
        settings: beside the common ones.
        seconds: of training.
        folder: where it runs.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    result = folder / "saves.json"
    sys.stdout.flush()
    if (pid := os.fork()) == 0:
        _child(settings, seconds, folder, result)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        said = (folder / "said.txt").read_text(encoding="utf-8", errors="replace")
        raise SystemExit(f"{' '.join(settings)} ended with {status}:\n{said[-2000:]}")
    (summary,) = (folder / "runs").glob(f"*/*/{files.SUMMARY}")
    found: dict[str, Any] = json.loads(result.read_text())
    return found | {"seconds": json.loads(summary.read_text())["seconds"]}


def _child(settings: list[str], seconds: float, folder: Path, result: Path) -> None:
    os.chdir(folder)
    said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    took: dict[str, list[float]] = defaultdict(list)
    sizes: dict[str, float] = {}
    save = CheckpointFiles.save

    def timed(self: CheckpointFiles, trainer: Any, file: Path, **options: Any) -> Any:
        started = time.perf_counter()
        failure = save(self, trainer, file, **options)
        took[file.name].append(time.perf_counter() - started)
        sizes[file.name] = file.stat().st_size / _MIB
        return failure

    CheckpointFiles.save = timed  # type: ignore[method-assign]
    sys.argv = ["llm_lightning"]
    limit = time.strftime("00:%H:%M:%S", time.gmtime(seconds))
    status = 70
    with contextlib.suppress(SystemExit):
        messages = resources.files("llm_lightning.data.packaged") / "messages.tsv"
        data = f"data.path='{messages}'"
        status = cli.main([*settings, *COMMON, data, f"+trainer.max_time='{limit}'"])
    result.write_text(json.dumps({"took": took, "mib": sizes}))
    sys.stdout.flush()
    os._exit(status)


def row(name: str, found: dict[str, Any]) -> str:
    """Returns a row of the table."""
    took, sizes, seconds = found["took"], found["mib"], found["seconds"]
    each = {file: sum(times) / len(times) for file, times in took.items()}
    counts = ", ".join(f"{file} {len(times)} x {each[file]:.2f} s" for file, times in took.items())
    within = seconds["saving"] / (seconds["training"] + seconds["validation"])
    every = max(_DEFAULT_S, 50 * each["resume.ckpt"])  # dearer ones are rarer
    return (
        f"| {name} | {seconds['training']:.0f} | {counts} | {sizes['resume.ckpt']:.0f} | "
        f"{within:.1%} | {each['resume.ckpt'] / every:.2%} |"
    )


def main() -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--smollm2", type=Path, help="a folder with the model; none: nano alone")
    parser.add_argument("--seconds", type=float, default=60, help="of training, of each run")
    parser.add_argument("--work", type=Path, default=Path("/tmp/saving"))
    options = parser.parse_args()
    os.environ["LLM_LIGHTNING_OFFLINE"] = "1"
    runs = {"nano, all": ["+experiment=all", "model=nano"]}
    if options.smollm2:
        smollm2 = ["model=smollm2_135m", f"model.weights='{options.smollm2.absolute()}'"]
        runs |= {
            f"SmolLM2-135M, {name}": [f"+experiment={name}", *smollm2]
            for name in ("last_block", "all")
        }
    print("| run | training, s | saves | resume.ckpt, MiB | saving here | every five minutes |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    for name, settings in runs.items():
        print(row(name, measure(settings, options.seconds, options.work.absolute())), flush=True)
    shutil.rmtree(options.work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
