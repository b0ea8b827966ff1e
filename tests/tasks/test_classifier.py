from typing import Any

import lightning as L
import pytest
import torch
from quiet_trainer import quiet_trainer
from torch.nn import functional as F
from torch.utils.data import DataLoader

from llm_lightning.data.batching import Batch, Example, Padder
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.pooling import POOLINGS, mean, pooled_positions
from llm_lightning.training.divergence import Diverged

TINY = {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 32, "vocab_size": 50257}
TASK_KEYS = ("pooling", "mask_padding", "label_smoothing", "head_dropout")
ALL = {"_target_": "llm_lightning.finetuning.strategies.AllLayers"}
LAST_BLOCK = {"_target_": "llm_lightning.finetuning.strategies.TopBlocks", "num_blocks": 1}


def classifier(**fields: Any) -> Classifier:
    task = {key: fields.pop(key) for key in list(fields) if key in TASK_KEYS}
    defaults: dict[str, Any] = {
        "task": task,
        "model": TINY,
        "finetune": ALL,
        # A large eps keeps steps proportional to gradients: some gradients are zero but for
        # rounding (softmax ignores the keys' bias), which plain Adam would blow up to full steps.
        "optim": {"lr": 0.5, "eps": 1.0},
        "class_names": ["ham", "spam"],
        "class_weights": None,
        "text": {"max_length": 32, "padding": "batch"},
        "seed": 1,
    }
    return Classifier(**defaults | fields)


def examples(lengths: list[int]) -> list[Example]:
    torch.manual_seed(3)
    return [
        Example(torch.randint(50256, (length,)).tolist(), label=i % 2)
        for i, length in enumerate(lengths)
    ]


def batches(rows: list[Example], size: int, padder: Padder | None = None) -> DataLoader:
    collate = (padder or Padder(max_length=32)).collate
    return DataLoader(rows, batch_size=size, collate_fn=collate)  # type: ignore[arg-type]


def fit(model: Classifier, loader: DataLoader, **options: Any) -> L.Trainer:
    trainer = quiet_trainer(**options)
    trainer.fit(model, loader)
    return trainer


pytestmark = [
    pytest.mark.filterwarnings("ignore:You defined a `validation_step`"),
    pytest.mark.filterwarnings("ignore:.*`logger=False`"),
]


# --- what the head reads --------------------------------------------------------------------------


def test_each_pooling_selects_what_its_name_means() -> None:
    hidden = torch.arange(24.0).reshape(2, 3, 4)
    lengths = torch.tensor([2, 3])
    for pooling, expected in {"last_real": [1, 2], "last": [2, 2], "first": [0, 0]}.items():
        read = pooled_positions(lengths, 3, pooling)
        assert read is not None
        assert read.flatten().tolist() == expected
    real = torch.stack([hidden[0, :2].mean(0), hidden[1].mean(0)])
    torch.testing.assert_close(mean(hidden, lengths, "mean_real"), real)
    assert torch.equal(mean(hidden, lengths, "mean"), hidden.mean(1))
    assert pooled_positions(lengths, 3, "mean") is None


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("pooling", ["last_real", "first", "mean_real"])
def test_padding_does_not_change_what_is_pooled_from_real_tokens(
    pooling: str, causal: bool
) -> None:
    model = classifier(pooling=pooling, model=TINY | {"causal": causal})
    rows = examples([3, 9, 5])
    narrow = Padder(max_length=32, padding="batch").collate(rows)
    wide = Padder(max_length=32, padding="max_length").collate(rows)
    expected = model(narrow.input_ids, narrow.lengths)
    torch.testing.assert_close(model(wide.input_ids, wide.lengths), expected)
    alone = Padder(max_length=32, padding="none")
    single = [alone.collate([row]) for row in rows]
    one_by_one = torch.cat([model(batch.input_ids, batch.lengths) for batch in single])
    torch.testing.assert_close(one_by_one, expected)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_the_books_first_rows_do_depend_on_padding(pooling: str) -> None:
    model = classifier(pooling=pooling, mask_padding=False)
    rows = examples([3, 9])
    narrow = Padder(max_length=32, padding="batch").collate(rows)
    wide = Padder(max_length=32, padding="max_length").collate(rows)
    difference = model(narrow.input_ids, narrow.lengths) - model(wide.input_ids, wide.lengths)
    assert difference.abs().min() > 1e-4


@torch.no_grad()
def test_masking_is_what_hides_padding_without_the_causal_rule() -> None:
    rows = examples([3, 9])
    wide = Padder(max_length=32, padding="max_length").collate(rows)
    model = TINY | {"causal": False}
    masked = classifier(model=model)(wide.input_ids, wide.lengths)
    bare = classifier(model=model, mask_padding=False)(wide.input_ids, wide.lengths)
    assert not torch.allclose(masked, bare)


