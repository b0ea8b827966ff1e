"""Damages files of every kind that users open, and reads them: a ValueError, or nothing wrong.

    python experiments/reliability/fuzz.py --cases 500 --out table.md

Each case changes a good file: bytes are flipped, cut, repeated or inserted, numbers become extreme,
values of JSON become values of another type. A case fails if anything but a ValueError comes out,
or if it takes more than ten seconds. `tests/properties` runs a few cases of each kind.
"""

import argparse
import json
import random
import resource
import shutil
import struct
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file

from llm_lightning.backbone.checkpoint import checkpoint_files, save_weights
from llm_lightning.backbone.families import architecture, locate
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.huggingface.configuration import own_context_length, read_config
from llm_lightning.backbone.huggingface.gguf_header import check_header
from llm_lightning.backbone.huggingface.tokenizer import load_tokenizer
from llm_lightning.backbone.tensor_files import tensor_readers
from llm_lightning.backbone.weights import ModelConfig
from llm_lightning.data.labelled_files import read_labelled
from llm_lightning.data.records import read_records
from llm_lightning.evaluation.judging.items import read_items
from llm_lightning.evaluation.judging.replies import read_reply
from llm_lightning.evaluation.judging.rubrics import RUBRICS
from llm_lightning.reporting.read.run_folders import read_run
from llm_lightning.run_format import files, status
from llm_lightning.run_format.configuration import read_configuration
from llm_lightning.run_format.summary import read_summary
from llm_lightning.runs.load import load_task
from llm_lightning.tasks.classifier import Classifier

SLOWEST_S = 10.0
EXTREME = [
    b"0", b"-1", b"1e999", b"NaN", b"-Infinity", b"9223372036854775808", b"9" * 400, b"null",
    b"true", b'""', b"[]", b"{}", b"\xff\xfe", b"\0", b'"', b"'", b",", b";", b"\t", b"\r", b"\n",
    b"=", b"{{", b"&a [*a]", b"\xf0\x9f\x98\x80", b"\xed\xa0\xbd", b"<think>", b"<|endoftext|>",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, -1, 0, 10**18, 1e308, float("nan"), "", "x", "\ud83d", [], {}, [[]], {"x": None},
    "2026-01-01T00:00:00", "../../x", "a" * 5000,
]  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A kind of file, and what reads it."""

    name: str
    good: list[bytes]
    """Contents that are read without a complaint."""
    suffix: str
    """Of the file, or its whole name."""
    read: Callable[[Path], object]
    beside: dict[str, bytes] = field(default_factory=dict)
    """Other files in the same folder, by their names."""


@dataclass
class Outcome:
    """What the cases of a target came to."""

    name: str
    cases: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    failures: list[str] = field(default_factory=list)


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Returns a changed copy of a file's content."""
    if draw.random() < 0.4 and (changed := _other_value(content, draw)) is not None:
        return changed
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(6)
        end = min(len(data), at + draw.choice((1, 4, 50, 1000)))
        if kind == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del data[at:end]
        elif kind == 2:
            data[at:at] = data[at:end] * draw.choice((1, 3))
        elif kind == 3:
            data[at:at] = draw.choice(EXTREME)
        elif kind == 4:
            number = draw.choice((0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1))
            data[at : at + 8] = struct.pack("<Q", number)
        else:
            del data[at:]
    return bytes(data)


def _other_value(content: bytes, draw: random.Random) -> bytes | None:
    """JSON with another value somewhere, or without it; ``None`` if it is no JSON object."""
    try:
        value = json.loads(content)
    except ValueError:
        return None
    part, places = value, list(_places(value))
    if not places:
        return None
    for key in (path := draw.choice(places))[:-1]:
        part = part[key]
    if draw.random() < 0.2:
        del part[path[-1]]
    else:
        part[path[-1]] = draw.choice(VALUES)
    return json.dumps(value).encode()


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    keys: Any = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield (*path, key)
        yield from _places(value[key], (*path, key))


def run(target: Target, cases: int, seed: int, folder: Path) -> Outcome:
    """Reads damaged files.

    Args:
        target: what to damage.
        cases: how many.
        seed: of the damage.
        folder: to write to.

    Raises:
        ValueError: if a good file is not read.
    """
    outcome = Outcome(target.name)
    draw = random.Random(f"{target.name} {seed}")
    file = folder / (target.suffix if "." in target.suffix[1:] else f"case{target.suffix}")
    file.parent.mkdir(parents=True, exist_ok=True)
    for name, content in target.beside.items():
        (file.parent / name).write_bytes(content)
    for content in target.good:
        file.write_bytes(content)
        target.read(file)
    for number in range(cases):
        file.write_bytes(damaged(draw.choice(target.good), draw))
        started = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                target.read(file)
        except ValueError:
            outcome.refused += 1
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            outcome.failures.append(
                f"case {number}: {type(error).__name__}: {str(error)[:100]} "
                f"({Path(where.filename).name}:{where.lineno})"
            )
            shutil.copy(file, folder / f"failed-{target.name.replace(' ', '_')}-{number}")
        took = time.monotonic() - started
        outcome.slowest_s = max(outcome.slowest_s, took)
        if took > SLOWEST_S:
            outcome.failures.append(f"case {number}: {took:.1f} s")
        outcome.cases += 1
    return outcome


