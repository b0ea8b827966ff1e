import time

import huggingface_hub
import pytest
from loopback import blackhole

from llm_lightning.backbone.weights import ModelConfig, ask_hub, locate
from llm_lightning.data.spam import SmsSpam
from llm_lightning.network import Unavailable


def test_data_and_weights_are_given_up_within_ten_seconds_where_packets_vanish(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The order of ``build``: the hub is asked, the data are fetched, the hub's answer is read."""
    monkeypatch.delenv("LLM_LIGHTNING_OFFLINE")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    model = ModelConfig(hub_id="openai-community/gpt2", revision="0" * 40)
    with blackhole() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy)
        started = time.monotonic()
        probe = ask_hub(model)
        with pytest.raises(Unavailable, match="did not answer within 4 s"):
            SmsSpam().prepare_data()
        with pytest.raises(Unavailable, match="did not answer within 4 s"):
            locate(model, probe)
        assert time.monotonic() - started < 6, "both wait at the same time"
