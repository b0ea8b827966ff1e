"""Task files of a user's own: MMLU's letters, HellaSwag's endings, generated answers, texts."""

import json
import random
from pathlib import Path

import yaml

_WORDS = ["red", "blue", "green", "tree", "house", "river", "stone", "cloud", "bird", "fish", "sad"]


def write_tasks(folder: Path, questions: int = 12) -> Path:
    """Writes four tasks with their data; returns the folder for ``--include``."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(1)

    def some(count: int) -> str:
        return " ".join(chance.choice(_WORDS) for _ in range(count))

    data = {
        "letters": [
            {"question": f"What is {some(6)}? ", "choices": [some(2) for _ in range(4)],
             "answer": chance.randrange(4)}
            for _ in range(questions)
        ],
        "endings": [
            {"query": f"{some(chance.randrange(3, 20))}.",
             "choices": [some(chance.randrange(1, 9)) for _ in range(4)],
             "label": chance.randrange(4)}
            for _ in range(questions)
        ],
        "answers": [{"question": f"Say {some(3)}.", "answer": some(1)} for _ in range(questions)],
        "books": [{"text": some(chance.randrange(5, 900))} for _ in range(4)],
    }  # fmt: skip
    for name, records in data.items():
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text(lines)

    def task(name: str, **fields: object) -> None:
        files = {"test": str(folder / f"{name}.jsonl")}
        common = {
            "task": f"my_{name}", "dataset_path": "json", "dataset_kwargs": {"data_files": files},
            "test_split": "test", "metadata": {"version": 1.0},
        }  # fmt: skip
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(common | fields))

    mean = {"aggregation": "mean", "higher_is_better": True}
    task(
        "letters",
        output_type="multiple_choice",
        doc_to_text="{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\n"
        "C. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:",
        doc_to_choice=["A", "B", "C", "D"],
        doc_to_target="answer",
        fewshot_split="test",
        fewshot_config={"sampler": "first_n"},
        metric_list=[{"metric": "acc", **mean}],
    )
    task(
        "endings",
        output_type="multiple_choice",
        doc_to_text="{{query}}",
        doc_to_choice="choices",
        doc_to_target="label",
        metric_list=[{"metric": "acc", **mean}, {"metric": "acc_norm", **mean}],
    )
    task(
        "answers",
        output_type="generate_until",
        doc_to_text="Question: {{question}}\nAnswer:",
        doc_to_target="answer",
        generation_kwargs={"until": ["\n", "."], "do_sample": False, "max_gen_toks": 12},
        metric_list=[{"metric": "exact_match", **mean}],
    )
    task(
        "books",
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="{{text}}",
        metric_list=[{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    )
    return folder
