r"""How long does the same fine-tuning take with ``transformers.Trainer``, and how accurate is it?

    python experiments/real_models/peer_trainer.py MODEL_FOLDER RUN_FOLDER/splits \
        --train last_block --form best --threads 2

trains on the splits that a run of this project wrote, evaluates the validation split after each
epoch and all three at the end, as our runs do, and prints a line of JSON: seconds, peak memory,
accuracies. Nothing is saved.

``--form default`` is the Trainer as its documentation shows it: padded to the longest text of a
batch, in random order, fp32, evaluated in batches of 8. ``--form best`` sets what makes it faster
without other code: batches of texts of similar length, in training and evaluation, bf16 autocast
where the machine computes in it natively, evaluation in batches of 32, no key/value cache, no
logging.

The same in both forms and in our runs: what trains, a constant learning rate, AdamW's weight decay,
no clipping of gradients, no dropout, and the longest training text as the longest input. Only how
an encoder is pooled is transformers' own choice: the first token and the pooling layer, which
trains where blocks train; our runs average over the tokens.
"""

import argparse
import csv
import json
import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

SPLITS = ("train", "val", "test")
NUM_BLOCKS = {"last_layer": 0, "last_block": 1, "last_two_blocks": 2}
LEARNING_RATES = {"lora": 8e-4}  # as in our experiments; elsewhere 5e-5
RANK = ALPHA = 16


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    started = time.perf_counter()
    _import_libraries(arguments.train)
    imported = time.perf_counter()
    texts = {split: _read(arguments.splits / f"{split}.csv") for split in SPLITS}
    model, tokenizer = _load(arguments, num_labels=1 + max(label for _, label in texts["train"]))
    loaded = time.perf_counter()
    rows, max_length = _encode(tokenizer, texts, arguments.max_length)
    encoded = time.perf_counter()
    result = _train_and_evaluate(arguments, model, tokenizer, rows)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB else
    facts = {
        "train": arguments.train,
        "form": arguments.form,
        "seed": arguments.seed,
        "threads": arguments.threads,
        "precision": "bf16" if _is_bf16(arguments.form) else "fp32",
        "max_length": max_length,
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "import_s": imported - started,
        "loading_s": loaded - imported,
        "encoding_s": encoded - loaded,
        "fine_tuning_s": time.perf_counter() - encoded,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
    }
    print(json.dumps(facts | result))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="folder of a transformers model")
    parser.add_argument("splits", type=Path, help="folder with train.csv, val.csv and test.csv")
    parser.add_argument("--train", choices=(*NUM_BLOCKS, "lora", "all"), default="last_block")
    parser.add_argument("--form", choices=("default", "best"), default="default")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, help="default: 8e-4 for lora, else 5e-5")
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--max-length", type=int, help="default: of the longest training text")
    parser.add_argument("--max-steps", type=int, default=-1, help="to try it out")
    parser.add_argument("--seed", type=int, default=123)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def _import_libraries(strategy: str) -> None:
    """Loads what is used below, so that it is not part of any other time."""
    from transformers import AutoModelForSequenceClassification, Trainer  # noqa: F401

    if strategy == "lora":
        import peft  # noqa: F401


def _read(file: Path) -> list[tuple[str, int]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return [(row["Text"], int(row["Label"])) for row in csv.DictReader(lines)]


def _load(arguments: argparse.Namespace, num_labels: int) -> tuple[nn.Module, Any]:
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    config = AutoConfig.from_pretrained(arguments.model, num_labels=num_labels)
    for name in vars(config):
        if name.endswith(("dropout", "dropout_prob", "pdrop")):
            setattr(config, name, 0.0)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    config.pad_token_id = tokenizer.pad_token_id
    if arguments.form == "best":
        config.use_cache = False
    model = AutoModelForSequenceClassification.from_pretrained(
        arguments.model, config=config, dtype=torch.float32
    )
    return _freeze(model, arguments.train), tokenizer


def _freeze(model: Any, strategy: str) -> nn.Module:
    """Leaves trainable what our strategy of the same name trains."""
    if strategy == "all":
        return model
    blocks_name, blocks = max(
        (
            (name, module)
            for name, module in model.base_model.named_modules()
            if isinstance(module, nn.ModuleList)
        ),
        key=lambda found: len(found[1]),
    )
    if strategy == "lora":
        from peft import LoraConfig, TaskType, get_peft_model

        linear = [
            re.escape(name) for name, m in blocks[0].named_modules() if isinstance(m, nn.Linear)
        ]
        adapters = LoraConfig(
            task_type=TaskType.SEQ_CLS,  # the head trains too
            r=RANK,
            lora_alpha=ALPHA,
            lora_dropout=0.0,
            target_modules=rf".*{re.escape(blocks_name)}\.\d+\.({'|'.join(linear)})",
        )
        return get_peft_model(model, adapters)
    model.base_model.requires_grad_(False)
    if num_blocks := NUM_BLOCKS[strategy]:
        blocks[-num_blocks:].requires_grad_(True)
        is_after = False
        for name, module in model.base_model.named_children():
            if is_after:  # the final norm of a decoder, the pooling layer of an encoder
                module.requires_grad_(True)
            is_after = is_after or name == blocks_name.partition(".")[0]
    return model


def _encode(
    tokenizer: Any, texts: dict[str, list[tuple[str, int]]], max_length: int | None
) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """Token ids and labels of each split, and the longest input."""
    training = [text for text, _ in texts["train"]]
    longest = max_length or max(map(len, tokenizer(training)["input_ids"]))
    rows = {
        split: [
            {"input_ids": tokenizer(text, truncation=True, max_length=longest)["input_ids"]}
            | {"labels": label}
            for text, label in labelled
        ]
        for split, labelled in texts.items()
    }
    return rows, longest


def _is_bf16(form: str) -> bool:
    found = torch.cpu.get_capabilities()
    return form == "best" and any(found.get(name) for name in ("avx512_bf16", "amx_bf16"))


def _train_and_evaluate(
    arguments: argparse.Namespace, model: nn.Module, tokenizer: Any, rows: dict[str, Any]
) -> dict[str, Any]:
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    is_best = arguments.form == "best"
    forms: dict[str, Any] = {"per_device_eval_batch_size": 8}
    if is_best:
        forms = {
            "per_device_eval_batch_size": 32,
            "train_sampling_strategy": "group_by_length",
            "bf16": _is_bf16(arguments.form),
            "logging_strategy": "no",
        }
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model,
            TrainingArguments(
                output_dir=folder,
                use_cpu=True,
                num_train_epochs=arguments.epochs,
                max_steps=arguments.max_steps,
                per_device_train_batch_size=arguments.batch_size,
                learning_rate=arguments.lr or LEARNING_RATES.get(arguments.train, 5e-5),
                weight_decay=arguments.weight_decay,
                lr_scheduler_type="constant",
                max_grad_norm=0.0,
                eval_strategy="epoch",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=arguments.seed,
                **forms,
            ),
            data_collator=DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer,
            train_dataset=rows["train"],
            eval_dataset=rows["val"],
            compute_metrics=_accuracy,
        )
        started = time.perf_counter()
        trainer.train()
        trained = time.perf_counter()
        accuracy = {
            split: trainer.evaluate(found, metric_key_prefix=split)[f"{split}_accuracy"]
            for split, found in rows.items()
        }
    return {
        "training_s": trained - started,
        "evaluation_s": time.perf_counter() - trained,
        "optimizer_steps": trainer.state.global_step,
        "accuracy": accuracy,
    }


def _accuracy(found: Any) -> dict[str, float]:
    return {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())}


if __name__ == "__main__":
    main()