@contextmanager
def targets() -> Iterator[list[Target]]:
    """Yields all targets; their good files are in a folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        yield [*_of_data(Path(scratch)), *_of_models(Path(scratch)), *_of_runs(Path(scratch))]


def _of_data(scratch: Path) -> list[Target]:
    rows = [
        {"text": f"see you at {hour}", "label": "ham" if hour % 2 else "spam"} for hour in range(9)
    ]
    table = pd.DataFrame(rows)
    table.to_parquet(scratch / "t.parquet")
    lines = "\n".join(map(json.dumps, rows)).encode()
    quoted = table.to_csv(index=False, quoting=1).encode()
    tabs, semicolons = (table.to_csv(index=False, sep=one).encode() for one in "\t;")
    records = [
        {"instruction": "Spell it.", "input": "freind", "output": "friend"},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]},
        {"instruction": "Go on.", "output": "ok", "history": [["a", "b"]], "system": "Be kind."},
    ]
    replies = [
        b'{"score": 85}', b"Score: 85/100", b"85", b"<think>It has 3 parts, so 40</think> 70",
        b'First {"score": 10}, no, {"score": 20}', b"```json\n{\"score\": 7}\n```",
    ]  # fmt: skip

    def labelled(file: Path) -> object:
        return read_labelled(file, text_column="text", label_column="label")

    def scored(file: Path) -> object:
        text = file.read_bytes().decode("utf-8", errors="replace")
        for rubric in RUBRICS.values():
            score = read_reply(text, rubric.lowest, rubric.highest).score
            if score is not None and not rubric.lowest <= score <= rubric.highest:
                raise TypeError(f"a score of {score!r}")
        return None

    return [
        Target(
            "CSV table", [table.to_csv(index=False).encode(), quoted, semicolons], ".csv", labelled
        ),
        Target("TSV table", [tabs], ".tsv", labelled),
        Target("JSON Lines table", [lines], ".jsonl", labelled),
        Target("Parquet table", [(scratch / "t.parquet").read_bytes()], ".parquet", labelled),
        Target("records in JSON", [json.dumps(records).encode()], ".json", read_records),
        Target(
            "records in JSON Lines",
            ["\n".join(map(json.dumps, records)).encode()],
            ".jsonl",
            read_records,
        ),
        Target("judge's replies", replies, ".txt", scored),
    ]


def _of_models(scratch: Path) -> list[Target]:
    state = {"wte.weight": torch.ones(5, 2), "ln_f.bias": torch.zeros(2)}
    save_file(state, scratch / "m.safetensors")
    torch.save(state, scratch / "m.bin")
    torch.save(state, scratch / "old.bin", _use_new_zipfile_serialization=False)
    llama = {
        "model_type": "llama", "vocab_size": 20, "hidden_size": 8, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16,
    }  # fmt: skip
    bert = llama | {"model_type": "bert"}
    index = {"metadata": {"total_size": 9}, "weight_map": {"a": "case.json", "b": "case.json"}}
    key, kind = b"general.architecture", struct.pack("<I", 8)
    text = struct.pack("<Q", 5) + b"llama"
    tensor = struct.pack("<Q", 1) + b"w" + struct.pack("<IQQIQ", 2, 4, 2, 0, 0)
    array = struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 4, 3) + bytes(12)
    header = struct.pack("<IQQ", 3, 1, 2) + struct.pack("<Q", len(key)) + key + kind + text + array
    gguf = b"GGUF" + header + tensor
    gguf += bytes(-len(gguf) % 32 + 32)

    def tensors(file: Path) -> object:
        return [reader.read() for reader in tensor_readers(file).values()]

    def encoded(file: Path) -> object:
        return load_tokenizer(file.parent).encode("a b")

    tokenizer = _tokenizer()

    def configuration(file: Path) -> object:
        return own_context_length(read_config(file.parent))

    return [
        Target("safetensors", [(scratch / "m.safetensors").read_bytes()], ".safetensors", tensors),
        Target(
            "pickled weights",
            [(scratch / f"{n}.bin").read_bytes() for n in ("m", "old")],
            ".bin",
            tensors,
        ),
        Target("GGUF header", [gguf], ".gguf", check_header),
        Target(
            "config.json",
            [json.dumps(one).encode() for one in (llama, bert)],
            "config.json",
            configuration,
        ),
        Target("index of parts", [json.dumps(index).encode()], ".json", checkpoint_files),
        *(
            Target(name, [content], name, encoded, beside=tokenizer)
            for name, content in tokenizer.items()
        ),
    ]


def _tokenizer() -> dict[str, bytes]:
    """The files of a tokenizer of bytes, as transformers saves one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({"</s>": 0, **{c: i for i, c in enumerate(alphabet, 1)}}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    with tempfile.TemporaryDirectory() as folder:
        PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>").save_pretrained(folder)
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def write_run(folder: Path) -> None:
    """Writes the folder of a small classifier as a finished run leaves it."""
    sizes = {"n_layer": 1, "n_head": 1, "n_embd": 2, "n_positions": 8, "vocab_size": 50257}
    save_weights(GPT2(GPTConfig(**sizes)), folder / "base")
    model = ModelConfig(**sizes, weights=str(folder / "base"))
    found = locate(model)
    task = Classifier(
        task={}, model=architecture(model, found), optim={}, class_names=["ham", "spam"],
        finetune={"_target_": "llm_lightning.finetuning.strategies.TopBlocks", "num_blocks": 0},
        class_weights=None, text={"max_length": 8, "padding": "batch"}, seed=1,
    )  # fmt: skip
    task.load_base(model, found)
    saved: dict[str, Any] = {
        "state_dict": task.state_dict(),
        "hyper_parameters": dict(task.hparams),
    }
    task.on_save_checkpoint(saved)
    (folder / files.CHECKPOINTS).mkdir(parents=True)
    torch.save(saved, folder / files.CHECKPOINTS / files.LAST)
    splits = ("train", "val", "test")
    summary = {
        "name": "last_layer", "seed": 1, "fallbacks": [], "kind": "classification",
        "class_names": ["ham", "spam"], "checkpoint": f"{files.CHECKPOINTS}/{files.LAST}",
        "metrics": {one: {"loss": 0.5, "accuracy": 0.5} for one in splits},
        "evaluated_examples": {"test": 2}, "epochs": 1, "experiment": "last_layer",
        "data": {"splits": {one: {"examples": 2, "sha256": "f"} for one in splits}},
        "parameters": {"trainable": 2, "total": 10}, "overrides": ["+experiment=last_layer"],
        "weights": {"model": "nano", "source": "a folder"},
        "seconds": {"total": 1.0, "training": 0.5, "validation": 0.0, "evaluation": 0.5},
        "device": "cpu", "precision": "32-true", "versions": {"torch": "2"}, "finished_at": "now",
    }  # fmt: skip
    (folder / files.SUMMARY).write_text(json.dumps(summary))
    (folder / files.CONFIG).write_text(
        "seed: 1\nmodel: {name: nano}\nclass_names: &a [ham]\nb: *a\n"
    )
    status.write(folder, "finished")
    (folder / files.CURVES).write_text("epoch,step,val/loss\n0,1,0.5\n1,3,0.25\n")
    header = "text,label,predicted,probability_ham,probability_spam\n"
    (folder / files.PREDICTIONS).write_text(header + "a,ham,ham,0.7,0.3\nb,spam,ham,0.6,0.4\n")


def _of_runs(scratch: Path) -> list[Target]:
    folder = scratch / "run"
    write_run(folder)

    def reported(file: Path) -> object:
        return read_run(file.parent, "run")

    responses = [{"instruction": "a", "input": "", "output": "b", "model_response": "c"}]

    def whole(name: str, read: Callable[[Path], object], kind: str) -> Target:
        """A file of a whole run folder, of which nothing else is damaged."""
        good = (folder / name).read_bytes()

        def inside(file: Path) -> object:
            target = folder / name
            target.write_bytes(file.read_bytes())
            try:
                return read(target)
            finally:
                target.write_bytes(good)

        return Target(kind, [good], ".case", inside)

    return [
        whole(files.SUMMARY, lambda file: read_summary(file.parent), "summary.json"),
        whole(files.SUMMARY, reported, "summary.json in a report"),
        whole(files.STATUS, status.checked, "status.json"),
        whole(files.CONFIG, lambda file: read_configuration(file.parent), "config.yaml"),
        whole(files.CURVES, reported, "metrics.csv in a report"),
        whole(files.PREDICTIONS, reported, "predictions in a report"),
        whole(
            f"{files.CHECKPOINTS}/{files.LAST}",
            lambda file: load_task(file.parents[1]),
            "checkpoint",
        ),
        Target("responses to judge", [json.dumps(responses).encode()], ".json", read_items),
    ]


def main() -> None:
    """Runs all targets and writes a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=500, help="of each kind of file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="kinds that contain this text")
    parser.add_argument("--out", type=Path, help="file for the table")
    options = parser.parse_args()
    lines = [
        "| kind of file | cases | refused | read | failures | slowest |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    failures: list[str] = []
    total = 0
    with targets() as known, tempfile.TemporaryDirectory() as folder:
        for number, target in enumerate(known):
            if options.only and options.only not in target.name:
                continue
            found = run(target, options.cases, options.seed, Path(folder) / str(number))
            total += found.cases
            read = found.cases - found.refused - len(found.failures)
            lines.append(
                f"| {found.name} | {found.cases:,} | {found.refused:,} | {read:,} | "
                f"{len(found.failures)} | {found.slowest_s:.2f} s |"
            )
            print(lines[-1], flush=True)
            failures += [f"{found.name}: {one}" for one in found.failures]
            for one in found.failures[:5]:
                print("   ", one, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines += ["", f"{total:,} cases, {len(failures)} failures; peak memory {peak:,.0f} MiB."]
    lines += [f"- {one}" for one in failures]
    print(lines[-1 - len(failures)])
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
