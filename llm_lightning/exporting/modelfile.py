"""The file for ``ollama create``: weights, prompt template and sampling parameters."""

from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.data.prompt_styles import PromptStyle

MODELFILE = "Modelfile"


def modelfile(
    weights: str,
    style: PromptStyle | None,
    options: GenerationOptions,
    context_length: int,
    end_of_text: str,
    start_of_text: str = "",
) -> str:
    """Returns a Modelfile with the run's prompts and sampling parameters.

    Args:
        weights: name of the GGUF file beside it.
        style: of the prompts; ``None`` for a model of plain text.
        options: how the run chooses tokens.
        context_length: the model's, in tokens.
        end_of_text: the token that ends a response.
        start_of_text: the token that Ollama itself puts before a text, if it does.
    """
    stops = [end_of_text]
    template = "{{ .Prompt }}"
    if style is not None:
        before = style.before_system.removeprefix(start_of_text)
        system = f"{before}{{{{ .System }}}}{style.after_system}"
        if style.opening_without_system is not None:
            system += f"{{{{ else }}}}{style.opening_without_system.removeprefix(start_of_text)}"
        after = style.after_turn if style.end else ""  # of an earlier turn, which has an end
        template = (
            f"{{{{ if .System }}}}{system}{{{{ end }}}}{style.opening}{style.before_instruction}"
            f"{{{{ .Prompt }}}}{style.header}{{{{ .Response }}}}{style.end}{after}"
        )
        # A model that starts another question has finished its response.
        if marker := style.before_instruction.strip():
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
