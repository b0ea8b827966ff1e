"""The file for ``ollama create``: weights, prompt template and sampling parameters."""

from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.data.prompt_styles import PROMPT_STYLES

MODELFILE = "Modelfile"


def modelfile(
    weights: str,
    style: str | None,
    options: GenerationOptions,
    context_length: int,
    end_of_text: str,
) -> str:
    """Returns a Modelfile with the run's prompts and sampling parameters.

    Args:
        weights: name of the GGUF file beside it.
        style: one of ``PROMPT_STYLES``; ``None`` for a model of plain text.
        options: how the run chooses tokens.
        context_length: the model's, in tokens.
        end_of_text: the token that ends a response.
    """
    stops = [end_of_text]
    template = "{{ .Prompt }}"
    if style is not None:
        look = PROMPT_STYLES[style]
        system = f"{look.before_system}{{{{ .System }}}}{look.after_system}"
        template = (
            f"{{{{ if .System }}}}{system}{{{{ end }}}}{look.opening}{look.before_instruction}"
            f"{{{{ .Prompt }}}}{look.header}{{{{ .Response }}}}"
        )
        # A model that starts another question has finished its response.
        if marker := look.before_instruction.strip():
            stops.append(marker)
    # All of them are written, because Ollama's own defaults differ.
    parameters: dict[str, float] = {
        "num_ctx": context_length,
        "num_predict": options.max_new_tokens,
        "temperature": options.temperature,
        "repeat_penalty": options.repetition_penalty,
        "repeat_last_n": -1,  # the whole context
    }
    if options.temperature > 0:
        parameters |= {
            "top_k": options.top_k or 0,  # 0: all
            "top_p": 1.0 if options.top_p is None else options.top_p,
            "min_p": 0,
            "seed": options.seed,
        }
    lines = [
        f"FROM ./{weights}",
        f'TEMPLATE """{template}"""',
        *(f'PARAMETER stop "{stop}"' for stop in stops),
        *(f"PARAMETER {name} {value}" for name, value in parameters.items()),
    ]
    return "\n".join(lines) + "\n"
