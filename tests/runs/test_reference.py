"""The book's own numbers, where they can be had without pretrained weights."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.data.spam import SmsSpam
from llm_lightning.tasks.classifier import Classifier

# First training losses of the book's script, measured on its own code: random weights, seed 123,
# last block, table split.
REFERENCE_LOSSES = [0.5704, 0.7850, 0.8568, 0.7215, 0.6610, 0.8502]


@pytest.mark.slow
def test_first_losses_are_those_of_the_books_script(sms_zip: Path) -> None:
    data = SmsSpam(path=str(sms_zip), split="table", padding="max_length")
    data.setup()
    model = Classifier(
        task={"pooling": "last", "mask_padding": False},
        model=vars(GPTConfig(init="torch")),
        finetune={"_target_": "llm_lightning.finetuning.strategies.TopBlocks", "num_blocks": 1},
        optim={},
        class_names=data.splits.class_names,
        class_weights=None,
        text={"max_length": data.padder.max_length, "padding": "max_length"},
        seed=123,
    )
    # The book shuffles with the global generator; our loaders have one each.
    torch.manual_seed(123)
    loader: DataLoader = DataLoader(
        data.train_dataloader().dataset,
        batch_size=8,
        shuffle=True,
        drop_last=True,
        collate_fn=data.padder.collate,
    )
    optimizer = model.optim.optimizer(model.parameters())
    losses = []
    for batch, _ in zip(loader, REFERENCE_LOSSES, strict=False):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch.input_ids, batch.lengths), batch.labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == pytest.approx(REFERENCE_LOSSES, abs=1e-4)
