"""Packages a pretraining run as ``model=nano``: half precision, transformers' layout.

Usage: python experiments/nano/package_weights.py RUN
"""

import sys
from pathlib import Path

import torch
from llm_lightning.runs.folder import load_language_model

from llm_lightning.backbone.checkpoint import save_weights

OUT = Path(__file__).parents[2] / "llm_lightning" / "backbone" / "assets" / "nano"

if __name__ == "__main__":
    model, summary = load_language_model(Path(sys.argv[1]))
    save_weights(model.backbone, OUT, torch.float16)
    size = sum(file.stat().st_size for file in OUT.glob("*.safetensors"))
    print(f"{OUT}: {size:,} bytes, validation perplexity {summary['metrics']['val']['perplexity']}")
