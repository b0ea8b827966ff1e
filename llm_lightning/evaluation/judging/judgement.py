"""A judge's scores of a list of responses, and their summary."""

from dataclasses import asdict, dataclass
from typing import Any

from llm_lightning.evaluation.judging.items import Item
from llm_lightning.evaluation.judging.protocol import MAX_TOKENS, Identity
from llm_lightning.evaluation.judging.rubrics import Rubric
from llm_lightning.statistics.crossed import crossed_mean


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
    """Further attempts after a dropped connection, a time-out, HTTP 429 or 5xx."""
    max_tokens: int = MAX_TOKENS
    """Longest reply, in tokens, thinking included."""


@dataclass(frozen=True)
class ItemScore:
    """The judge's score of one item."""

    score: int | None
    """None if the reply does not give one clearly, or there is none."""
    reply: str | None
    """None of an empty response, which gets the lowest score without a request; and where the
    server gave none."""
    cached: bool
    """Whether the reply comes from an earlier call."""
    reason: str | None = None
    """Why there is no score; None where there is one."""

    @property
    def failed(self) -> bool:
        """Whether the server gave no reply."""
        return self.reply is None and self.score is None


@dataclass(frozen=True)
class Judgement:
    """The scores of a list of items."""

    items: list[Item]
    item_scores: list[ItemScore]
    settings: Settings
    identity: Identity
    versions: list[str]
    """Of the servers that the replies came from."""
    enforced: list[str]
    """How the form of the replies was enforced; see :class:`~.protocol.Reply`."""
    left_out: list[str]
    """Parameters that the server refused; see :class:`~.protocol.Reply`."""

    def report(self) -> dict[str, Any]:
        """Returns settings, counts, mean and scores as plain JSON.

        ``mean``, ``low`` and ``high`` (its 95 % interval) and ``standard_error`` are over the
        items with a score, empty responses included. ``bounds`` is the mean if every other item
        had the lowest or the highest score. ``parse_rate`` is the share of replies with a score.
        ``failed`` counts the items without a reply.
        """
        rubric = self.settings.rubric
        scores = [item.score for item in self.item_scores if item.score is not None]
        failed = sum(item.failed for item in self.item_scores)
        empty = sum(item.reply is None for item in self.item_scores) - failed
        num_items = len(self.item_scores)
        unscored = num_items - len(scores)
        replies = num_items - empty - failed
        unparsed = unscored - failed
        mean = crossed_mean([scores], low=rubric.lowest, high=rubric.highest) if scores else None
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
                "max_tokens": self.settings.max_tokens,
                "left_out": self.left_out,
                "enforced": self.enforced,
                "concurrency": self.settings.concurrency,
                "timeout_s": self.settings.timeout_s,
                "retries": self.settings.retries,
            },
            "counts": {
                "items": num_items,
                "scored": len(scores),
                "empty": empty,
                "unparsed": unparsed,
                "failed": failed,
                "cached": sum(item.cached for item in self.item_scores),
            },
            "parse_rate": (replies - unparsed) / replies if replies else None,
            "mean": mean.mean if mean else None,
            "low": mean.interval.low if mean else None,
            "high": mean.interval.high if mean else None,
            "standard_error": mean.standard_error if mean else None,
            "bounds": {
                "low": (total + unscored * rubric.lowest) / num_items,
                "high": (total + unscored * rubric.highest) / num_items,
            },
            "items": [
                {"index": index, **asdict(item)} for index, item in enumerate(self.item_scores)
            ],
        }
