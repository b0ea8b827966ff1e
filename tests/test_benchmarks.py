"""The benchmarks' schedule, arithmetic and, in the `benchmark` test, a run of a part of them."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "experiments" / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def record(group: str, case: str, number: int, **fields: Any) -> dict[str, Any]:
    return {
        "group": group,
        "case": case,
        "round": number,
        "base": "ours",
        "order": 0 if case == "ours" else 1,
        "ok": True,
        "estimated": False,
        "took_s": 1.0,
        "peak_mib": 100.0,
        **fields,
    }


def end_to_end(case: str, number: int, seconds: float, steps: int = 655) -> dict[str, Any]:
    result = {"optimizer_steps": steps, "examples": 8 * steps}
    return record("end_to_end/last_block", case, number, seconds=seconds, result=result)


def test_rounds_alternate() -> None:
    from schedule import Case, in_rounds

    cases = [Case("steps/lora", name) for name in "abc"]
    assert [(n, c.name) for n, c in in_rounds(cases, 2)] == [
        *((1, name) for name in "abc"),
        *((2, name) for name in "abc"),
    ]


def test_goals_are_ratios_of_medians_and_say_whether_they_are_met() -> None:
    from goals import goals_table

    times = {"ours": (10.0, 12.0, 11.0), "plain": (400.0, 300.0), "row_01": (60.0,)}
    measured = [
        end_to_end(case, number, seconds)
        for case, each in times.items()
        for number, seconds in enumerate(each, 1)
    ]
    measured += [
        record("generation", case, 1, seconds=9.0, result={"tokens_per_second": rate})
        for case, rate in (("ours", 300.0), ("transformers, batches", 240.0))
    ]
    measured += [record("startup", "ours --help", 1, seconds=0.5)]
    assert goals_table(measured)[2:] == [
        "| last_block against the plain loop | at least 45 | 31.82 | 25.00-40.00 | **no** |",
        "| ... as row_01, in fp32 | at least 6.2 | 5.83 | 6.67-6.67 | **no** |",
        "| responses against transformers in batches | at least 4 | 1.25 | 1.25-1.25 | **no** |",
        "| seconds of `--help` | at most 3 | 0.50 | 0.50-0.50 | yes |",
    ]
    assert goals_table([]) == []


def test_goals_speak_of_cases_that_there_are() -> None:
    from cases import all_cases
    from goals import GOALS
    from schedule import Settings

    known = {(c.group, c.name) for c in all_cases(Settings(), Path("inputs"), 120)}
    for goal in GOALS:
        assert {(goal.group, goal.ours), (goal.group, goal.peer or goal.ours)} <= known


def test_responses_are_generated_in_our_default_batches() -> None:
    from cases import RESPONSES_AT_ONCE

    from llm_lightning.backbone.sampling import GenerationOptions

    assert GenerationOptions().batch_size == RESPONSES_AT_ONCE


def test_operations_of_a_response_are_those_of_all_tokens_at_once_but_for_its_last() -> None:
    from flops import VOCABULARY, response_flops, step_flops

    # One token is a forward pass over the prompt, which a step of the frozen backbone is too.
    forward = step_flops(n_layer=2, n_head=2, n_embd=8, strategy="last_layer", rows=1, width=5)
    assert response_flops(n_layer=2, n_embd=8, prompt=5, response=1) == forward + 16 * VOCABULARY
    more = response_flops(n_layer=2, n_embd=8, prompt=5, response=3) - forward - 48 * VOCABULARY
    assert more == 2 * (24 * 64 * 2 + 4 * 8 * (6 + 7))


def test_cases_of_a_group_are_neighbours_and_know_its_first() -> None:
    from cases import all_cases
    from schedule import Settings

    cases = all_cases(Settings(), Path("inputs"), 120)
    assert len({(c.group, c.name) for c in cases}) == len(cases)
    groups = [c.group for c in cases]
    for group in dict.fromkeys(groups):
        first, count = groups.index(group), groups.count(group)
        assert {*groups[first : first + count]} == {group}
        assert {c.base for c in cases[first : first + count]} == {cases[first].name}
    assert [c.name for c in cases if c.group == "end_to_end/last_block"] == [
        "ours",
        "row_01",
        "plain",
        "transformers, default",
        "transformers, best",
    ]


def test_only_picks_groups_and_single_cases() -> None:
    from schedule import Case, chosen

    cases = [Case("steps/lora", "ours"), Case("steps/lora", "plain"), Case("startup", "ours")]
    assert chosen(cases, ["steps/lora/plain", "startup"]) == cases[1:]
    assert chosen(cases, []) == cases
    with pytest.raises(ValueError, match="nothing begins so; there are steps/lora, startup"):
        chosen(cases, ["step/"])


def test_ratios_are_of_median_times_whichever_way_the_value_is_given() -> None:
    from table import rows

    times = [end_to_end("ours", n, s) for n, s in ((1, 10.0), (2, 30.0), (3, 12.0))]
    times += [end_to_end("plain", n, s) for n, s in ((1, 60.0), (2, 48.0), (3, 54.0))]
    ours, plain = rows(times)
    assert (ours.median, ours.low, ours.high, ours.ratio) == (12.0, 10.0, 30.0, 1.0)
    assert (plain.median, plain.ratio) == (54.0, 4.5)
    rates = [
        record("generation", case, 1, seconds=9.0, result={"tokens_per_second": rate})
        for case, rate in (("ours", 200.0), ("theirs", 50.0))
    ]
    assert [row.ratio for row in rows(rates)] == [1.0, 4.0]  # a fourth of the rate takes 4 times


def test_without_the_first_case_there_is_no_ratio_and_failures_do_not_count() -> None:
    from table import rows

    failed = end_to_end("ours", 1, 3.0) | {"ok": False}
    (plain,) = rows([failed, end_to_end("plain", 1, 60.0)])
    assert (plain.case, plain.ratio) == ("plain", None)


def test_unequal_work_is_reported() -> None:
    from table import complaints, rows

    equal = [end_to_end("ours", 1, 10.0), end_to_end("plain", 1, 60.0)]
    assert complaints(rows(equal)) == []
    (steps, examples) = complaints(rows([*equal[:1], end_to_end("plain", 1, 60.0, steps=650)]))
    assert steps == "end_to_end/last_block: optimizer_steps differ: 655 (ours), 650 (plain)"
    assert "examples differ: 5240 (ours), 5200 (plain)" in examples


def test_a_record_cut_short_is_measured_again(tmp_path: Path) -> None:
    import records

    records.append(tmp_path, end_to_end("ours", 1, 10.0))
    with (tmp_path / records.NAME).open("a") as file:
        file.write('{"group": "end_')
    records.append(tmp_path, end_to_end("ours", 2, 11.0))
    assert [r["round"] for r in records.read(tmp_path)] == [1, 2]


def test_what_is_done_is_skipped_and_a_crash_leaves_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import records
    from run import measure
    from schedule import Case, placed

    mark = tmp_path / "runs.txt"
    note = f"open({str(mark)!r}, 'a').write('x')"
    crash = "raise SystemExit('out of luck')"
    cases = placed([Case("startup", "bad", program=("-c", crash))])
    cases += [Case("startup", "good", program=("-c", note), base="bad", order=1)]
    measure(cases, 2, "once", tmp_path)
    assert mark.read_text() == "xx"
    assert "FAILED: exit status 1: out of luck" in capsys.readouterr().out
    measure(cases, 3, "once", tmp_path)
    assert mark.read_text() == "xxx"  # one new round
    good = [r for r in records.read(tmp_path) if r["case"] == "good"]
    assert [r["round"] for r in good] == [1, 2, 3]
    assert all(r["ok"] and r["seconds"] > 0 and r["peak_mib"] > 5 for r in good)


def test_padded_peers_run_in_full_once_and_are_estimated_then() -> None:
    from run import is_estimated
    from schedule import Case

    long, short = Case("end_to_end/all", "plain", is_long=True), Case("startup", "ours")
    assert [is_estimated(long, n, "once") for n in (1, 2)] == [False, True]
    assert [is_estimated(long, n, "always") for n in (1, 2)] == [False, False]
    assert [is_estimated(short, n, "estimate") for n in (1, 2)] == [False, False]


def test_an_estimate_counts_all_steps_and_evaluation_batches() -> None:
    from loop import left_out

    splits: Any = {"train": [None] * 20, "val": [None] * 33, "test": [None] * 5}
    # 2 epochs of 3 steps; 1 + 2 + 1 evaluation batches at the end, 2 after each epoch.
    result = left_out(splits, 2, step_s=[1.0, 1.0], eval_s=[10.0])
    assert result == {"optimizer_steps": 6, "examples": 40, "left_out_s": 4 * 1.0 + 7 * 10.0}


def test_operations_are_those_of_the_published_formula_where_everything_trains() -> None:
    from flops import step_flops

    n_layer, C, T, B = 12, 768, 64, 8
    N = 12 * n_layer * C * C
    per_token = 6 * N + 12 * n_layer * C * T  # PaLM, appendix B, with H Q = C
    found = step_flops(n_layer=n_layer, n_head=12, n_embd=C, strategy="all", rows=B, width=T)
    assert found == pytest.approx(per_token * B * T)


def test_operations_of_what_is_left_out() -> None:
    from flops import step_flops

    C, T, B = 4, 10, 2
    shape = {"n_layer": 3, "n_head": 2, "n_embd": C, "rows": B, "width": T}
    matrices, attention = 2 * 12 * C * C * B * T, 4 * T * C * B * T
    # The head alone: nothing goes backward through a block, and kept states leave nothing at all.
    assert step_flops(strategy="last_layer", **shape) == 3 * (matrices + attention)
    assert step_flops(strategy="last_layer", first_block=3, **shape) == 0
    last = step_flops(strategy="last_block", first_block=2, **shape)
    assert last == 3 * (matrices + attention)
    one = step_flops(strategy="last_block", first_block=2, selects_one=True, **shape)
    assert one == 3 * (2 * 12 * C * C * B + 2 * 4 * T * C * B)  # two heads look at all of C
    # An adapted matrix of query, key and value is applied to all positions, and has no gradient.
    adapted = step_flops(strategy="lora", first_block=2, selects_one=True, adapters=7, **shape)
    frozen = 2 * 3 * C * C * B * T + 2 * 9 * C * C * B
    assert adapted == 2 * frozen + 3 * (4 * T * C * B + 2 * 7 * B)


def test_on_a_gpu_operations_are_set_against_its_makers_rate() -> None:
    from gpu import markdown, mfu

    facts = {"real_tokens": 4096, "steps": 3, "examples": 24, "precision": "bf16"}
    ours = facts | {"step_s": 0.02, "gflops": 500_000.0, "peak_gflops": 989_400.0}
    theirs = facts | {"step_s": 0.03, "gflops": 320_000.0, "peak_gflops": 989_400.0}
    found = [
        record("machine", "matmul", 1, result={
            "cpu": "a card", "versions": {"torch": "2"}, "gflops": {"bf16": 625_000.0},
        }),
        record("steps/all", "ours", 1, result=ours | {"device_mib": 9000.0}),
        record("steps/all", "transformers, best", 1, result=theirs),
        record("profile", "8 texts", 1, result={
            "seconds_by_kind": {"matrix products": 0.03, "attention": 0.01},
        }),
    ]  # fmt: skip
    assert mfu(ours) == pytest.approx(0.5054, abs=1e-4)
    assert mfu(facts | {"gflops": 1.0}) is None
    lines = markdown(found).splitlines()
    # 1,024 tokens a step, the first one that does not count included.
    assert "| ours | 20.0 | 1.00 | 51,200 | 51% | 80% | 9,000 |" in lines
    assert "| transformers, best | 30.0 | 1.50 | 34,133 | 32% | 51% |  |" in lines
    assert "## Time on the device in a step of ours, all layers, 8 texts" in lines
    assert "40.0 ms of work." in lines
    assert "| matrix products | 30.0 | 75% |" in lines


def test_the_gpus_schedule_begins_with_what_matters_and_fits_its_time(tmp_path: Path) -> None:
    from gpu import LENGTH, gpu_cases
    from schedule import Settings

    settings = Settings(model="gpt2_medium", growth_lengths=(LENGTH,), growth_models=())
    cases = gpu_cases(settings, tmp_path, "cuda")
    assert [f"{case.group}/{case.name}" for case in cases[:3]] == [
        "machine/matmul", "steps/all/ours", "steps/all/transformers, best",
    ]  # fmt: skip
    assert sum(case.guess_s for case in cases) < 9.5 * 60
    assert "trainer.accelerator=gpu" in cases[1].arguments["overrides"]
    assert cases[2].arguments["device"] == "cuda"


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("nvjet_sm90_tst_256x128_64x4_1x2_h_bz_coopA_bias_TN", "matrix products"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma", "attention"),
        ("void at::native::(anonymous namespace)::multi_tensor_apply_kernel<...>", "AdamW"),
        ("triton_red_fused__to_copy_add_native_layer_norm_3", "fused by the compiler"),
        ("void at::native::vectorized_elementwise_kernel<8, ...>", "everything else"),
    ],
)
def test_a_kernel_is_named_after_its_purpose(kernel: str, kind: str) -> None:
    from step_profile import kind_of

    assert kind_of(kernel) == kind


def test_a_case_that_does_not_end_is_ended_and_said(tmp_path: Path) -> None:
    from process import measured
    from schedule import Case

    endless = Case("group", "endless", program=("-c", "import time; time.sleep(60)"))
    found = measured(endless, 1, is_estimate=False, log=tmp_path / "log", limit_s=1)
    assert not found["ok"]
    assert found["error"] == "ended after 1 s"
    assert found["seconds"] < 30


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
def test_a_part_of_the_quick_benchmarks(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "run.py"), "--quick", "--out", str(tmp_path)]
    only = ["machine", "steps/last_block", "generation", "end_to_end", "growth/length/last_block"]
    subprocess.run([*command, "--repeats", "1", "--only", *only], check=True)

    text = (tmp_path / "results.md").read_text()
    assert "Failed" not in text
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    named = [row for row in cells if row[0] == "plain"]
    assert len(named) == 2  # a step, and from end to end
    for row in named:
        assert float(row[4]) > 0  # a ratio
    assert sum(row[0] == "ours" and row[4] == "1.00" for row in cells) == 3

    measured = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    results = {(r["group"], r["case"]): r["result"] for r in measured}
    # The same weights and, where both are fp32, the same tokens; ours may be in bf16.
    own = "ours, fp32" if ("generation", "ours, fp32") in results else "ours"
    ours = results["generation", own]["checksums"]
    for name in ("transformers, default", "transformers, batches"):
        assert results["generation", name]["checksums"] == ours
    for case in ("ours", "plain", "transformers, default", "transformers, best"):
        assert set(results["end_to_end/last_block", case]["accuracy"]) == {"train", "val", "test"}
    with (tmp_path / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(measured)
    for name in ("comparison.png", "growth.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")

    # Nothing is left to do, and other settings do not mix with these.
    again = [*command, "--repeats", "1", "--only", *only]
    subprocess.run(again, check=True)
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == len(measured)
    other = subprocess.run([*again, "--model", "nano"], capture_output=True, text=True)
    assert other.returncode == 1
    assert "other settings (model)" in other.stderr
