import time

import huggingface_hub
import pytest
from loopback import blackhole

from llm_lightning.backbone.weights import ModelConfig, ask_hub, locate
from llm_lightning.data.spam import SmsSpam
from llm_lightning.network import Unavailable


@pytest.mark.slow
def test_data_and_weights_are_decided_within_ten_seconds_if_packets_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a run: ask the Hub, download the data, then wait for the Hub."""
    monkeypatch.delenv("LLM_LIGHTNING_OFFLINE")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    model = ModelConfig(hub_id="openai-community/gpt2", revision="0" * 40)
    with blackhole() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy)
        started = time.monotonic()
        hub = ask_hub(model)
        with pytest.raises(Unavailable, match="did not answer within 4 s"):
            SmsSpam().prepare_data()
        with pytest.raises(Unavailable, match="did not answer within 4 s"):
            locate(model, hub)
        assert time.monotonic() - started < 6, "both wait at the same time"
