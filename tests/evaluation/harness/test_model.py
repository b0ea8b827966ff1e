"""The harness's numbers are those of its own ``hf`` model on the exported folder."""

from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation.harness.local_tasks import write_tasks
from exporting.huggingface import transformers_tasks
from exporting.tasks_to_export import TINY, language_model

from llm_lightning.data.prompts import Prompts
from llm_lightning.exporting.dense import dense
from llm_lightning.exporting.formats import write
from llm_lightning.tasks.language_model import LanguageModel

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of the harness and what it imports
]
TASKS = ["my_letters", "my_endings", "my_answers", "my_books"]


def model(kind: str) -> LanguageModel:
    if kind == "gpt2":
        return language_model(model=TINY | {"n_positions": 200})
    return transformers_tasks.language_model(kind)


def harness_model(task: LanguageModel, **options: Any) -> Any:
    from llm_lightning.evaluation.harness.model import HarnessModel

    prompts = Prompts("alpaca", task.tokenizer)
    sizes = {"tokens_per_batch": 500, "batch_size": 5} | options
    return HarnessModel(task.backbone, task.head, task.tokenizer, prompts, **sizes)


def scores(results: dict[str, Any]) -> dict[str, float]:
    return {
        f"{task} {metric}": value
        for task, values in results["results"].items()
        for metric, value in values.items()
        if not isinstance(value, str)
    }


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_results_equal_those_of_hf_on_the_exported_folder(kind: str, tmp_path: Path) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from llm_lightning.evaluation.harness.benchmarks import find_tasks, run_tasks

    task = model(kind)
    (tmp_path / "hf").mkdir()
    write(task, dense(task), "hf", tmp_path / "hf", (), "run")
    include = write_tasks(tmp_path / "tasks")
    ours = run_tasks(harness_model(task), TASKS, find_tasks(TASKS, include), bootstraps=100)
    theirs = simple_evaluate(
        model=HFLM(pretrained=str(tmp_path / "hf"), device="cpu", batch_size=3, dtype="float32"),
        tasks=TASKS,
        task_manager=TaskManager(include_path=str(include), include_defaults=False),
        bootstrap_iters=100,
        log_samples=False,
    )
    found, expected = scores(ours), scores(theirs)
    assert found.keys() == expected.keys()
    assert {"my_endings acc_norm,none", "my_letters acc_stderr,none"} < found.keys()
    for key in expected:
        assert found[key] == pytest.approx(expected[key], rel=1e-4, nan_ok=True), key


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_every_log_likelihood_and_response_equals_hf(kind: str, tmp_path: Path) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    task = model(kind)
    (tmp_path / "hf").mkdir()
    write(task, dense(task), "hf", tmp_path / "hf", (), "run")
    hf = HFLM(pretrained=str(tmp_path / "hf"), device="cpu", batch_size=2, dtype="float32")
    ours = harness_model(task)

    def requests(kind: str, *arguments: tuple[Any, ...]) -> list[Any]:
        return [Instance(kind, {}, given, number) for number, given in enumerate(arguments)]

    question = "Which colour has the sky, on a day without a cloud?\nAnswer:"
    pairs = requests(
        "loglikelihood",
        (question, " blue"), (question, " green"), (question, " a very bright blue"),
        (question + " ", "blue"), ("", "blue and green"), ("One", " two three"),
        ("word " * 300, "and so on"), ("word " * 300, "or not, who knows?"),
    )  # fmt: skip
    expected = hf.loglikelihood(pairs)
    found = ours.loglikelihood(pairs)
    for (value, is_greedy), (theirs, theirs_greedy) in zip(found, expected, strict=True):
        assert (value, is_greedy) == (pytest.approx(theirs, abs=1e-3), theirs_greedy)
    assert ours.num_cut == 2
    texts = requests("loglikelihood_rolling", ("a b c",), ("some words " * 150,))
    assert ours.loglikelihood_rolling(texts) == pytest.approx(
        hf.loglikelihood_rolling(texts), rel=1e-5
    )
    options = {"until": ["e", "zz"], "max_gen_toks": 10}
    prompts = requests(
        "generate_until",
        (question, options), ("Hello", {"until": [], "max_gen_toks": 6}), ("Bye,", options),
    )  # fmt: skip
    assert ours.generate_until(prompts) == hf.generate_until(prompts)


def test_a_conversation_is_written_in_the_runs_style() -> None:
    ours = harness_model(model("gpt2"))
    history = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"},
        {"role": "user", "content": "3 + 3?"},
    ]  # fmt: skip
    text = ours.apply_chat_template(history)
    assert text.startswith("Be brief.\n\nBelow is an instruction")
    assert text.endswith("### Instruction:\n3 + 3?\n\n### Response:\n")
    assert "### Instruction:\n2 + 2?\n\n### Response:\n4\n\n" in text
    begun = ours.apply_chat_template(
        [*history, {"role": "assistant", "content": "It is"}], add_generation_prompt=False
    )
    assert begun == text + "It is"
    with pytest.raises(ValueError, match="must alternate between user and assistant"):
        ours.apply_chat_template(history[:3])


def test_a_prompt_and_its_beginning_have_the_tokens_of_training() -> None:
    ours = harness_model(model("gpt2"))
    text = ours.apply_chat_template([{"role": "user", "content": "Name a bird."}])
    from llm_lightning.data.prompts import Record

    prompts = Prompts("alpaca", ours._text)
    trained = prompts.prompt_ids(Record("Name a bird."), 1000)
    assert ours.tok_encode(text)[: len(trained) - 1] == trained[:-1]


def test_settings_that_are_not_known_are_refused() -> None:
    from lm_eval.api.instance import Instance

    ours = harness_model(model("gpt2"))
    with pytest.raises(ValueError, match="num_beams is not supported"):
        ours.generate_until([Instance("generate_until", {}, ("a", {"num_beams": 2}), 0)])
    torch.manual_seed(0)
    long = Instance("generate_until", {}, ("a " * 300, {"max_gen_toks": 1000}), 0)
    ours.generate_until([long])
    assert (ours.num_cut, ours.num_capped) == (1, 1)
