"""The reference set's page, its empty states, and what it does while a map is not there yet."""

import shutil

import pandas as pd
import pytest

from r2t2.analysis import maps
from r2t2.reference import ReferenceSet
from r2t2.ui import coverage, references

NAME = "mini-7-reference-wordllama"


@pytest.fixture(scope="module")
def folder(small_cache):
    """The set of the small cache, with its maps by principal components."""
    found = small_cache / "references" / NAME
    for space in maps.SPACES:
        maps.keep(found, space, "pca")
    return found


@pytest.fixture
def page(app, folder):
    """Opens the page with a map that is there: page(**{"ref-search": "..."})."""
    return lambda **query: app("references", **{"ref-method": "PCA", **query})


@pytest.fixture
def copy(app, small_cache, folder, tmp_path, monkeypatch):
    """A copy of the small cache that the page is opened on from then on."""
    shutil.copytree(small_cache, tmp_path / "cache")
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path / "cache"))
    references.making.clear()
    yield tmp_path / "cache"
    references.making.clear()


def texts(test) -> list[str]:
    return [block.value for block in test.text]


def heading(test) -> str:
    """How many samples are listed, and why."""
    [line] = [block.value for block in test.markdown if block.value.startswith("**")]
    return line.strip("*")


def table(folder) -> pd.DataFrame:
    return ReferenceSet.read(folder, "").table


def test_the_page_says_what_the_set_is(page, html, folder):
    rows = table(folder)
    test = page()
    values = {metric.label: metric.value for metric in test.metric}
    assert values == {
        "Samples": "150",
        "Kept": str(rows["correct"].sum()),
        "Questions": str(rows["question"].nunique()),
    }
    for fact in (NAME, "mini-7 (", "reference, seed 7", "wordllama, 256 dimensions"):
        assert fact in html(test)


def test_a_search_lists_the_same_question_first(page, folder):
    question = table(folder)["question"][5]
    test = page(**{"ref-search": question})
    assert heading(test) == "48 nearest"
    assert texts(test)[0] == question
    assert "similarity 1.000" in texts(test)[1]


def test_html_in_a_search_shows_as_typed(page):
    typed = "<b>which</b> **colour** $x$?"
    test = page(**{"ref-search": typed})
    [search] = [box for box in test.text_input if box.label == "Search"]
    assert search.value == typed
    assert heading(test) == "48 nearest"


@pytest.mark.parametrize(("answered", "right"), [("right", True), ("wrong", False)])
def test_filters_narrow_the_list(page, folder, answered, right):
    rows = table(folder)
    kept = rows[rows["correct"] == right]
    kind = kept["category"].iloc[0]
    expected = len(kept[kept["category"] == kind])
    test = page(**{"ref-answered": answered, "ref-types": kind})
    assert heading(test) == f"{expected} of 150"


def test_a_label_is_looked_for_as_it_is_typed(page, folder):
    assert (
        heading(page(**{"ref-label": "YES"})) == f"{(table(folder)['label'] == 'yes').sum()} of 150"
    )
    assert heading(page(**{"ref-label": ".*"})) == "0 of 150"


def test_a_search_that_nothing_can_answer_is_no_error(page):
    test = page(**{"ref-label": "nothing has this label", "ref-search": "which colour?"})
    assert heading(test) == "0 of 150"


def test_search_and_filters_go_together(page, folder):
    rows = table(folder)
    test = page(**{"ref-search": "what color is the ball?", "ref-types": "counting"})
    assert heading(test) == f"{min(48, (rows['category'] == 'counting').sum())} nearest"


def test_a_sample_opens_in_inspect(page):
    test = page()
    [link, *_] = [block.proto for block in test.get("page_link") if block.proto.label == "Inspect"]
    assert link.page == "inspect"
    for part in ("benchmark=reference", "seed=7", "sample=0", "model=mini-7"):
        assert part in link.query_string


def test_the_list_can_be_a_table(page, folder):
    shown = page(**{"ref-form": "Table"}).dataframe[0].value
    assert list(shown["question"]) == list(table(folder)["question"])


def test_a_map_that_is_not_there_yet_is_made_once_meanwhile(page, copy, monkeypatch):
    made = []

    class Making:
        running, done = True, 0.4

        def __init__(self, *asked, **environment):
            made.append(asked)

    monkeypatch.setattr(references, "Making", Making)
    test = page(**{"ref-method": "t-SNE"})
    assert heading(test) == "150 of 150"
    [bar] = test.run().get("progress")
    assert bar.proto.text == "Making this map, once for all: 40%"
    assert len(made) == 1


