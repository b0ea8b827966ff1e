"""Panels of the report: what they draw for which rows."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from reporting import run_folders

from llm_lightning.reporting.analyse.classifiers import ClassifierChapter
from llm_lightning.reporting.analyse.study import read_study
from llm_lightning.reporting.draw import style
from llm_lightning.reporting.draw.accuracy_figures import accuracy_by_row
from llm_lightning.reporting.draw.confusion_figures import confusion_panel
from llm_lightning.reporting.draw.cost_figures import accuracy_over_cost, short_number
from llm_lightning.reporting.draw.learning_figures import row_panels
from llm_lightning.reporting.draw.threshold_figures import row_panel


def chapter_of(root: Path) -> ClassifierChapter:
    (chapter,) = read_study([root]).classifiers
    return chapter


def only_axes(figure: Figure | None) -> Axes:
    assert figure is not None
    (axes,) = figure.axes
    return axes


def tick_labels(axes: Axes, name: str = "x") -> list[str]:
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    labels = axes.get_xticklabels() if name == "x" else axes.get_yticklabels()
    return [label.get_text() for label in labels]


def tips(axes: Axes) -> list[str]:
    gids = [artist.get_gid() for artist in axes.get_children()]
    return [gid.removeprefix(style.TIP) for gid in gids if gid and gid.startswith(style.TIP)]


@pytest.fixture
def rows(tmp_path: Path) -> ClassifierChapter:
    for seed, missed in ((1, [0]), (2, [0, 1])):
        run_folders.write_classifier(
            tmp_path, "row_01", seed=seed, missed=missed, published={"row": 1, "test": 90.0}
        )
    run_folders.write_classifier(
        tmp_path,
        "row_02",
        missed=[1],
        parameters={"trainable": 10_000_000, "total": 10_000_000},
        fallbacks=["nano replaced gpt2"],
    )
    run_folders.write_classifier(tmp_path, "baseline_length", missed=[1, 2])
    run_folders.write_classifier(tmp_path, "baseline_majority", missed=range(10))
    return chapter_of(tmp_path)


def test_accuracies_have_means_seeds_intervals_baselines_and_published_values(
    rows: ClassifierChapter,
) -> None:
    axes = only_axes(accuracy_by_row(rows.rows, rows.verdicts, rows.baselines))
    assert tick_labels(axes, "y") == ["1 row_01", "2 row_02"]
    low, high = axes.get_xlim()
    interval = rows.rows[0].interval
    assert interval is not None
    assert (low < interval.low, high) == (True, 1.0)
    assert tips(axes) == [
        "seed 1: 90.00 %",
        "seed 2: 80.00 %",
        "1 row_01: 85.00 %",
        "published: 90.00 % (not comparable)",
        "2 row_02: 90.00 %",
    ]
    drawn = [line.get_xdata() for line in axes.lines]
    assert any(np.allclose(xs, [interval.low, interval.high]) for xs in drawn if len(xs) == 2)
    assert any(np.allclose(xs, [0.8, 0.8]) for xs in drawn if len(xs) == 2)
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["length", "further left: majority 0.0%"]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == style.WHITE]
    assert [line.get_color() for line in hollow] == [style.GREEN, style.MUTED]


def test_names_of_baselines_never_overlap(rows: ClassifierChapter) -> None:
    close = {f"a baseline, number {number}": 0.8 + number / 1000 for number in range(5)}
    axes = only_axes(accuracy_by_row(rows.rows, {}, close))
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 5
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        assert axes.figure.bbox.x0 <= box.x0 <= box.x1 <= axes.figure.bbox.x1
        assert box.y1 <= axes.figure.bbox.y1


def test_names_of_close_baselines_are_staggered(rows: ClassifierChapter) -> None:
    names = ["naive bayes", "logreg"]
    shares = {True: 0.05, False: 0.2}
    for is_close, share in shares.items():
        lines = dict(zip(names, (0.7, 0.7 + share), strict=True))
        axes = only_axes(accuracy_by_row(rows.rows, {}, lines))
        first, second = (text.get_window_extent() for text in axes.texts)
        assert (first.y0 != second.y0) == is_close
        assert is_close or second.x0 - first.x1 > 15


def test_loss_panels_have_room_above_the_highest_point(tmp_path: Path) -> None:
    run_folders.write_text_model(tmp_path)
    (chapter,) = read_study([tmp_path]).texts
    (figure,) = row_panels(chapter.learning)
    assert only_axes(figure).get_ylim() == pytest.approx((0, 1.08 * 2.5))


def test_costs_have_round_ticks_and_a_name_at_each_point(rows: ClassifierChapter) -> None:
    networks = rows.rows[:2]
    costs = {row.number: float(row.trainable) for row in networks}
    axes = only_axes(accuracy_over_cost(networks, costs, "Trainable parameters", is_log=True))
    low, high = axes.get_xlim()
    assert low < 1000 < 10_000_000 < high
    inside = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert inside == [10.0**power for power in (3, 4, 5, 6, 7)]
    assert [short_number(tick) for tick in inside] == ["1 k", "10 k", "100 k", "1 M", "10 M"]
    assert [text.get_text() for text in axes.texts] == ["1 row_01", "2 row_02"]
    assert accuracy_over_cost(networks[:1], costs, "x", is_log=True) is None
    same = {1: 5.0, 2: 5.0}  # a single value has room on both sides
    low, high = only_axes(accuracy_over_cost(networks, same, "x", is_log=False)).get_xlim()
    assert low < 5 < high


def test_learning_panels_share_their_axes_and_count_whole_epochs(tmp_path: Path) -> None:
    for seed, values in ((1, (0.4, 0.6, 0.8)), (2, (0.5, 0.7, 0.9))):
        run_folders.write_classifier(tmp_path, "row_01", seed=seed, val_accuracies=values)
    run_folders.write_classifier(tmp_path, "row_02", val_accuracies=(0.7,))
    first, second = map(only_axes, row_panels(chapter_of(tmp_path).learning))
    assert first.get_xlim() == second.get_xlim() == (0, 3)
    assert first.get_ylim() == second.get_ylim() == pytest.approx((0.3, 1.0))
    assert tick_labels(first) == ["0", "1", "2", "3"]
    training, validation = (line for line in first.lines if len(line.get_xdata()) == 3)
    assert list(training.get_ydata()) == pytest.approx([0.35, 0.55, 0.75])
    assert list(validation.get_ydata()) == pytest.approx([0.45, 0.65, 0.85])
    assert len(first.collections) == 2  # a band over seeds each
    assert not second.collections


def test_confusions_add_up_all_seeds(rows: ClassifierChapter) -> None:
    axes = only_axes(confusion_panel(rows.rows[0]))
    # Messages 0 (ham) is missed by both seeds, message 1 (spam) by the second.
    assert [text.get_text() for text in axes.texts] == [
        "8\n80.0%",
        "2\n20.0%",
        "1\n10.0%",
        "9\n90.0%",
    ]
    assert tick_labels(axes) == ["ham", "spam"]


def test_the_first_rows_have_colours_and_names_and_the_others_are_counted(tmp_path: Path) -> None:
    for number in range(9):
        run_folders.write_classifier(tmp_path, f"row_{number}", missed=[number])
    axes = only_axes(row_panel("roc", chapter_of(tmp_path).rows))
    texts = [text.get_text() for text in axes.texts]
    assert texts[0] == "AUROC"
    assert [text.split()[1] for text in texts[1:7]] == [f"row_{number}" for number in range(6)]
    assert texts[7:] == ["3 more"]
    assert len(tips(axes)) == 9
    colours = [line.get_color() for line in axes.lines if line.get_gid()]
    assert colours.count(style.MUTED) == 3
    assert len(set(colours)) == 7
