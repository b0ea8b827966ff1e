"""``POST /predict``: label and probabilities of one text, or of several."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llm_lightning.serving.application import Path
from llm_lightning.serving.batcher import Batcher
from llm_lightning.serving.limits import Limits
from llm_lightning.serving.model_process import Compute
from llm_lightning.serving.refusals import Refused

LARGEST_BATCH = 64
"""Texts that are sorted by length together; each half of them then needs little padding."""


class PredictBody(BaseModel):
    """One text or several."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str | None = None
    texts: Annotated[list[str], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "PredictBody":
        if (self.text is None) == (self.texts is None):
            raise ValueError('send either {"text": "…"} or {"texts": ["…", "…"]}')
        return self

    @property
    def all_texts(self) -> list[str]:
        """The one, or the several."""
        return [self.text or ""] if self.texts is None else self.texts


def classification(
    compute: Compute, limits: Limits, *, can_share: bool
) -> tuple[Path, Batcher[Sequence[str], Any]]:
    """Returns the path, and what computes its answers.

    Args:
        compute: texts to the fields of their predictions, by the run's model and decision.
        limits: of a request.
        can_share: whether texts of different requests may be in one batch: a model whose padding
            changes its answers must not see those of others.
    """

    def answers(requests: list[Sequence[str]]) -> list[Sequence[dict[str, Any]]]:
        texts = [text for own in requests for text in own]
        found = compute(texts, _no_parts, _nobody_left)
        ends = list(accumulate(map(len, requests)))
        return [found[end - len(own) : end] for own, end in zip(requests, ends, strict=True)]

    largest = LARGEST_BATCH if can_share else 1
    batcher = Batcher(answers, len, largest, limits.waiting)

    async def predict(body: PredictBody, _: Request) -> Response:
        texts = body.all_texts
        if len(texts) > limits.texts:
            raise Refused(
                413,
                f"{len(texts):,} texts in one request; at most {limits.texts:,} are allowed: send "
                f"several requests",
            )
        fields = await batcher.answer(texts)
        shown = [_shown(own) for own in fields]
        return JSONResponse(shown[0] if body.texts is None else {"predictions": shown})

    return Path("/predict", PredictBody, predict), batcher


def _no_parts(_: Any) -> None:
    """Predictions are answered as a whole."""


def _nobody_left() -> tuple[()]:
    """A batch of texts is over before anybody could be told."""
    return ()


def _shown(fields: dict[str, Any]) -> dict[str, Any]:
    """A prediction without its text, and with what to do: the class, or null to ask people."""
    shown = {name: value for name, value in fields.items() if name != "text"}
    return shown | {"decision": None if fields["abstained"] else fields["label"]}
