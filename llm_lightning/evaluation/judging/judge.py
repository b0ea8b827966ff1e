"""A judge's scores of a list of responses: requested, cached, counted.

An item for which the server gives no reply counts as failed, and the others go on.

A cached reply is not requested again. Where the server does not answer, the replies of the model
that was last found at its address are used, provided that all of them are cached.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from typing import Any

from llm_lightning.evaluation.judging.exchange import NoServer, RequestRefused, ServerFailed
from llm_lightning.evaluation.judging.items import Item
from llm_lightning.evaluation.judging.judgement import ItemScore, Judgement, Settings
from llm_lightning.evaluation.judging.protocol import Identity, Server, context_size
from llm_lightning.evaluation.judging.reply_cache import ReplyCache
from llm_lightning.evaluation.judging.servers import connect
from llm_lightning.network import cache_dir
from llm_lightning.presentation.progress import progress_bar

_OF_THE_KEY = (401, 402, 403)
"""Refusals that no other item escapes."""
LOADING_PATIENCE = 5.0
"""How many times the usual time the first reply may take: the server loads the model first."""

MOST_IN_A_ROW = 5
"""So many failures one after another raise the question whether the server is still there."""

_WARM_UP = Item("### Instruction:\nName the opposite of hot.", "Cold.", "The opposite is cold.")


class Unfinished(OSError):
    """Not every reply was received; the message gives the reason and how many are cached."""


def judge(items: Sequence[Item], settings: Settings) -> Judgement:
    """Scores every item.

    Args:
        items: at least one.
        settings: which judge, and how.

    Raises:
        NoServer: if nothing answers and not every reply is cached.
        Unfinished: if the server fails for good, or refuses the key, or nothing gets a reply.
            Replies received until then are cached, as they are after Ctrl-C.
        ServerFailed: if what answers is not a model server.
        ValueError: if the server does not have the model, or the address or key is invalid.
    """
    cache = ReplyCache(cache_dir() / "judge")
    server, identity, absence = _find_judge(cache, settings)
    rubric = settings.rubric

    def question(prompt: str) -> dict[str, Any]:
        asked = identity.question(prompt, rubric.schema, settings.seed, settings.max_tokens)
        return asked | {"rubric": [rubric.name, rubric.version]}

    prompts = [rubric.prompt(item) if item.response else None for item in items]
    distinct = list(dict.fromkeys(prompt for prompt in prompts if prompt is not None))
    replies = {prompt: cache.find(question(prompt)) for prompt in distinct}
    missing = [prompt for prompt, reply in replies.items() if reply is None]
    failures: dict[str, str] = {}
    if missing:
        if server is None:
            raise NoServer(_advice(absence, settings, len(missing), len(distinct))) from absence
        num_ctx = context_size(distinct, settings.max_tokens)

        def ask(prompt: str) -> str | None:
            try:
                reply = server.ask(question(prompt), num_ctx)
            except (ServerFailed, RequestRefused) as error:
                if getattr(error, "status", None) in _OF_THE_KEY:
                    raise
                failures[prompt] = str(error)
                return failures[prompt]
            answer = reply._asdict() | {"left_out": list(reply.left_out)}
            replies[prompt] = answer
            cache.store(question(prompt), answer)
            return None

        def warm_up() -> None:
            # The first reply after loading may differ from later ones to the same question
            # (ollama/ollama#5274).
            server.ask(question(rubric.prompt(_WARM_UP)), num_ctx, LOADING_PATIENCE)

        _ask_all(server, warm_up, ask, missing, len(distinct), settings.concurrency)

    requested = set(missing)
    item_scores = []
    for prompt in prompts:
        if prompt is None:
            item_scores.append(ItemScore(rubric.lowest, None, cached=False))
            continue
        reply = replies[prompt]
        if reply is None:
            item_scores.append(ItemScore(None, None, cached=False, reason=failures[prompt]))
            continue
        # Replies of earlier versions do not say whether they were cut off.
        found = rubric.read(reply["text"], cut_off=reply.get("cut_off", False))
        cached = prompt not in requested
        item_scores.append(ItemScore(found.score, reply["text"], cached, found.reason))
    given = [reply for reply in replies.values() if reply is not None]
    return Judgement(
        items=list(items),
        item_scores=item_scores,
        settings=settings,
        identity=identity,
        versions=sorted({reply["version"] for reply in given if reply["version"]}),
        enforced=sorted({reply["enforced"] for reply in given}),
        left_out=sorted({name for reply in given for name in reply.get("left_out", ())}),
    )


def _find_judge(
    cache: ReplyCache, settings: Settings
) -> tuple[Server | None, Identity, NoServer | None]:
    """The server and its identity; without a server, the cached identity and the error."""
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
        cache.store(address, asdict(server.identity))
    return server, server.identity, None


def _advice(error: NoServer | None, settings: Settings, missing: int = 0, wanted: int = 0) -> str:
    uncached = f"{missing} of {wanted} replies are not cached from earlier calls either.\n"
    start = "start the server"
    if settings.api != "openai":
        start = f"start one with `ollama serve`, get the model with `ollama pull {settings.model}`"
    return (
        f"No model server answers:\n  {error}\n{uncached if missing else ''}"
        f"What to do: {start}, or name another one with --url"
    )


def _ask_all(
    server: Server,
    warm_up: Callable[[], None],
    ask: Callable[[str], str | None],
    prompts: Sequence[str],
    wanted: int,
    concurrency: int,
) -> None:
    """Asks every prompt; if that fails, reports how many of the wanted replies are cached.

    Args:
        server: that is asked.
        warm_up: asks something else.
        ask: asks a prompt; returns why there is no reply, ``None`` if there is one.
        prompts: to ask.
        wanted: replies altogether, with those that are cached.
        concurrency: most requests at a time.
    """
    cached = wanted - len(prompts)
    in_a_row = 0
    with progress_bar() as progress, ThreadPoolExecutor(concurrency) as pool:
        bar = progress.add_task("loading the judge", total=wanted, completed=cached)
        try:
            warm_up()
            progress.update(bar, description="judging")
            for future in as_completed([pool.submit(ask, prompt) for prompt in prompts]):
                problem = future.result()
                if problem is None:
                    cached, in_a_row = cached + 1, 0
                    progress.update(bar, completed=cached)
                    continue
                in_a_row += 1
                if in_a_row % MOST_IN_A_ROW == 0:
                    warm_up()  # raises if it is not the items that fail
            if not cached:
                raise ServerFailed(str(problem))
        except BaseException as error:
            server.stop()
            pool.shutdown(cancel_futures=True)
            so_far = (
                f"{cached} of {wanted} replies are cached; the same command continues from there"
            )
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(so_far) from None
            if isinstance(error, ServerFailed | RequestRefused):
                raise Unfinished(f"{error}\n{so_far}") from error
            raise
