"""Metrics: the field's own scores, to the last digit, and the rules behind them."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from r2t2 import metrics
from r2t2.samples import Sample

GOLDEN = Path(__file__).resolve().parents[1] / ".." / "shared" / "golden" / "metrics.json"


@pytest.fixture(scope="module")
def golden():
    """What the public evaluation code gives."""
    if not GOLDEN.is_file():
        if os.environ.get("CI"):
            pytest.fail(f"{GOLDEN} is missing, and CI must hold metrics against it")
        pytest.skip("the golden vectors are not here")
    return json.loads(GOLDEN.read_text())


def _sample(metric, label, choices=(), answers=()):
    image = lambda: Image.new("RGB", (1, 1))  # noqa: E731
    return Sample("s", "?", image, label, tuple(choices), answers=tuple(answers), metric=metric)


# --- The public code's scores


def test_mme_is_scored_as_its_public_code_does(golden):
    told = golden["mme"]
    rows = told["rows"]
    scores = [_sample("yes_no", row["answer"]).score(row["response"]) for row in rows]
    categories = [row["category"] for row in rows]
    images = [row["question_id"] for row in rows]
    assert scores == told["per_sample"]
    assert metrics.mme(scores, categories, images) == told["per_category"]
    total, _ = metrics.benchmark_score("mme", scores, categories, images)
    assert total == told["total"]


@pytest.mark.parametrize(("metric", "column"), [("textvqa", "textvqa"), ("vqa", "vqav2")])
def test_soft_accuracy_is_that_of_the_public_code(golden, metric, column):
    for row in golden["vqa_accuracy"]["rows"]:
        sample = _sample(metric, row["answers"][0], answers=row["answers"])
        assert sample.score(row["response"]) == row[column], row


def test_anls_is_that_of_the_public_code(golden):
    for row in golden["anls"]["rows"]:
        sample = _sample("anls", row["answers"][0], answers=row["answers"])
        assert sample.score(row["response"]) == row["anls"], row


def test_scienceqa_is_scored_as_its_public_code_does(golden):
    for row in golden["scienceqa_img"]["rows"]:
        choices = [f"choice number {i}" for i in range(row["n_choices"])]
        sample = _sample("option:scienceqa", choices[row["answer"]], choices)
        assert sample.score(row["response"]) == row["score"], row


def test_cv_bench_is_scored_as_its_public_code_does(golden):
    told = golden["cv_bench"]
    scores = []
    for row in told["rows"]:
        choices = [f"choice number {i}" for i in range(row["n_choices"])]
        sample = _sample("option:cv_bench", row["answer"], choices)
        assert metrics.leading_letter(row["response"]) == row["parsed"], row
        assert sample.is_correct(row["response"]) == row["correct"], row
        scores.append(sample.score(row["response"]))
    sources = [row["source"] for row in told["rows"]]
    overall, highest = metrics.benchmark_score("cv_bench", scores, [""] * len(scores), sources)
    assert (overall, highest) == (told["overall"], 1.0)
    assert sum(scores) / len(scores) == told["plain"]


# --- The rules that these vectors do not reach


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("Yes, it is", "yes"),
        ("Not at all", "no"),  # it begins with "no"
        ("I know", "other"),  # "no" comes too late
        ("A no", "no"),
        (" N. ", "no"),
        ("x", "other"),
        ("", "other"),
    ],
)
def test_four_letters_decide_what_a_reply_to_mme_says(reply, said):
    assert metrics.yes_no(reply) == said


@pytest.mark.parametrize(
    ("text", "compared"),
    [
        ("Two dogs", "2 dogs"),
        ("none", "0"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),  # the table knows it with one apostrophe only
        ("couldnt've", "couldn't've"),
        ("somebody'd", "somebodyd"),  # so the table has it
        ("1,000", "1000"),
        ("1,000 - x/y", "1000 xy"),  # a thousands comma makes every mark vanish
        ("x/y", "x y"),
        ("U.S.A.", "usa"),
        ("3.5", "3.5"),
        ("the", ""),
    ],
)
def test_vqa_compares_texts_by_its_tables(text, compared):
    assert metrics.vqa_text(text) == compared


def test_textvqa_parts_a_genitive_and_vqa_does_not():
    assert metrics.textvqa_text("the men's") == "men 's"
    assert metrics.vqa_text("the men's") == "men's"


def test_textvqa_drops_a_comma_and_vqa_parts_words_by_it():
    assert metrics.textvqa_text("red,white") == "redwhite"
    assert metrics.vqa_text("red,white") == "red white"


def test_answers_are_compared_in_normal_form_even_where_all_are_the_same():
    assert _sample("vqa", "Black.", answers=["Black."] * 10).score("black") == 1


def test_two_of_ten_annotators_make_an_answer_correct_and_one_does_not():
    said = ["one", "cat", "cat", *"abcdefg"]
    sample = _sample("vqa", "cat", answers=said)
    assert sample.score("cat") == pytest.approx(0.6)
    assert sample.is_correct("cat")
    assert sample.score("b") == pytest.approx(0.3)
    assert not sample.is_correct("b")


def test_without_annotators_the_label_is_all_of_them():
    assert _sample("textvqa", "stop").score("STOP") == 1
    assert _sample("anls", "stop").score("stap") == 0.75


def test_anls_below_a_half_is_nothing():
    assert metrics.anls("abxx", ["abcd"]) == 0.5
    assert metrics.anls("axxx", ["abcd"]) == 0


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("(B) a cup", "B"),
        ("The answer is B.", "B"),
        ("it must be the cup", "B"),
        ("a ball or a cup", ""),
        ("A or B", ""),
        ("Z", ""),
        ("", ""),
    ],
)
def test_an_option_is_told_by_its_letter_or_its_text(reply, letter):
    assert metrics.inferred_letter(reply, ("ball", "cup", "door")) == letter


@pytest.mark.parametrize("metric", [name for name in metrics.METRICS if name.startswith("option")])
@pytest.mark.parametrize("label", ["right", "(B)", "B"])
@pytest.mark.parametrize(("reply", "score"), [("right", 1), ("b", None), ("B", 1), ("left", 0)])
def test_every_rule_for_options_takes_texts_and_letters(metric, label, reply, score):
    found = _sample(metric, label, ("left", "right")).score(reply)
    assert score is None or found == score


def test_choices_that_are_letters_are_texts_before_they_are_letters():
    sample = _sample("option", "A", ("C", "A", "B"))
    assert sample.is_correct("A")
    assert not sample.is_correct("B")


def test_mathvista_takes_the_most_similar_choice():
    sample = _sample("option:mathvista", "8/11", ("3/11", "8/11", "3/5"))
    assert sample.is_correct("(B) 8/11")
    assert sample.is_correct(" 8 / 11")
    assert not sample.is_correct("4/11")


@pytest.mark.parametrize(
    ("metric", "label", "reply", "right"),
    [
        ("number", "14", "14", True),
        ("number", "14", "14.9", True),  # whole numbers are cut off, not rounded
        ("number", "14", "The number missing is 14.", True),
        ("number", "14", "13", False),
        ("number:1", "0.6", "0.64", True),
        ("number:2", "1.45", "It costs $1.45 each", True),
        ("number:2", "1.45", "1.4", False),
        ("number", "1200", "1,200 people", True),
        ("number", "1", "one", False),
        ("number", "1", "inf", False),
        ("number:1", "nan", "none", False),
    ],
)
def test_numbers_are_compared_at_their_precision(metric, label, reply, right):
    assert _sample(metric, label).is_correct(reply) is right


def test_exact_keeps_the_articles_that_match_drops():
    assert not _sample("exact", "dog").is_correct("a dog")
    assert _sample("match", "dog").is_correct("a dog")
    assert _sample("exact", "dog").is_correct(" Dog.")


@pytest.mark.parametrize("name", ["", "accuracy", "number:", "number:x", "number:10"])
def test_a_metric_that_there_is_not_is_refused(name):
    with pytest.raises(ValueError, match="there is no metric"):
        _sample(name, "x").score("x")


@pytest.mark.parametrize("name", [*metrics.METRICS, "number:2"])
def test_every_metric_keeps_to_its_name_and_range_and_says_what_is_correct(name):
    metric = metrics.metric(name)
    assert metric.name == name
    assert metric.correct
    sample = _sample(name, "1", ("1", "2"))
    for reply in ("1", "2", "", "\n", "(", "é" * 300, "1e999", "9" * 5000):
        assert 0 <= sample.score(reply) <= 1
    assert sample.is_correct("1") or name == "yes_no" or name == "number:2"
    with pytest.raises(ValueError, match="no label"):
        replace(sample, label=None).score("1")


# --- Benchmarks


def test_mme_counts_an_image_only_with_both_its_questions():
    score = metrics.benchmark_score("mme", [1, 1, 1], ["OCR"] * 3, ["a", "a", "b"])
    assert score == (200, 200)
    assert metrics.benchmark_score("mme", [1, 0], ["OCR"] * 2, ["a", "b"]) == (0.5, 1)


def test_mme_sums_perception_and_leaves_cognition_out():
    categories = ["OCR", "OCR", "code_reasoning", "code_reasoning"]
    images = ["a", "a", "a", "a"]
    assert metrics.benchmark_score("mme", [1, 0, 1, 1], categories, images) == (50, 200)
    assert metrics.benchmark_score("mme", [1, 1], categories[2:], images[2:]) == (200, 200)


def test_mmes_ten_perception_categories_make_two_thousand():
    assert metrics.maximum("mme", metrics.PERCEPTION) == 2000


def test_circular_evaluation_wants_all_rotations_right():
    groups = ["p", "p", "p", "q", "q"]
    score = metrics.benchmark_score("circular", [1, 1, 1, 1, 0], [""] * 5, groups)
    assert score == (0.5, 1)


def test_cv_bench_weighs_dimensions_not_samples():
    assert metrics.cv_bench({"ADE20K": 1.0, "COCO": 0.0, "Omni3D": 1.0}) == 0.75
    assert metrics.cv_bench({"ADE20K": 1.0, "COCO": 0.0}) == 0.5
    assert metrics.cv_bench({"Omni3D": 0.25}) == 0.25
    with pytest.raises(ValueError, match="Omni3D"):
        metrics.cv_bench({"x": 1.0})


def test_without_groups_or_of_several_kinds_a_benchmark_is_the_mean_of_its_scores():
    assert metrics.aggregation({"yes_no"}, ["a"]) == "mme"
    assert metrics.aggregation({"yes_no"}, [""]) == "mean"
    assert metrics.aggregation({"option:mathvista", "number:1"}, ["a"]) == "mean"
