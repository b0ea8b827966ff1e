"""Task files in the formats of MMLU, HellaSwag and a generation task, made of public-domain books.

The questions have no meaning: a benchmark's own data need the Hub, and time does not depend on
whether an answer is right. Lengths are those of the benchmarks: about 80 tokens a question of MMLU,
60 a context and 25 an ending of HellaSwag.
"""

import json
import random
import re
from pathlib import Path

import yaml


def sentences(books: Path) -> list[str]:
    """Sentences of all books, in an order drawn once."""
    found = []
    for file in sorted(books.glob("*.txt")):
        text = " ".join(file.read_text(encoding="utf-8").split())
        found += [s for s in re.split(r"(?<=[.!?]) ", text) if 40 < len(s) < 200]
    random.Random(1).shuffle(found)
    return found


def write_tasks(folder: Path, books: Path, questions: int) -> None:
    """Writes the tasks letters, endings, answers, solutions and texts with their data."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = iter(sentences(books))
    chance = random.Random(2)

    def some(number: int) -> str:
        return " ".join(next(pool) for _ in range(number))

    def short(number: int) -> list[str]:
        return [" ".join(next(pool).split()[:8]) for _ in range(number)]

    data = {
        "letters": [
            {"question": some(1), "choices": short(4), "answer": chance.randrange(4)}
            for _ in range(questions)
        ],
        "endings": [
            {
                "query": some(2),
                "choices": [next(pool) for _ in range(4)],
                "label": chance.randrange(4),
            }
            for _ in range(questions)
        ],
        "answers": [{"question": some(1), "answer": "a"} for _ in range(questions)],
        "solutions": [{"question": some(1)} for _ in range(questions)],
        "texts": [{"text": some(20)} for _ in range(max(1, questions // 4))],
    }
    for name, records in data.items():
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    mean = {"aggregation": "mean", "higher_is_better": True}
    accuracy = {"metric": "acc", **mean}
    settings = {
        "letters": {
            "output_type": "multiple_choice",
            "doc_to_text": "{{question}}\nA. {{choices[0]}}\nB. {{choices[1]}}\n"
            "C. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:",
            "doc_to_choice": ["A", "B", "C", "D"],
            "doc_to_target": "answer",
            "fewshot_split": "test",
            "fewshot_config": {"sampler": "first_n"},
            "metric_list": [accuracy],
        },
        "endings": {
            "output_type": "multiple_choice",
            "doc_to_text": "{{query}}",
            "doc_to_choice": "choices",
            "doc_to_target": "label",
            "metric_list": [accuracy, {"metric": "acc_norm", **mean}],
        },
        "answers": {
            "output_type": "generate_until",
            "doc_to_text": "{{question}}\nAnswer:",
            "doc_to_target": "answer",
            "generation_kwargs": {"until": ["\n\n"], "do_sample": False, "max_gen_toks": 32},
            "metric_list": [{"metric": "exact_match", **mean}],
        },
        "solutions": {
            "output_type": "generate_until",
            "doc_to_text": "Question: {{question}}\nAnswer:",
            "doc_to_target": "{{question.split()[:12]|join(' ')}}",
            "fewshot_split": "test",
            "fewshot_config": {"sampler": "first_n"},
            "generation_kwargs": {"until": ["Question:"], "do_sample": False, "max_gen_toks": 64},
            "metric_list": [{"metric": "exact_match", **mean}],
        },
        "texts": {
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{text}}",
            "metric_list": [{"metric": "word_perplexity"}],
        },
    }
    for name, fields in settings.items():
        files = {"test": str((folder / f"{name}.jsonl").absolute())}
        common = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": files},
            "test_split": "test",
            "metadata": {"version": 1.0},
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(common | fields))
