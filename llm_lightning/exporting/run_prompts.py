"""How a run's prompts look, and where its responses end."""

from llm_lightning.data.prompts import Prompts
from llm_lightning.tasks.finetuned_model import FineTunedModel


def prompts_of(task: FineTunedModel) -> Prompts | None:
    """Returns what a language model's prompts are made with; ``None`` if it wrote plain text."""
    style = task.hparams["text"].get("prompt_style")
    return None if style is None else Prompts(style, task.tokenizer)


def stop_id(task: FineTunedModel) -> int:
    """Returns the token that ends a response, or a text."""
    prompts = prompts_of(task)
    return task.tokenizer.end_id if prompts is None else prompts.stop_id
