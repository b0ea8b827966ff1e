"""transformers and PEFT, in their default form and in their best sensible one.

Default: padded to the longest text, fp32, transformers' own ``Trainer`` from end to end. Best:
padded to the batch, batches of similar length, bf16 where the machine computes in it natively, no
key/value cache, a fused optimizer, a loop without callbacks; in bf16 on CPUs ``eager`` attention,
since the gradient of the fused kernel takes longer there. Dropout is 0 and the weights are ours, in
both.
"""

from typing import Any

import torch
from flops import adapter_weights
from loop import (
    BATCH_SIZE,
    EVAL_BATCH_SIZE,
    LEARNING_RATES,
    PADDING_ID,
    WEIGHT_DECAY,
    Peer,
    estimated,
    read,
    timed_steps,
    train_and_evaluate,
)
from plain import SEED, Model
from timing import device_facts, step_result
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    Trainer,
    TrainingArguments,
)

from llm_lightning.backbone.checkpoint import described, to_transformers
from llm_lightning.training.allocator import keep_freed_memory
from llm_lightning.training.precision import resolve

ADAPTED = ["c_attn", "c_proj", "c_fc"]
RANK = 16


def end_to_end(
    *,
    inputs: str,
    sizes: dict[str, int],
    strategy: str,
    epochs: int,
    form: str,
    estimate: bool = False,
) -> dict[str, Any]:
    """Trains and evaluates in the form ``default``, ``best`` or ``best, fp32``."""
    prepared = read(inputs)
    splits, width = prepared["splits"], prepared["max_length"]
    peer = _peer(sizes, strategy, width, form)
    if form != "default":
        return train_and_evaluate(peer, splits, strategy, epochs)
    if estimate:
        # The Trainer's own cost a step is small beside a padded step; it is left out here.
        return estimated(peer, splits, strategy, epochs, timed=20)
    return _with_trainer(peer, splits, strategy, epochs)


def steps(
    *,
    inputs: str,
    sizes: dict[str, int],
    strategy: str,
    warmup: int,
    form: str,
    device: str = "cpu",
    is_compiled: bool = False,
    batch_size: int = BATCH_SIZE,
) -> dict[str, Any]:
    """Times optimizer steps, in a loop without callbacks in all forms.

    ``best, kept memory``: the best form, and freed memory stays with the process, as in ours.
    """
    if form == "best, kept memory":
        keep_freed_memory()
    prepared = read(inputs)
    peer = _peer(sizes, strategy, prepared["max_length"], form, device)
    if is_compiled:
        peer.module.compile()
    examples = prepared["examples"]
    seconds, shapes, first_pass_s = timed_steps(peer, examples, strategy, warmup, batch_size)
    adapters = adapter_weights(sizes["n_embd"], RANK, is_shared=True) if strategy == "lora" else 0
    return device_facts(torch.device(device)) | step_result(
        seconds,
        shapes,
        first_pass_s=first_pass_s,
        real_tokens=sum(len(ids) for ids, _ in examples),
        precision="bf16" if peer.bf16 else "fp32",
        sizes=sizes,
        strategy=strategy,
        adapters=adapters,
    )


def _peer(sizes: dict[str, int], strategy: str, width: int, form: str, device: str = "cpu") -> Peer:
    is_best = form != "default"
    bf16 = form.startswith("best") and form != "best, fp32"
    bf16 = bf16 and resolve("auto", device) == "bf16-mixed"
    attention = "eager" if bf16 and device == "cpu" else "sdpa"
    module = _classifier(sizes, strategy, attention).to(device)
    options = {"use_cache": False} if is_best else {}

    def logits(input_ids: Tensor, lengths: Tensor) -> Tensor:
        is_real = torch.arange(input_ids.shape[1], device=device) < lengths[:, None]
        # Without padding none is given: a mask rules out the fastest kernels of a GPU.
        mask = None if is_best and bool(is_real.all()) else is_real.long()
        return module(input_ids, attention_mask=mask, **options).logits

    return Peer(
        module,
        logits,
        width=None if is_best else width,
        groups=is_best,
        bf16=bf16,
        fused=is_best,
        device=device,
    )


def _classifier(sizes: dict[str, int], strategy: str, attention: str) -> nn.Module:
    ours = Model(sizes)
    architecture = described(ours.backbone.config) | {"attn_implementation": attention}
    config = GPT2Config(**architecture, num_labels=2, pad_token_id=PADDING_ID)
    model = GPT2ForSequenceClassification(config)
    model.transformer.load_state_dict(to_transformers(ours.backbone.state_dict()))
    with torch.no_grad():
        model.score.weight.copy_(ours.head.weight)
    if strategy == "lora":
        # Here, so that the other cases do not wait for it.
        from peft import LoraConfig, TaskType, get_peft_model

        torch.manual_seed(SEED)
        adapters = LoraConfig(
            task_type=TaskType.SEQ_CLS,  # the head trains too
            r=RANK,
            lora_alpha=RANK,
            lora_dropout=0.0,
            target_modules=ADAPTED,
            fan_in_fan_out=True,
        )
        return get_peft_model(model, adapters)
    if strategy != "all":
        model.requires_grad_(False)
        model.score.requires_grad_(True)
        num_blocks = {"last_layer": 0, "last_block": 1, "last_two_blocks": 2}[strategy]
        if num_blocks:
            model.transformer.h[-num_blocks:].requires_grad_(True)
            model.transformer.ln_f.requires_grad_(True)
    return model


def _with_trainer(peer: Peer, splits: dict[str, Any], strategy: str, epochs: int) -> dict[str, Any]:
    def collate(examples: list[Any]) -> dict[str, Tensor]:
        input_ids, lengths, labels = peer.collate(examples)
        is_real = torch.arange(input_ids.shape[1]) < lengths[:, None]
        return {"input_ids": input_ids, "attention_mask": is_real.long(), "labels": labels}

    trainer = Trainer(
        peer.module,
        TrainingArguments(
            output_dir="trainer",
            use_cpu=True,
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH_SIZE,
            per_device_eval_batch_size=EVAL_BATCH_SIZE,
            learning_rate=LEARNING_RATES.get(strategy, 5e-5),
            weight_decay=WEIGHT_DECAY,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,  # as ours: gradients are not clipped
            eval_strategy="epoch",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=SEED,
        ),
        data_collator=collate,
        train_dataset=splits["train"],
        eval_dataset=splits["val"],
        compute_metrics=lambda found: {
            "accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())
        },
    )
    trainer.train()
    found = {
        name: trainer.evaluate(rows, metric_key_prefix=name)[f"{name}_accuracy"]
        for name, rows in splits.items()
    }
    # Counted by the Trainer itself: an epoch is the whole split, its last batch included.
    examples = epochs * len(splits["train"])
    return {"optimizer_steps": trainer.state.global_step, "examples": examples, "accuracy": found}
