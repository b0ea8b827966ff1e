"""The usual server: FastAPI around a pipeline of transformers, one text at a time.

    python experiments/serving/plain_server.py FOLDER PORT

FOLDER is what `export --format hf` wrote.
"""

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline


class Body(BaseModel):
    """One text."""

    text: str


def main() -> None:
    classify = pipeline("text-classification", model=sys.argv[1], truncation=True)
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/predict")
    def predict(body: Body) -> dict[str, object]:
        (found,) = classify(body.text)
        return {"label": found["label"], "probability": found["score"]}

    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
