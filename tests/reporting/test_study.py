"""What a study finds in its runs: chapters, differences, mistakes, data, responses."""

import json
from pathlib import Path

import numpy as np
import pytest
from reporting import run_folders
from reporting.run_folders import TEST, TRAIN
from sklearn.feature_extraction.text import TfidfVectorizer

from llm_lightning.reporting.analyse import language_models
from llm_lightning.reporting.analyse.chapters import letters
from llm_lightning.reporting.analyse.classifiers import ClassifierChapter
from llm_lightning.reporting.analyse.findings import classifier_findings
from llm_lightning.reporting.analyse.similarity import nearest
from llm_lightning.reporting.analyse.study import Study, read_study
from llm_lightning.reporting.draw.study_figures import classifier_charts
from llm_lightning.run_format.summary import read_summary
from llm_lightning.statistics.crossed import crossed_mean
from llm_lightning.statistics.intervals import holm


def only_chapter(root: Path, **options: object) -> ClassifierChapter:
    (chapter,) = read_study([root], **options).classifiers  # type: ignore[arg-type]
    return chapter


def test_differences_are_paired_and_corrected(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "row_01", missed=[0, 1, 2, 3, 4, 5])
    run_folders.write_classifier(tmp_path, "row_02", missed=[6])
    run_folders.write_classifier(tmp_path, "row_03", missed=[0, 1, 2, 3, 4, 5])
    compared = only_chapter(tmp_path).comparisons
    assert compared.reference is not None
    assert compared.reference.experiment == "row_01"
    better, same = compared.found
    assert (better.only_row, better.only_reference) == (6, 1)
    assert better.difference.mean == pytest.approx(0.5)
    p_values = [better.difference.found.p_value(), same.difference.found.p_value()]
    assert p_values[1] == 1
    assert [better.difference.p_holm, same.difference.p_holm] == holm(p_values)
    assert better.difference.one_seed


def test_the_reference_can_be_chosen(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "row_01")
    run_folders.write_classifier(tmp_path, "row_02", missed=[1])
    compared = only_chapter(tmp_path, reference="row_02").comparisons
    assert compared.reference is not None
    assert compared.reference.experiment == "row_02"
    assert compared.found[0].difference.mean == pytest.approx(0.1)
    with pytest.raises(ValueError, match=r"--baseline-row must be one of row_01, row_02, got 'x'"):
        read_study([tmp_path], reference="x")


def test_seeds_count_as_their_mean(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "row_01")
    for seed, missed in ((1, [1]), (2, [1, 2, 3])):
        run_folders.write_classifier(tmp_path, "row_02", seed=seed, missed=missed)
    (found,) = only_chapter(tmp_path).comparisons.found
    assert found.difference.mean == pytest.approx(-0.2)
    assert (found.only_row, found.only_reference) == (0, 2)  # 1 and 3 of the two seeds
    assert found.difference.one_seed  # of the reference


