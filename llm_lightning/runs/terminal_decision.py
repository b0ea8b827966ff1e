"""What a run prints about its decision: how it decides, and what that changes on the test split."""

from rich.markup import escape

from llm_lightning.presentation.plurals import counted
from llm_lightning.presentation.terminal import console, results_table
from llm_lightning.run_format.decision_facts import DecisionEffect, DecisionFacts, Outcome


def print_decision(decision: DecisionFacts) -> None:
    """Prints the test results of the most probable class beside those of the decision."""
    effect = decision.effects["test"]
    table = results_table("decision, on test", "most probable class", "decision")
    before, after = _cells(effect.before), _cells(effect.after)
    for title, value in before.items():
        if value or after[title]:
            table.add_row(title, value, after[title])
    console.print(table)
    console.print(escape(f"{in_words(decision)}; {_changes(effect)}"))


def in_words(decision: DecisionFacts) -> str:
    """How a run decides, as a phrase."""
    parts = [f"temperature {decision.temperature:.3g}"]
    if decision.threshold is not None:
        parts.append(f"threshold {decision.threshold:.3g}")
    fitted = f"fitted for {decision.kind} on {counted(decision.fitted_on, 'validation example')}"
    abstains = ""
    if decision.abstain_below:
        abstains = f"; left to people below a probability of {decision.abstain_below:g}"
    return f"{', '.join(parts)}, {fitted}{abstains}"


def _changes(effect: DecisionEffect) -> str:
    said = (
        f"{counted(effect.changed, 'test label')} {'is' if effect.changed == 1 else 'are'} decided "
        f"otherwise: {effect.corrected} became right, {effect.spoiled} wrong"
    )
    if effect.abstained:
        said += (
            f"; {effect.abstained} left to people, of which {effect.abstained_wrong} had a wrong "
            f"most probable class"
        )
    return said


def _cells(outcome: Outcome) -> dict[str, str]:
    return {
        "right": f"{outcome.right:,} of {outcome.examples:,}",
        "accuracy": _percent(outcome.accuracy),
        "balanced": _percent(outcome.balanced_accuracy),
        "F1": _percent(outcome.f1),
        "mean cost": "" if outcome.cost is None else f"{outcome.cost:.4f}",
        "loss (all)": f"{outcome.loss:.3f}",
        "calibration error (all)": _percent(outcome.ece),
    }


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"
