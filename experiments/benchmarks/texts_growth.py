"""Time and memory of ``last_block`` on nano against the number of short texts.

python experiments/benchmarks/texts_growth.py --out growth --texts 12500 25000 50000 100000

writes ``texts_growth.csv`` and ``texts_growth.png``. The texts are made up, 30 tokens long on
average. Memory is what the process allocated itself; pages of the file of frozen activations, which
the system takes back when it needs them, are counted separately. Processor time is what is to grow
linearly: it hardly depends on what else the machine does.
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

_WORDS = 12_000  # that texts are made of
_SAMPLED_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--texts", type=int, nargs="+", default=[12_500, 25_000, 50_000, 100_000])
    parser.add_argument("--set", nargs="*", default=["trainer.max_epochs=1", "baselines=[]"])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    found = [measured(number, args.set) for number in args.texts]
    file = args.out / "texts_growth.csv"
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, fieldnames=list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    if len(found) > 1:
        draw(found, args.out / "texts_growth.png")


def measured(number: int, settings: list[str]) -> dict[str, Any]:
    """Trains on so many texts in a process of its own; prints and returns what it took."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "texts.csv"
        write_texts(table, number)
        command = [
            *(sys.executable, "-m", "llm_lightning", "+experiment=last_block", "model=nano"),
            *("data=table", f"data.path='{table}'", f"runs_dir='{folder}/runs'", *settings),
        ]
        own = {"LLM_LIGHTNING_OFFLINE": "1", "LLM_LIGHTNING_CACHE": f"{folder}/cache"}
        before, started = os.times(), time.perf_counter()
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log)
            memory = Memory(process.pid)
            code = process.wait()
        if code:
            raise SystemExit((Path(folder) / "log").read_text()[-3000:])
        seconds, after = time.perf_counter() - started, os.times()
        (file,) = Path(folder).glob("runs/*/*/summary.json")
        summary = json.loads(file.read_text(encoding="utf-8"))
    frozen = summary["frozen_activations"]
    facts = {
        "texts": number,
        "processor_s": after.children_user + after.children_system - before.children_user
        - before.children_system,
        "seconds": seconds,
        "own_mib": memory.peak("RssAnon"),
        "mapped_mib": memory.peak("RssFile"),
        "activations_mib": frozen["mib"],
        "kept_in": frozen["kept_in"],
        "frozen_s": frozen["seconds"],
        "steps": summary["optimizer_steps"],
    }  # fmt: skip
    shown = {key: round(one, 1) if isinstance(one, float) else one for key, one in facts.items()}
    print(shown, flush=True)
    return shown


def write_texts(file: Path, number: int) -> None:
    """Writes texts that no two have alike, of two classes that a word tells apart."""
    draw = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 6))) for _ in range(_WORDS)]
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["text", "label"])
        for index in range(number):
            text = draw.choices(words, k=draw.randint(4, 18))
            is_spam = draw.random() < 0.5
            text.insert(draw.randrange(len(text)), "prize" if is_spam else "dinner")
            writer.writerow([f"{' '.join(text)} {index}", "spam" if is_spam else "ham"])


class Memory:
    """Watches the memory of a process, as Linux counts it by kind.

    Args:
        pid: of the process, which ends by itself.
    """

    def __init__(self, pid: int) -> None:
        self._file = Path(f"/proc/{pid}/status")
        self._peaks: dict[str, float] = {}
        threading.Thread(target=self._watch, daemon=True).start()

    def peak(self, kind: str) -> float:
        """Returns the most that was seen, in MiB."""
        return self._peaks.get(kind, 0.0)

    def _watch(self) -> None:
        while True:
            try:
                lines = self._file.read_text().splitlines()
            except OSError:
                return
            for line in lines:
                kind, _, value = line.partition(":")
                if kind in ("RssAnon", "RssFile"):
                    self._peaks[kind] = max(
                        self._peaks.get(kind, 0.0), int(value.split()[0]) / 1024
                    )
            time.sleep(_SAMPLED_S)


def draw(found: list[dict[str, Any]], file: Path) -> None:
    """Draws processor time and memory against the number of texts."""
    import matplotlib.pyplot as plt  # after the children, which count as this process's memory

    figure, (times, sizes) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    texts = [one["texts"] for one in found]
    times.plot(texts, [one["processor_s"] for one in found], marker="o")
    times.set(title="processor time", xlabel="texts", ylabel="s", ylim=(0, None))
    for key, label in (("own_mib", "own memory"), ("activations_mib", "frozen activations")):
        sizes.plot(texts, [one[key] for one in found], marker="o", label=label)
    sizes.set(title="memory", xlabel="texts", ylabel="MiB", ylim=(0, None))
    sizes.legend()
    for axes in (times, sizes):
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()
