"""What a judge said about a list of answers, and what follows from it."""

from dataclasses import asdict, dataclass
from typing import Any

from llm_lightning.evaluation.bootstrap import mean_interval
from llm_lightning.evaluation.judging.items import Item
from llm_lightning.evaluation.judging.rubrics import Rubric
from llm_lightning.evaluation.judging.servers import MAX_TOKENS, Identity


@dataclass(frozen=True)
class Settings:
    """How to judge."""

    model: str
    rubric: Rubric
    url: str = "http://localhost:11434"
    api: str = "auto"
    """One of ``servers.APIS``."""
    seed: int = 123
    concurrency: int = 1
    """Most requests at a time."""
    timeout_s: float = 120.0
    """Time for one reply, in seconds."""
    retries: int = 3
    """Further attempts after a drop, a time-out, HTTP 429 or 5xx."""


@dataclass(frozen=True)
class Verdict:
    """What the judge says about one item."""

    score: int | None
    """None if the reply does not say clearly which."""
    reply: str | None
    """None of an empty answer, which has the lowest score unasked."""
    cached: bool
    """Whether the reply was kept from an earlier call."""


@dataclass(frozen=True)
class Judgement:
    """The verdicts on a list of items."""

    items: list[Item]
    verdicts: list[Verdict]
    settings: Settings
    identity: Identity
    versions: list[str]
    """Of the servers that the replies came from."""
    enforced: list[str]
    """How the form of the replies was asked for; see :class:`~.servers.Reply`."""

    def report(self) -> dict[str, Any]:
        """Settings, counts, mean and verdicts, as plain JSON.

        ``mean``, ``low`` and ``high`` (its 95 % interval) and ``standard_error`` are over the
        items with a score, those with an empty answer among them. ``bounds`` is what the mean
        would be if every other item had the lowest or the highest score. ``parse_rate`` is the
        share of replies that gave a score.
        """
        rubric = self.settings.rubric
        scores = [verdict.score for verdict in self.verdicts if verdict.score is not None]
        empty = sum(verdict.reply is None for verdict in self.verdicts)
        unparsed = len(self.verdicts) - len(scores)
        replies = len(self.verdicts) - empty
        interval = mean_interval(scores) if scores else None
        total = sum(scores)
        return {
            "judge": asdict(self.identity),
            "server_versions": self.versions,
            "settings": {
                "rubric": rubric.name,
                "rubric_version": rubric.version,
                "scale": [rubric.lowest, rubric.highest],
                "seed": self.settings.seed,
                "temperature": 0,
                "max_tokens": MAX_TOKENS,
                "enforced": self.enforced,
                "concurrency": self.settings.concurrency,
                "timeout_s": self.settings.timeout_s,
                "retries": self.settings.retries,
            },
            "counts": {
                "items": len(self.verdicts),
                "scored": len(scores),
                "empty": empty,
                "unparsed": unparsed,
                "cached": sum(verdict.cached for verdict in self.verdicts),
            },
            "parse_rate": (replies - unparsed) / replies if replies else None,
            "mean": interval.mean if interval else None,
            "low": interval.low if interval else None,
            "high": interval.high if interval else None,
            "standard_error": interval.standard_error if interval else None,
            "bounds": {
                "low": (total + unparsed * rubric.lowest) / len(self.verdicts),
                "high": (total + unparsed * rubric.highest) / len(self.verdicts),
            },
            "items": [
                {"index": index, **asdict(verdict)} for index, verdict in enumerate(self.verdicts)
            ],
        }
