"""The name of a run: equal for equal settings, another for others, and nothing to be quoted."""

import re

from hypothesis import given
from hypothesis import strategies as st
from properties.few_cases import quick

from llm_lightning.config.run_name import run_name

values = st.text("abAB01 _-/=,.~()[]{}:;&|<>#%+éß漢🎉\t", min_size=1, max_size=80)


def name_of(value: str) -> str:
    return run_name(["+experiment=last_block", f"data.text_column='{value}'", "seed=3"])


@quick
@given(values, values)
def test_other_values_have_another_name(one: str, other: str) -> None:
    assert (name_of(one) == name_of(other)) == (one == other)


@quick
@given(values)
def test_a_name_needs_no_quotes_and_fits_every_file_system(value: str) -> None:
    name = name_of(value)
    assert re.fullmatch(r"[A-Za-z0-9._+@-]+", name)
    assert len(name.encode()) <= 255
    assert name.startswith("last_block-data.text_column@")


@quick
@given(st.permutations(["optim.lr=1e-3", "data.max_length=9", "trainer.max_epochs=2", "seed=4"]))
def test_the_order_of_settings_does_not_matter(settings: list[str]) -> None:
    assert run_name(["+experiment=lora", *settings]) == (
        "lora-data.max_length@9-optim.lr@0.001-trainer.max_epochs@2"
    )
