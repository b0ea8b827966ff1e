"""The same model and `predict` behind LitServe, with its own batching, as its documents have it.

    pip install litserve
    python experiments/serving/litserve_server.py RUN PORT

RUN is a run folder.
"""

import sys
from pathlib import Path
from typing import Any

import litserve


class Classify(litserve.LitAPI):
    """A run's classifier in LitServe's worker process."""

    def setup(self, device: str) -> None:
        """See LitServe."""
        from llm_lightning.runs.load import load_classifier
        from llm_lightning.runs.prediction import decision_of

        self.model, summary = load_classifier(Path(sys.argv[1]))
        self.decision = decision_of(summary)

    def decode_request(self, request: dict[str, str]) -> str:
        """See LitServe."""
        return request["text"]

    def batch(self, inputs: list[str]) -> list[str]:
        """See LitServe."""
        return inputs

    def predict(self, x: list[str]) -> list[dict[str, Any]]:
        """See LitServe."""
        from llm_lightning.runs.prediction import predict

        return [found.fields() for found in predict(self.model, x, self.decision)]

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """See LitServe."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """See LitServe."""
        return output


if __name__ == "__main__":
    api = Classify(max_batch_size=64, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False,
               log_level="warning")  # fmt: skip
