"""``python -m llm_lightning judge RUN``: a language model grades a run's responses.

The judge is a model behind Ollama or any server with OpenAI's protocol. Its replies are cached, so
the same command a second time sends no request. The scores are written to the run folder as
``judge-<model>-<rubric>.json``.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from llm_lightning.commands.failures import refused
from llm_lightning.commands.judge_duel import duel, print_duel
from llm_lightning.commands.judge_output import (
    json_of,
    print_difference,
    print_failed,
    print_judgement,
)
from llm_lightning.commands.startup import HELD
from llm_lightning.evaluation.judging.difference import judged_difference
from llm_lightning.evaluation.judging.exchange import NoServer, ServerFailed
from llm_lightning.evaluation.judging.items import read_items
from llm_lightning.evaluation.judging.judge import Unfinished, judge
from llm_lightning.evaluation.judging.judgement import Judgement, Settings
from llm_lightning.evaluation.judging.reply_cache import write_json
from llm_lightning.evaluation.judging.rubrics import RUBRICS
from llm_lightning.evaluation.judging.servers import APIS
from llm_lightning.presentation.harmless import json_line
from llm_lightning.presentation.terminal import (
    print_error,
)
from llm_lightning.run_format.files import RESPONSES
from llm_lightning.run_format.responses import responses_file
from llm_lightning.runs.errors import FolderHeld
from llm_lightning.runs.held_folder import held


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    settings = Settings(
        model=options.model,
        rubric=RUBRICS[options.rubric],
        url=options.url,
        api=options.api,
        seed=options.seed,
        concurrency=options.concurrency,
        timeout_s=options.timeout,
        retries=options.retries,
        max_tokens=options.max_tokens,
    )
    try:
        if options.against is not None:
            if options.run is None:
                raise ValueError("--against needs a first run: judge RUN_A --against RUN_B")
            print_duel(*duel(options.run, options.against, settings, options.limit), options.json)
        elif options.compare:
            run_a, run_b = options.compare
            _compare(run_a, run_b, settings, options.limit, options.json)
        else:
            judgement, file = judge_run(options.run, settings, options.limit)
            if options.json:
                print(json_of(file, judgement))
                print_failed(judgement)
            else:
                print_judgement(judgement, file)
    except FolderHeld as error:
        print_error(str(error))
        return HELD
    except (ValueError, NoServer, ServerFailed, Unfinished) as error:
        return refused(error)
    return 0


def judge_run(path: Path, settings: Settings, limit: int | None) -> tuple[Judgement, Path]:
    """Judges a run's responses and writes the result beside them.

    Args:
        path: run folder, or a file of its responses.
        settings: which judge, and how.
        limit: judge only this many responses, from the first; ``None`` for all.

    Returns:
        The judgement and the file it was written to.

    Raises:
        ValueError: if there are no responses, or the model or the address is wrong.
        FolderHeld: if another process works on the run.
        NoServer: if nothing answers; also ServerFailed and Unfinished, as from
            :func:`~llm_lightning.evaluation.judging.judge.judge`. Nothing is written then.
    """
    responses = responses_file(path)
    items = read_items(responses)
    part = "" if limit is None or limit >= len(items) else f"-first{limit}"
    of = "" if responses.name == RESPONSES else f"-{responses.stem}"
    model = re.sub(r"[^A-Za-z0-9._-]+", "_", settings.model)
    file = responses.with_name(f"judge-{model}-{settings.rubric.name}{of}{part}.json")
    with held(responses.parent, by_others="judge these responses after it has ended"):
        judgement = judge(items[:limit], settings)
        write_json(file, {"responses": responses.name, **judgement.report()})
    return judgement, file


def _compare(a: Path, b: Path, settings: Settings, limit: int | None, as_json: bool) -> None:
    read_items(responses_file(b))  # a wrong path is reported before the first run is judged
    judged_a, file_a = judge_run(a, settings, limit)
    judged_b, file_b = judge_run(b, settings, limit)
    judged = judged_difference(judged_a, judged_b)
    if as_json:
        print(json_line({"a": str(file_a), "b": str(file_b), **judged.report()}))
        print_failed(judged_a)
        print_failed(judged_b)
        return
    print_judgement(judged_a, file_a)
    print_judgement(judged_b, file_b)
    print_difference(judged, a, b)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning judge",
        description="A language model grades a run's responses against the references.",
        epilog="If OPENAI_API_KEY is set, it is sent to servers with OpenAI's protocol.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("run", nargs="?", type=Path, help=f"run folder, or a file like {RESPONSES}")
    what.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("RUN_A", "RUN_B"),
        help="judge two runs and test the difference, item by item",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="RUN_B",
        help="ask which run's response is better, in both orders",
    )
    parser.add_argument(
        "--model", default="llama3", help="the judge (default: %(default)s, as in the book)"
    )
    parser.add_argument(
        "--url", default=Settings.url, help="address of the server (default: %(default)s)"
    )
    parser.add_argument("--api", choices=APIS, default="auto", help="protocol (default: detect it)")
    parser.add_argument(
        "--rubric", choices=list(RUBRICS), default="score100", help="scale (default: %(default)s)"
    )
    parser.add_argument(
        "--concurrency",
        type=_at_least(1),
        default=Settings.concurrency,
        help="most requests at a time (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=Settings.timeout_s,
        help="seconds for one reply; loading the model may take five times as long "
        "(default: %(default)g)",
    )
    parser.add_argument(
        "--retries",
        type=_at_least(0),
        default=Settings.retries,
        help="after a dropped connection, a time-out, HTTP 429 or 5xx (default: %(default)s)",
    )
    parser.add_argument(
        "--max-tokens",
        type=_at_least(1),
        default=Settings.max_tokens,
        help="longest reply, thinking included; one that is cut off gives no score "
        "(default: %(default)s)",
    )
    parser.add_argument("--limit", type=_at_least(1), help="judge only the first LIMIT responses")
    parser.add_argument(
        "--seed", type=int, default=Settings.seed, help="of the judge (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _at_least(lowest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < lowest:
            raise argparse.ArgumentTypeError(f"must be at least {lowest}, got {value}")
        return value

    return number


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, got {text}")
    return value