@torch.no_grad()
def test_padding_tokens_inside_a_text_and_empty_texts_are_pooled_by_length() -> None:
    model = classifier()
    padder = Padder(max_length=32)
    text = [5, 6, 50256, 7, 50256]
    both = padder.collate(padder.examples([text, []]))
    alone = padder.collate(padder.examples([text]))
    torch.testing.assert_close(
        model(both.input_ids, both.lengths)[:1], model(alone.input_ids, alone.lengths)
    )
    assert model(both.input_ids, both.lengths).isfinite().all()


# --- training -------------------------------------------------------------------------------------


def test_loss_and_gradient_are_those_of_the_mean_cross_entropy() -> None:
    model, reference = classifier(), classifier()
    loader = batches(examples([3, 9, 5]), size=3)
    batch: Batch = next(iter(loader))
    logits = reference(batch.input_ids, batch.lengths)
    F.cross_entropy(logits, batch.labels).backward()
    reference.optim.optimizer(reference.parameters()).step()
    fit(model, loader)
    for (name, ours), (_, expected) in zip(
        model.named_parameters(), reference.named_parameters(), strict=True
    ):
        torch.testing.assert_close(ours, expected, msg=name)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_can_be_clipped_in_every_precision(precision: Any) -> None:
    model = classifier(optim={"lr": 0.1})
    trainer = fit(
        model, batches(examples([3, 9]), size=2), gradient_clip_val=1e-3, precision=precision
    )
    assert trainer.global_step == 1


@pytest.mark.parametrize("class_weights", [None, [0.5, 3.0]])
def test_accumulation_equals_one_large_batch_even_in_a_partial_last_window(
    class_weights: list[float] | None,
) -> None:
    # 11 texts: whole steps of 4 + 4 + 3, or windows of four single texts, the last of three.
    rows = examples([3, 9, 5, 7, 2, 8, 4, 6, 3, 9, 5])
    whole = classifier(class_weights=class_weights)
    fit(whole, batches(rows, size=4))
    pieces = classifier(class_weights=class_weights)
    trainer = fit(pieces, batches(rows, size=1), accumulate_grad_batches=4)
    assert trainer.global_step == 3
    ragged = classifier(class_weights=class_weights)
    # Batches of 3, 3, 3, 2 in windows of two: 6 and 5 texts.
    fit(ragged, batches(rows, size=3), accumulate_grad_batches=2)
    six_five = classifier(class_weights=class_weights)
    fit(six_five, batches(rows, size=6))
    for one, other in ((whole, pieces), (six_five, ragged)):
        for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=name)


def test_gradients_are_clipped_after_they_became_a_mean() -> None:
    rows = examples([3, 9, 5, 7])
    norms: list[float] = []

    class Watch(L.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
            gradients = [p.grad for p in module.parameters() if p.grad is not None]
            norms.append(torch.nn.utils.get_total_norm(gradients).item())

    def norm(**options: Any) -> float:
        loader, watch = batches(rows, 1), Watch()
        fit(classifier(), loader, accumulate_grad_batches=4, callbacks=[watch], **options)
        return norms[-1]

    free = norm()
    assert norm(gradient_clip_val=free / 2) == pytest.approx(free / 2, rel=1e-4)
    assert norm(gradient_clip_val=free * 2) == pytest.approx(free, rel=1e-4)


def test_logged_loss_is_not_divided_by_accumulation() -> None:
    rows = examples([4, 4, 4, 4])
    plain = fit(classifier(optim={"lr": 1e-12}), batches(rows, 2)).callback_metrics
    divided = fit(
        classifier(optim={"lr": 1e-12}), batches(rows, 2), accumulate_grad_batches=2
    ).callback_metrics
    assert plain["train/epoch_loss"] == pytest.approx(divided["train/epoch_loss"].item())
    assert plain["train/epoch_loss"] > 0.5


def test_label_smoothing_and_class_weights_shape_the_gradient_and_not_the_logged_loss() -> None:
    rows = examples([4, 4, 4])
    options: dict[str, Any] = {"label_smoothing": 0.2, "class_weights": [1.0, 5.0]}
    model, reference = classifier(**options), classifier(**options)
    batch = next(iter(batches(rows, 3)))
    logits = reference(batch.input_ids, batch.lengths)
    weight = torch.tensor([1.0, 5.0])
    F.cross_entropy(logits, batch.labels, weight=weight, label_smoothing=0.2).backward()
    reference.optim.optimizer(reference.parameters()).step()
    trainer = fit(model, batches(rows, 3))
    for (name, ours), (_, expected) in zip(
        model.named_parameters(), reference.named_parameters(), strict=True
    ):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6, msg=name)
    plain = F.cross_entropy(logits, batch.labels).item()
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(plain, rel=1e-5)
    assert trainer.callback_metrics["train/epoch_loss"].item() == pytest.approx(plain, rel=1e-5)


