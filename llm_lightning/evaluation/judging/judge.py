"""A judge's scores of a list of answers: asked, kept, counted.

A reply that was kept is not asked for again. Where the server does not answer, the replies of the
model that was last met at its address are enough, if they are all there.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from llm_lightning.data.download import cache_dir
from llm_lightning.evaluation.judging.cache import ReplyCache
from llm_lightning.evaluation.judging.exchange import NoServer, Refused, ServerFailed
from llm_lightning.evaluation.judging.items import Item
from llm_lightning.evaluation.judging.judgement import Judgement, Settings, Verdict
from llm_lightning.evaluation.judging.servers import (
    Identity,
    Server,
    connect,
    context_size,
)

LOADING_PATIENCE = 5.0
"""How many times the usual time the first reply may take: the model is loaded before it."""

_WARM_UP = Item("### Instruction:\nName the opposite of hot.", "Cold.", "The opposite is cold.")


class Unfinished(OSError):
    """Not every reply could be had; says why, and what was kept."""


def judge(items: Sequence[Item], settings: Settings) -> Judgement:
    """Has every item scored.

    Args:
        items: at least one.
        settings: by whom and how.

    Raises:
        NoServer: if nothing answers and not every reply is at hand.
        Unfinished: if the server fails or refuses on the way. What it said until then is kept,
            as it is after Ctrl-C.
        ServerFailed: if what answers is no model server.
        ValueError: if the server does not have the model, or an address or key is none.
    """
    cache = ReplyCache(cache_dir() / "judge")
    server, identity, absence = _meet(cache, settings)
    rubric = settings.rubric

    def question(prompt: str) -> dict[str, Any]:
        asked = identity.question(prompt, rubric.schema, settings.seed)
        return asked | {"rubric": [rubric.name, rubric.version]}

    prompts = [rubric.prompt(item) if item.answer else None for item in items]
    distinct = list(dict.fromkeys(prompt for prompt in prompts if prompt is not None))
    answers = {prompt: cache.find(question(prompt)) for prompt in distinct}
    missing = [prompt for prompt, answer in answers.items() if answer is None]
    if missing:
        if server is None:
            raise NoServer(_advice(absence, settings, len(missing), len(distinct))) from absence
        num_ctx = context_size(distinct)

        def ask(prompt: str) -> None:
            reply = server.ask(question(prompt), num_ctx)
            answers[prompt] = reply._asdict()
            cache.keep(question(prompt), reply._asdict())

        def warm_up() -> None:
            # The first reply after loading may differ from what the same question gets later
            # (ollama/ollama#5274).
            server.ask(question(rubric.prompt(_WARM_UP)), num_ctx, LOADING_PATIENCE)

        _ask_all(server, warm_up, ask, missing, len(distinct), settings.concurrency)

    asked_now = set(missing)
    verdicts = []
    for prompt in prompts:
        answer = answers[prompt] if prompt is not None else None
        if answer is None:
            verdicts.append(Verdict(rubric.lowest, None, cached=False))
        else:
            score = rubric.score(answer["text"])
            verdicts.append(Verdict(score, answer["text"], cached=prompt not in asked_now))
    given = [answer for answer in answers.values() if answer is not None]
    return Judgement(
        items=list(items),
        verdicts=verdicts,
        settings=settings,
        identity=identity,
        versions=sorted({answer["version"] for answer in given if answer["version"]}),
        enforced=sorted({answer["enforced"] for answer in given}),
    )


def _meet(cache: ReplyCache, settings: Settings) -> tuple[Server | None, Identity, NoServer | None]:
    """The server and who it is; without one, who was last met there and what is wrong."""
    address = {"url": settings.url, "api": settings.api, "model": settings.model}
    try:
        server = connect(
            settings.url, settings.api, settings.model, settings.timeout_s, settings.retries
        )
    except NoServer as error:
        known = cache.find(address)
        if known is None:
            raise NoServer(_advice(error, settings)) from error
        return None, Identity(**known), error
    if cache.find(address) != asdict(server.identity):
        cache.keep(address, asdict(server.identity))
    return server, server.identity, None


def _advice(error: NoServer | None, settings: Settings, missing: int = 0, wanted: int = 0) -> str:
    kept = f"{missing} of {wanted} replies are not at hand from earlier calls either.\n"
    start = "start the server"
    if settings.api != "openai":
        start = f"start one with `ollama serve`, get the model with `ollama pull {settings.model}`"
    return (
        f"No model server answers:\n  {error}\n{kept if missing else ''}"
        f"What to do: {start}, or name another one with --url"
    )


def _ask_all(
    server: Server,
    warm_up: Callable[[], None],
    ask: Callable[[str], None],
    prompts: Sequence[str],
    wanted: int,
    concurrency: int,
) -> None:
    """Asks every prompt; should that fail, says how many of the wanted replies are kept."""
    kept = wanted - len(prompts)
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with progress, ThreadPoolExecutor(concurrency) as pool:
        bar = progress.add_task("loading the judge", total=wanted, completed=kept)
        try:
            warm_up()
            progress.update(bar, description="judging")
            for future in as_completed([pool.submit(ask, prompt) for prompt in prompts]):
                future.result()
                kept += 1
                progress.update(bar, completed=kept)
        except BaseException as error:
            server.stop()
            pool.shutdown(cancel_futures=True)
            told = f"{kept} of {wanted} replies are kept; the same command goes on from there"
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(told) from None
            if isinstance(error, ServerFailed | Refused):
                raise Unfinished(f"{error}\n{told}") from error
            raise
