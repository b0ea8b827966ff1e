"""Plans on the terminal."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from llm_lightning.dry_run import power
from llm_lightning.dry_run.earlier_runs import Earlier, earlier_parts
from llm_lightning.dry_run.plan import Plan
from llm_lightning.presentation.durations import duration
from llm_lightning.presentation.terminal import console, facts_grid, results_table
from llm_lightning.runs.prior_state import PriorState
from llm_lightning.runs.terminal_output import print_fallbacks

_MIB = 2**20


def print_plan(plan: Plan) -> None:
    """Prints what one run would take."""
    print_fallbacks(plan.fallbacks)
    console.print(f"\n[bold]{escape(plan.name)}[/bold], seed {plan.seed}: dry run\n")
    if plan.memory:
        console.print(_memory(plan))
    facts = facts_grid()
    facts.add_row("trainable", f"{plan.trainable:,} of {plan.total:,} parameters")
    facts.add_row("steps", f"{plan.steps:,} optimizer steps{_rest(plan)}")
    if plan.widest_batch:
        rows, width = plan.widest_batch
        facts.add_row("batch", f"{rows} x {width} tokens at the widest, which memory is given for")
    if plan.frozen_activations_mib:
        facts.add_row(
            "frozen", f"{plan.frozen_activations_mib:,.0f} MiB of frozen activations, computed once"
        )
    parts = ", ".join(f"{part} {duration(time)}" for part, time in plan.seconds.items() if time)
    facts.add_row("time", f"about {duration(plan.total_seconds)}" + (f": {parts}" if parts else ""))
    if plan.longest_responses_s is not None:
        facts.add_row(
            "",
            f"responses as long as the references; {duration(plan.longest_responses_s)} at most",
        )
    facts.add_row("device", escape(plan.device))
    facts.add_row("folder", escape(f"{plan.folder} (not touched)"))
    console.print(facts)


def _memory(plan: Plan) -> Table:
    """What a process's peak consists of."""
    table = results_table("memory", "MiB", footer=True)
    table.columns[0].footer = _whose_peak(plan)
    table.columns[1].footer = f"{plan.peak_mib:,.1f}"
    parts = {part: size / _MIB for part, size in plan.memory.items()}
    if plan.frozen_activations_mib:
        parts["frozen activations"] = plan.frozen_activations_mib
    parts["program, libraries, data"] = plan.program_mib
    # Tensors that a step frees at once, and what the allocator keeps.
    parts["passing"] = max(0.0, plan.peak_mib - sum(parts.values()))
    for part, size in parts.items():
        table.add_row(part, f"{size:,.1f}")
    return table


def print_line(plan: Plan) -> None:
    """Prints one run of a sweep."""
    is_finished = plan.prior == PriorState.FINISHED.value
    took = "finished before" if is_finished else f"about {duration(plan.total_seconds)}"
    console.print(
        f"{plan.trainable:>13,} trainable {plan.peak_mib:>8,.0f} MiB "
        f"{plan.steps:>7,} steps  {took:<15}  {escape(plan.name)}, seed {plan.seed}"
        + (" (with fallbacks)" if plan.fallbacks else ""),
        soft_wrap=True,
    )


def print_total(plans: Sequence[Plan], num_refused: int) -> None:
    """Prints what a sweep would take if its runs followed each other."""
    largest = max((plan.peak_mib for plan in plans), default=0)
    finished = sum(plan.prior == PriorState.FINISHED.value for plan in plans)
    parts = [f"{len(plans) + num_refused} runs"]
    parts += [f"{finished} finished before"] if finished else []
    parts += [f"{num_refused} refused"] if num_refused else []
    steps = sum(plan.steps for plan in plans)
    seconds = sum(plan.total_seconds for plan in plans)
    console.print(
        f"\n{', '.join(parts)}: {steps:,} steps, about {duration(seconds)} one after another, "
        f"{largest:,.0f} MiB for the largest",
        style="bold",
    )


def print_power(plans: Sequence[Plan], runs_dir: Path) -> None:
    """Prints which differences of test accuracy a sweep could find.

    Args:
        plans: of its runs.
        runs_dir: where earlier runs are, and the sweep's will be.
    """
    for test_set in dict.fromkeys(plan.test_set for plan in plans if plan.test_set):
        here = [plan for plan in plans if plan.test_set == test_set]
        seeds = Counter(plan.name for plan in here if not plan.is_baseline)
        if seeds:
            num_tests = max(1, len({plan.name for plan in here}) - 1)
            earlier = earlier_parts(runs_dir, test_set)
            console.print(
                "\n".join(_power_lines(earlier, list(seeds.values()), test_set[1], num_tests)),
                soft_wrap=True,
            )


def _power_lines(
    earlier: Earlier, seeds: Sequence[int], num_items: int, num_tests: int
) -> list[str]:
    """What can be found, why, and what other differences need.

    Args:
        earlier: how much rows differ.
        seeds: number of each network's.
        num_items: in the test split.
        num_tests: comparisons with the reference row.
    """
    parts, fewest = earlier.parts, min(seeds)
    found = power.detectable(parts, num_seeds=fewest, num_items=num_items, num_tests=num_tests)
    smallest = "no difference" if found is None else f"differences of {100 * found:.1f} points"
    each = "one seed" if fewest == 1 else f"{fewest} seeds"
    lines = [
        f"test accuracy: {each} on {num_items:,} test items can show {smallest} "
        f"(80 % power, 5 % after Holm's correction for {num_tests} "
        f"comparison{'s' if num_tests > 1 else ''})"
        + (", of the trained models alone" if fewest == 1 else "")
    ]
    share = f"{100 * parts.discordance:.1f} % of predictions that only one of two gets right"
    if earlier.num_pairs:
        pairs = f"{earlier.num_pairs} pair{'s' if earlier.num_pairs > 1 else ''}"
        lines.append(f"  from {share}, as in {pairs} of earlier rows on these items")
    else:
        lines.append(f"  assuming {share}: there are no earlier rows on these items")
    needs = []
    for points in (1, 2, 5):
        options = []
        more = power.seeds_needed(points / 100, parts, num_items=num_items, num_tests=num_tests)
        items = power.items_needed(points / 100, parts, num_seeds=fewest, num_tests=num_tests)
        options += [f"{more} seeds"] if more else []
        options += [f"{_rounded(items):,} items with {each}"] if items else []
        needs.append(f"{points} point{'s' if points > 1 else ''}: {' or '.join(options) or 'more'}")
    return [*lines, f"  needed for {'; '.join(needs)}"]


def _rounded(items: int) -> int:
    """Up to two significant digits: no more is known."""
    unit = int(10 ** max(0, len(str(items)) - 2))
    return -(-items // unit) * unit


def _rest(plan: Plan) -> str:
    match PriorState(plan.prior):
        case PriorState.INTERRUPTED:
            return f", after {plan.steps_done:,} of the interrupted run"
        case PriorState.NO_RESPONSES:
            return ": only responses are left"
        case PriorState.FINISHED:
            return ": finished before"
    return ""


def _whose_peak(plan: Plan) -> str:
    where = "the process" if plan.device.startswith("cpu") else "the device"
    if plan.num_processes == 1:
        return f"peak of {where}"
    return f"peak of {where}, of each of {plan.num_processes}"
