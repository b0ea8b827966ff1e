"""What a small language model is worth as a judge, on a real server on this machine.

    python experiments/judge/small_judge.py MODEL.gguf instruction-data.json --out judge.json

llama.cpp's server with OpenAI's protocol (xllamacpp) runs in this process on 127.0.0.1; the judge's
own functions ask it. Two lists of responses to the same instructions are judged: `own`, what the
model itself answers; and `known`, the reference for every second task and the reference of another
task for the rest, so that it is known which are right.

Measured: how many replies can be read; whether the verdict on two responses stays when their
places change; and whether scores tell responses that equal the reference from those that do not.
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import xllamacpp
from scipy import stats

from llm_lightning.commands.judge import judge_run
from llm_lightning.commands.judge_duel import duel
from llm_lightning.evaluation.judging.items import read_items
from llm_lightning.evaluation.judging.judgement import Settings
from llm_lightning.evaluation.judging.rubrics import RUBRICS
from llm_lightning.run_format.files import RESPONSE, RESPONSES
from llm_lightning.run_format.responses import responses_file
from llm_lightning.statistics.intervals import wilson_interval


def served(model: Path) -> xllamacpp.Server:
    """Starts a server of a model on a free port of 127.0.0.1."""
    options = xllamacpp.CommonParams()
    options.model.path = str(model)
    options.n_ctx, options.n_parallel, options.n_gpu_layers = 4096, 1, 0
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    options.warmup, options.verbosity = False, 0
    return xllamacpp.Server(options)


def share(right: int, n: int) -> dict[str, Any]:
    """A share with its 95 % interval."""
    if n == 0:
        return {"of": 0}
    interval = wilson_interval(right, n)
    return {"count": right, "of": n, "share": right / n, "low": interval.low, "high": interval.high}


def against_exact_match(run: Path, scores: list[int | None]) -> dict[str, Any]:
    """How scores of responses that equal their reference compare with the others'."""
    items = read_items(responses_file(run))[: len(scores)]
    exact = [item.response.split() == item.reference.split() for item in items]
    pairs = [
        (s, e) for s, e, i in zip(scores, exact, items, strict=True) if s is not None and i.response
    ]
    right = [score for score, is_exact in pairs if is_exact]
    wrong = [score for score, is_exact in pairs if not is_exact]
    found: dict[str, Any] = {"exact": len(right), "others": len(wrong)}
    if right and wrong:
        # The chance that an exact response scores higher than another, ties as halves.
        above = stats.mannwhitneyu(right, wrong)
        found |= {
            "mean_of_exact": float(np.mean(right)),
            "mean_of_others": float(np.mean(wrong)),
            "auroc": float(above.statistic / (len(right) * len(wrong))),
            "p": float(above.pvalue),
        }
    return found


def write_responses(folder: Path, records: list[dict[str, str]], responses: list[str]) -> Path:
    """Writes responses as a run does."""
    folder.mkdir(parents=True)
    entries = [r | {RESPONSE: text} for r, text in zip(records, responses, strict=True)]
    (folder / RESPONSES).write_text(json.dumps(entries), encoding="utf-8")
    return folder


def answered(url: str, record: dict[str, str]) -> str:
    """The model's own answer, greedily."""
    body = {
        "messages": [{"role": "user", "content": f"{record['instruction']}\n\n{record['input']}"}],
        "max_tokens": 48,
        "temperature": 0,
    }
    request = Request(f"{url}/v1/chat/completions", json.dumps(body).encode())
    with urlopen(request) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"]).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, help="the book's instruction-data.json")
    parser.add_argument("--tasks", type=int, default=110)
    parser.add_argument("--rubrics", nargs="+", default=list(RUBRICS))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    url = (server := served(options.model)).listening_address
    with urlopen(f"{url}/v1/models") as answer:
        name = json.load(answer)["data"][0]["id"]
    data = json.loads(options.data.read_text(encoding="utf-8"))
    first = int(0.85 * len(data))  # the book's test split
    records = data[first : first + options.tasks]
    references = [record["output"] for record in records]
    known = [
        references[index if index % 2 == 0 else (index + 7) % len(references)]
        for index in range(len(references))
    ]
    results: dict[str, Any] = {"judge": options.model.name, "tasks": len(records)}
    with TemporaryDirectory() as scratch:
        runs = {
            "own": write_responses(
                Path(scratch) / "own", records, [answered(url, record) for record in records]
            ),
            "known": write_responses(Path(scratch) / "known", records, known),
        }
        for rubric in (RUBRICS[key] for key in options.rubrics):
            settings = Settings(name, rubric, url=url, api="openai", timeout_s=3600.0)
            for key, run in runs.items():
                judgement, _ = judge_run(run, settings, None)
                report = judgement.report()
                scores = [one.score for one in judgement.item_scores]
                counts = report["counts"]
                replies = counts["items"] - counts["empty"]
                results.setdefault(rubric.name, {})[key] = {
                    "parsed": share(replies - counts["unparsed"], replies),
                    "form_enforced_by": report["settings"]["enforced"],
                    "mean": report["mean"],
                    "distinct_scores": len({score for score in scores if score is not None}),
                    "exact_match": against_exact_match(run, scores),
                }
                print(rubric.name, key, results[rubric.name][key], flush=True)
        found, _, _ = duel(runs["known"], runs["own"], settings, None)
        asked = [one for one in found.verdicts if one.winner is not None]
        results["pairs, known against own"] = {
            "counts": found.counts,
            "same_in_both_orders": share(sum(one.is_consistent for one in asked), len(asked)),
            "first_won": share(found.position.first, found.position.decided),
            "share_of_known": found.report()["share_of_a"],
        }
    del server
    print(results["pairs, known against own"])
    options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
