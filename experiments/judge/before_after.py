"""What a small judge says of a run's responses, before its fine-tuning and after.

    python experiments/judge/before_after.py MODEL.gguf RUN --out before_after.json

RUN is the folder of an instruction run, which keeps the responses of both. The server and the
judge's functions are those of small_judge.py; each response is scored alone, and then both side by
side in both orders.
"""

import argparse
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

from small_judge import against_exact_match, served, share

from llm_lightning.commands.judge import judge_run
from llm_lightning.commands.judge_duel import duel
from llm_lightning.evaluation.judging.judgement import Settings
from llm_lightning.evaluation.judging.rubrics import RUBRICS
from llm_lightning.run_format.files import RESPONSES, UNTRAINED_RESPONSES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--tasks", type=int, default=12)
    parser.add_argument("--rubric", choices=RUBRICS, default="score100")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    url = (server := served(options.model)).listening_address
    with urlopen(f"{url}/v1/models") as answer:
        name = json.load(answer)["data"][0]["id"]
    settings = Settings(name, RUBRICS[options.rubric], url=url, api="openai", timeout_s=3600.0)
    results: dict[str, Any] = {"judge": options.model.name, "rubric": options.rubric}
    with TemporaryDirectory() as scratch:
        folders = {}
        for key, file in (("before", UNTRAINED_RESPONSES), ("after", RESPONSES)):
            folders[key] = Path(scratch) / key
            folders[key].mkdir()
            shutil.copy(options.run / file, folders[key] / RESPONSES)
            judgement, _ = judge_run(folders[key], settings, options.tasks)
            report, scores = judgement.report(), [one.score for one in judgement.item_scores]
            counts = report["counts"]
            replies = counts["items"] - counts["empty"]
            results[key] = {
                "empty": counts["empty"],
                "parsed": share(replies - counts["unparsed"], replies),
                "mean": report["mean"],
                "scores": sorted({score for score in scores if score is not None}),
                "exact_match": against_exact_match(folders[key], scores),
            }
            print(key, results[key], flush=True)
        found, _, _ = duel(folders["after"], folders["before"], settings, options.tasks)
        asked = [one for one in found.verdicts if one.winner is not None]
        results["after against before"] = {
            "counts": found.counts,
            "same_in_both_orders": share(sum(one.is_consistent for one in asked), len(asked)),
            "first_won": share(found.position.first, found.position.decided),
            "share_of_after": found.report()["share_of_a"],
        }
    del server
    print(results["after against before"])
    options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