def test_seeds_are_paired_where_both_rows_have_the_same(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        run_folders.write_classifier(tmp_path, "row_01", seed=seed, missed=range(seed))
        run_folders.write_classifier(tmp_path, "row_02", seed=seed, missed=range(seed + 1))
        run_folders.write_classifier(tmp_path, "row_03", seed=seed + 1, missed=range(seed + 1))
    run_folders.write_classifier(tmp_path, "baseline_length", missed=[1])
    found = {c.row.experiment: c for c in only_chapter(tmp_path).comparisons.found}
    paired, unpaired = found["row_02"].difference, found["row_03"].difference
    assert [part.num_seeds for part in paired.found.seed_parts] == [3]
    assert [part.num_seeds for part in unpaired.found.seed_parts] == [3, 3]
    assert found["row_02"].only_reference == 1
    assert not found["baseline_length"].difference.one_seed  # it has no seed
    assert [part.num_seeds for part in found["baseline_length"].difference.found.seed_parts] == [3]


MANY = [(index % 2, f"message {index}") for index in range(400)]


def test_rows_in_fewer_than_32_bits_are_told(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "row_01")
    run_folders.write_classifier(tmp_path, "row_02", precision="bf16-mixed")
    run_folders.write_classifier(tmp_path, "row_02", seed=2, precision="16-mixed")
    run_folders.write_classifier(tmp_path, "baseline_length", precision="64")
    found = only_chapter(tmp_path).in_half
    assert {name: [row.experiment for row in rows] for name, rows in found.items()} == {
        "bf16, fp16": ["row_02"]
    }
    folder = run_folders.write_responses(tmp_path, precision="bf16-mixed")
    (chapter,) = read_study([tmp_path]).instructions
    assert list(chapter.in_half) == ["bf16"]
    facts = read_summary(folder).model_dump()["responses"] | {"precision": "fp32"}
    run_folders.edit_summary(folder, responses=facts)  # trained in bf16, responses in fp32
    (chapter,) = read_study([tmp_path]).instructions
    assert chapter.in_half == {}


@pytest.mark.parametrize(
    ("missed", "margin", "word", "is_within"),
    [
        (range(40), None, "worse", False),
        (range(0), None, "better", False),
        (range(14), None, "cannot be told apart", False),
        (range(14), 0.03, "equivalent", True),
        (range(6), 0.03, "no worse", False),
        (range(40), 0.15, "worse", True),
    ],
)
def test_what_a_difference_says(
    tmp_path: Path, missed: range, margin: float | None, word: str, is_within: bool
) -> None:
    run_folders.write_classifier(tmp_path, "row_01", missed=range(8, 20), test=MANY)
    run_folders.write_classifier(tmp_path, "row_02", missed=missed, test=MANY)
    (found,) = only_chapter(tmp_path, margin=margin).comparisons.found
    assert (found.difference.word, found.difference.is_within_margin) == (word, is_within)


def test_claims_of_equivalence_are_corrected_too(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "row_01", test=MANY)
    alone, many = tmp_path / "alone", tmp_path / "many"
    for root, names in ((alone, ["a"]), (many, "abcdefgh")):
        run_folders.write_classifier(root, "row_01", missed=range(5), test=MANY)
        for name in names:
            run_folders.write_classifier(root, name, missed=range(3, 8), test=MANY)
    words = [
        {found.difference.word for found in only_chapter(root, margin=0.018).comparisons.found}
        for root in (alone, many)
    ]
    assert words == [{"equivalent"}, {"cannot be told apart"}]


def test_rows_without_the_same_predictions_are_named_and_not_compared(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "row_01")
    (run_folders.write_classifier(tmp_path, "row_02") / "predictions_test.csv").unlink()
    shuffled = run_folders.write_classifier(tmp_path, "row_03") / "predictions_test.csv"
    header, *lines = shuffled.read_text().splitlines()
    shuffled.write_text("\n".join([header, *reversed(lines)]))
    run_folders.write_classifier(tmp_path, "row_04", fallbacks=["nano replaced gpt2"])
    compared = only_chapter(tmp_path).comparisons
    assert compared.found == []
    assert {row.experiment: reason for row, reason in compared.left_out} == {
        "row_02": "predictions_test.csv is missing or damaged",
        "row_03": "its predictions are for other messages, or in another order",
        "row_04": "a fallback replaced its weights, but not those of the reference",
    }


def test_rows_on_other_messages_are_in_chapters_of_their_own(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "row_01")
    run_folders.write_classifier(tmp_path, "row_02", test=TEST[:6])
    run_folders.write_classifier(tmp_path, "row_03", test=TEST[:6])
    first, second = read_study([tmp_path]).classifiers
    assert [row.experiment for row in first.rows] == ["row_02", "row_03"]
    assert (first.num_examples, second.num_examples) == (6, 10)


def test_letters_of_chapters_never_repeat() -> None:
    assert [letters(index) for index in (0, 25, 26, 27, 51, 52, 701, 702)] == [
        *("A", "Z", "AA", "AB", "AZ", "BA", "ZZ", "AAA")
    ]
    assert len({letters(index) for index in range(1000)}) == 1000


def test_baselines_are_those_that_ran_or_else_those_that_runs_recorded(tmp_path: Path) -> None:
    run_folders.write_classifier(
        tmp_path,
        "row_01",
        baselines={"naive_bayes": {"accuracy": 0.9}, "length": {"accuracy": 0.8}},
    )
    chapter = only_chapter(tmp_path)
    assert chapter.baselines == {"naive bayes": 0.9, "length": 0.8}
    assert classifier_findings(chapter).best_baseline == ("naive bayes", 0.9)
    run_folders.write_classifier(tmp_path, "baseline_majority", missed=[1, 3, 5, 7, 9])
    assert only_chapter(tmp_path).baselines == {"majority": 0.5}


def test_every_message_that_some_run_misses_is_listed(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "row_01", seed=1, missed=[4, 9])
    run_folders.write_classifier(tmp_path, "row_01", seed=2, missed=[4])
    run_folders.write_classifier(tmp_path, "row_02", missed=[4, 1])
    run_folders.write_classifier(tmp_path, "baseline_majority", missed=[1, 3, 5, 7, 9])
    chapter = only_chapter(tmp_path)
    assert chapter.num_voters == 3
    assert [(mistake.position, mistake.num_wrong) for mistake in chapter.mistakes] == [
        (4, 3),
        (1, 1),
        (9, 1),
    ]
    hardest, offer, reward = chapter.mistakes
    assert hardest.text == "happy birthday to you"
    assert [vote.truth_probability for vote in hardest.votes] == pytest.approx([0.1] * 3)
    assert [vote.is_wrong for vote in reward.votes] == [True, False, False]
    assert (hardest.wrong_baselines, reward.wrong_baselines) == ([], ["baseline_majority"])
    assert hardest.neighbour is not None  # the same but for case and spaces
    assert (hardest.neighbour.is_same, hardest.neighbour.similarity) == (True, 1.0)
    assert offer.neighbour is not None
    assert offer.neighbour.text == "win a free holiday, call now"
    assert (offer.neighbour.is_same, offer.neighbour.label) == (False, "spam")
    assert 0.3 < offer.neighbour.similarity < 1


def test_nearest_messages_where_there_is_little_to_compare() -> None:
    assert nearest(["a"], None) == [None]
    assert nearest(["a"], [("", "ham")]) == [None]
    assert nearest([], [("a b c", "ham")]) == []
    (found,) = nearest(["entirely else"], [("0123456", "ham")])
    assert found is not None
    assert found.similarity == 0


def test_similarity_is_scikit_learns() -> None:
    texts = ["WIN a free prize, win now!", "ok", "did  you feed the cats\tat home", "xyz qqq"]
    train = [
        ("win win win a prize now", "spam"),
        ("feed the cat", "ham"),
        ("", "ham"),
        ("a ok", "x"),
    ]
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    vectors = vectorizer.fit_transform([text for text, _ in train])
    cosines = (vectorizer.transform(texts) @ vectors.T).toarray()
    found = nearest(texts, train)
    assert [neighbour.text for neighbour in found if neighbour] == [
        train[index][0] for index in cosines.argmax(axis=1)
    ]
    assert [neighbour.similarity for neighbour in found if neighbour] == pytest.approx(
        cosines.max(axis=1)
    )


def test_the_data_card_counts_classes_lengths_repeats_and_cuts(tmp_path: Path) -> None:
    folder = run_folders.write_classifier(tmp_path, train=[*TRAIN, TRAIN[0]])
    card = only_chapter(tmp_path).card
    train, val, test = card.splits
    assert train.class_counts == {"ham": 4, "spam": 2}
    assert (train.repeated, val.in_train) == (1, 2)
    assert (test.in_train, test.nearly_in_train) == (1, 2)  # "happy birthday" but for case
    assert (test.truncated, test.examples, len(test.sha256)) == (0, 10, 64)
    ham, spam = card.lengths
    ham_lengths = sorted(len(text) for label, text in [*TRAIN, TRAIN[0]] if label == 0)
    assert ham.quantiles[0] == ham_lengths[0]
    assert ham.quantiles[-1] == ham_lengths[-1]
    assert sum(ham.histogram) == pytest.approx(1)
    assert spam.examples == 2
    assert card.majority_accuracy == 0.5
    (folder / "splits" / "train.csv").unlink()
    card = only_chapter(tmp_path).card
    assert card.lengths == []
    assert card.splits[-1].in_train is None


def test_precision_at_another_share_is_for_spam_unless_a_share_is_given(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, missed=[0, 1])
    chapter = only_chapter(tmp_path)
    assert chapter.positive_share == pytest.approx(0.134, abs=1e-3)
    (row,) = chapter.score_rows
    assert row.shifted is not None
    share = 747 / 5572
    assert row.shifted.precision == pytest.approx(share * 0.8 / (share * 0.8 + (1 - share) * 0.2))
    assert only_chapter(tmp_path, positive_share=0.5).score_rows[0].shifted != row.shifted


def test_a_diverged_run_has_no_calibration_and_stops_nothing(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "row_01")
    file = run_folders.write_classifier(tmp_path, "row_02") / "predictions_test.csv"
    file.write_text(file.read_text().replace("0.9", "nan"))
    chapter = only_chapter(tmp_path)
    assert [found.row.experiment for found in chapter.score_rows] == ["row_01"]
    assert len(classifier_charts(chapter).confusions) == 2


@pytest.fixture
def responded(tmp_path: Path) -> Study:
    for seed, rouge_l in ((1, [1.0, 0.0, 1.0, 0.5]), (2, [1.0, 0.0, 1.0, 0.7])):
        run_folders.write_responses(tmp_path, seed=seed, rouge_l=rouge_l, judged=40.0 + seed)
    run_folders.write_responses(
        tmp_path,
        "instruct_masked",
        responses=("Paris", "friend", "yes", "no"),
        rouge_l=[1.0] * 4,
        response_loss=1.5,
    )
    return read_study([tmp_path], reference="instruct")


def test_instruction_rows_have_losses_scores_and_judges(responded: Study) -> None:
    (chapter,) = responded.instructions
    base, masked = chapter.rows
    assert chapter.judges == ["llama3, book"]
    score = language_models.response_score(base, "rouge_l")
    assert score is not None
    assert score.mean == pytest.approx(0.65)
    by_response = [[1.0, 0.0, 1.0, 0.5], [1.0, 0.0, 1.0, 0.7]]
    assert score.interval == crossed_mean(by_response).interval
    exact = language_models.response_score(masked, "exact_match")
    assert exact is not None
    assert exact.interval == crossed_mean(np.ones((1, 4))).interval
    judged = language_models.judge_scores(base)["llama3, book"]
    assert (judged.mean, judged.interval is not None) == (41.0, True)
    loss = language_models.logged(masked, "test", "response_loss")
    assert loss is not None
    assert loss.mean == 1.5
    ((row, differences),) = chapter.differences
    assert row is masked
    assert differences["rouge_l"].mean == pytest.approx(1 - np.mean([1, 0, 1, 0.6]))
    p_values = [found.found.p_value() for found in differences.values()]
    assert [found.p_holm for found in differences.values()] == holm(p_values)
    assert len(p_values) == 2  # exact match and ROUGE-L are shown, and corrected, together


def test_responses_are_side_by_side(responded: Study) -> None:
    (chapter,) = responded.instructions
    spelling = chapter.instructions[1]
    assert (spelling.instruction, spelling.input) == ("Spell it right.", "freind")
    assert spelling.reference == "friend"
    assert [(row.label, text, score) for row, text, score in spelling.responses] == [
        ("instruct", "freind", 0.0),
        ("instruct_masked", "friend", 1.0),
    ]


def test_responses_may_be_more_than_the_examples_of_the_loss(tmp_path: Path) -> None:
    """As with ``trainer.limit_test_batches``."""
    for experiment, rouge_l in (("instruct", [0.0] * 4), ("instruct_masked", [1.0] * 4)):
        run_folders.write_responses(
            tmp_path,
            experiment,
            rouge_l=rouge_l,
            judged=50.0,
            evaluated_examples={"train": 9, "val": 9, "test": 2},
        )
    study = read_study([tmp_path], reference="instruct")
    assert study.problems == []
    (chapter,) = study.instructions
    ((_, differences),) = chapter.differences
    assert differences["rouge_l"].mean == 1.0
    assert chapter.num_examples == 4
    assert chapter.judges == ["llama3, book"]


def test_rows_with_other_numbers_of_responses_are_not_paired(tmp_path: Path) -> None:
    run_folders.write_responses(tmp_path, "instruct")
    folder = run_folders.write_responses(tmp_path, "instruct_masked")
    facts = json.loads((folder / "summary.json").read_text())["responses"]
    run_folders.edit_summary(folder, responses=facts | {"examples": 3})
    scores = folder / "response_scores.csv"
    scores.write_text("\n".join(scores.read_text().splitlines()[:-1]))
    study = read_study([tmp_path], reference="instruct")
    assert study.problems == []
    assert study.instructions[0].differences == []


def test_judges_of_fewer_responses_are_named_so(tmp_path: Path) -> None:
    file = run_folders.write_responses(tmp_path, judged=50.0) / "judge-llama3-book.json"
    report = json.loads(file.read_text())
    file.write_text(json.dumps(report | {"counts": {"items": 3}}))
    (chapter,) = read_study([tmp_path]).instructions
    assert chapter.judges == ["llama3, book, first 3 of 4"]


def test_text_runs_have_perplexities(tmp_path: Path) -> None:
    for seed in (1, 2):
        run_folders.write_text_model(tmp_path, seed=seed)
    (chapter,) = read_study([tmp_path]).texts
    assert chapter.rows[0].mean("test", "perplexity") == 21.5


def test_a_study_needs_folders_with_results(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="RUNS_DIR must be an existing folder"):
        read_study([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="RUNS_DIR must hold run folders"):
        read_study([tmp_path])
    run_folders.write_status(tmp_path / "x", "failed", error="out of memory")
    with pytest.raises(ValueError, match="x: failed, out of memory"):
        read_study([tmp_path])