def test_head_dropout_acts_in_training_only() -> None:
    model = classifier(head_dropout=0.5)
    batch = next(iter(batches(examples([4, 4]), 2)))
    assert not torch.equal(
        model(batch.input_ids, batch.lengths), model(batch.input_ids, batch.lengths)
    )
    model.eval()
    assert torch.equal(model(batch.input_ids, batch.lengths), model(batch.input_ids, batch.lengths))


def test_half_precision_does_not_round_probabilities() -> None:
    model = classifier()
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, precision="bf16-mixed"
    )
    collected: list[torch.Tensor] = []

    class Collect(L.Callback):
        def on_test_batch_end(self, trainer: Any, module: Any, outputs: Any, *args: Any) -> None:
            collected.append(outputs)

    trainer.callbacks.append(Collect())
    loader = batches(examples([3, 9, 5, 7]), 4)
    trainer.test(model, [loader] * 3, verbose=False)  # train, val, test
    assert collected[0].dtype == torch.float32
    torch.testing.assert_close(collected[0].sum(dim=1), torch.ones(4), rtol=0, atol=1e-6)


def test_divergence_is_an_error_and_not_a_result() -> None:
    model = classifier(optim={"lr": 1e30})
    with pytest.raises(Diverged, match=r"diverged in epoch 1: .* lower optim\.lr \(now 1e\+30\)"):
        fit(model, batches(examples([3, 9, 5, 7]), 1))


def test_evaluation_is_over_examples_and_not_a_mean_of_batches() -> None:
    rows = examples([3, 9, 5, 7, 2])  # batches of 3 and 2
    model = classifier()
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.validate(model, batches(rows, 3), verbose=False)
    whole = next(iter(batches(rows, 5)))
    with torch.no_grad():
        logits = model(whole.input_ids, whole.lengths)
    metrics = trainer.callback_metrics
    assert metrics["val/loss"].item() == pytest.approx(
        F.cross_entropy(logits, whole.labels).item(), rel=1e-5
    )
    accuracy = (logits.argmax(1) == whole.labels).float().mean().item()
    assert metrics["val/accuracy"].item() == pytest.approx(accuracy)


def test_only_what_trains_moves_and_frozen_parameters_are_in_no_group() -> None:
    model = classifier(finetune=LAST_BLOCK)
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer = fit(model, batches(examples([3, 9]), 2))
    moved = {name for name, value in model.named_parameters() if not value.equal(before[name])}
    trainable = {name for name, value in model.named_parameters() if value.requires_grad}
    assert moved == trainable
    grouped = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert grouped == {id(p) for p in model.parameters() if p.requires_grad}


def test_dropout_acts_in_training_everywhere_and_never_in_evaluation() -> None:
    model = classifier(model=TINY | {"resid_pdrop": 0.5}, finetune=LAST_BLOCK).eval()
    modes: dict[str, set[bool]] = {"train": set(), "val": set()}

    class Watch(L.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, *args: Any) -> None:
            modes["train"] |= {part.training for part in module.backbone.modules()}

        def on_validation_batch_start(self, trainer: Any, module: Any, *args: Any) -> None:
            modes["val"] |= {part.training for part in module.backbone.modules()}

    loader = batches(examples([3, 9]), 1)
    trainer = quiet_trainer(max_epochs=2, num_sanity_val_steps=0, callbacks=[Watch()])
    trainer.fit(model, loader, loader)
    assert modes == {"train": {True}, "val": {False}}


# --- building and rebuilding ----------------------------------------------------------------------


def test_head_starts_the_same_whatever_the_backbone() -> None:
    heads = [classifier(model=TINY | {"init": init}).head for init in ("gpt2", "torch", "empty")]
    for head in heads[1:]:
        assert torch.equal(head.weight, heads[0].weight)
    assert not torch.equal(classifier(seed=2).head.weight, heads[0].weight)


def test_building_leaves_the_global_random_state_alone() -> None:
    state = torch.get_rng_state()
    classifier()
    assert torch.equal(torch.get_rng_state(), state)


def test_checkpoint_reloads_without_unpickling_code(tmp_path: Any) -> None:
    model = classifier(pooling="mean_real", class_weights=[1.0, 2.0])
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(model, batches(examples([3, 9]), 2))
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = Classifier.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert dict(loaded.hparams) == dict(model.hparams)
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pooling": "middle"}, f"task.pooling must be one of {', '.join(POOLINGS)}"),
        ({"label_smoothing": 1.0}, r"task.label_smoothing must lie in \[0, 1\), got 1.0"),
    ],
)
def test_bad_options_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier(**fields)