def test_a_map_that_could_not_be_made_says_why_and_can_be_tried_again(page, copy, monkeypatch):
    class Making:
        running, error = False, "MemoryError"

        def __init__(self, *asked, **environment):
            pass

    monkeypatch.setattr(references, "Making", Making)
    test = page(**{"ref-method": "t-SNE"})
    assert "MemoryError" in texts(test)
    Making.running, Making.done = True, 0.1
    [again] = [button for button in test.button if button.label == "Try again"]
    assert again.click().run().get("progress")


def test_a_map_is_made_in_a_process_of_its_own(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "set")
    making = references.making(tmp_path / "set", tmp_path, "routings", "pca")
    making._listener.join(60)
    assert not making.running
    assert making.done == 1
    stored = ReferenceSet.read(folder, "")
    path = maps.file(tmp_path / "set", stored.fingerprint, "routings", "pca")
    assert references.chart(path).equals(
        references.chart(maps.file(folder, stored.fingerprint, "routings", "pca"))
    )


def test_a_process_that_fails_leaves_its_last_words(tmp_path):
    making = references.making(tmp_path, tmp_path, "routings", "pca")
    making._listener.join(60)
    assert "there is no reference set" in making.error


def test_distance_is_told_for_every_benchmark(page, html):
    test = page(**{"ref-view": "Distance and gain"})
    assert "Within benchmarks" in html(test)
    assert "NGD's gain" in html(test)
    assert "No control" not in html(test)
    assert "The farthest questions" in [block.value for block in test.subheader]


def test_one_benchmark_has_no_pooled_slope(page, html):
    test = page(**{"ref-view": "Distance and gain", "benchmarks": "general"})
    assert "fair comparison" not in html(test)
    assert not test.toggle


@pytest.mark.parametrize("measure", ["nearest", "k-th nearest"])
def test_distance_is_measured_as_it_is_asked_for(page, measure):
    test = page(**{"ref-view": "Distance and gain", "ref-distance": measure})
    assert any(measure in block.value for block in test.caption)


def test_use_counts_the_neighbours_of_all_samples(page, folder):
    test = page(**{"ref-view": "Use"})
    values = {metric.label: metric.value for metric in test.metric}
    kept = int(table(folder)["correct"].sum())
    never = int(values["Never"])
    assert 0 <= never < kept
    assert values["Ever a neighbour"] == f"{(kept - never) / kept:.0%}"


@pytest.mark.parametrize("view", ["Distance and gain", "Use"])
def test_without_a_run_that_kept_neighbours_a_command_makes_one(page, copy, view):
    for run in (copy / "runs").glob("*-ngd-*"):
        shutil.rmtree(run)
    test = page(**{"ref-view": view})
    [command] = [block.value for block in test.code]
    assert command == f"python -m r2t2 run --model mini-7 --reference {NAME} --strategy ngd"


def test_without_a_reference_set_a_command_builds_one(empty_app):
    test = empty_app("references")
    [command] = [block.value for block in test.code]
    assert command.startswith("python -m r2t2 reference build --model")


def test_a_damaged_set_says_how_to_build_it_again(page, copy):
    (copy / "references" / NAME / "samples.parquet").write_bytes(b"PAR1")
    said = " ".join(texts(page()))
    assert "is damaged" in said
    assert "reference build --model mini-7" in said


def slopes(pooled: float, within: float) -> pd.DataFrame:
    rows = [("all, pooled", pooled), ("all, within benchmarks", within), ("b", within)]
    table = pd.DataFrame(rows, columns=["benchmark", "slope"]).assign(strategy="ngd", questions=9)
    return table.assign(low=table["slope"] - 1, high=table["slope"] + 1)


def test_slopes_of_different_signs_are_explained():
    text = " ".join(coverage.said(slopes(5, -3), {}, "gain"))
    assert "NGD's gain falls by 3.0 points per 0.1" in text
    assert "pooled it rises by 5.0 points" in text
    assert "They differ in sign" in text
    assert "They differ in sign" not in " ".join(coverage.said(slopes(-5, -3), {}, "gain"))


def test_an_interval_over_zero_is_not_called_a_change():
    assert "does not clearly change" in coverage.said(slopes(5, 0.5), {}, "gain")[0]


def test_what_no_control_was_held_against_is_not_put_down_to_neighbours():
    assert "No control has been run" in coverage.said(slopes(5, -3), {}, "gain")[-1]
    lead = {"ngd_random_neighbours": slopes(1, -4)}
    assert (
        "over “NGD, random neighbours” falls by 4.0"
        in coverage.said(slopes(5, -3), lead, "gain")[-1]
    )
