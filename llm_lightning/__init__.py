"""Fine-tune GPT-2 on one machine and see what each choice buys."""

__version__ = "0.1.0"
