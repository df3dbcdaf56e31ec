"""Correctness over the steps, against the same counted sample by sample."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from r2t2.analysis import flips
from r2t2.analysis.results import OUTCOMES, outcomes
from r2t2.figures import flips as figures
from r2t2.statistics import mcnemar

STEPS, SAMPLES = 7, 60


@pytest.fixture(scope="module")
def answers() -> list[list[str]]:
    """Of each sample, the answer at each step; "a" is right."""
    rng = np.random.default_rng(3)
    kept = [["a"] * STEPS, ["b"] * STEPS]
    return kept + rng.choice(list("aabc"), (SAMPLES - 2, STEPS)).tolist()


def step_rows(answers: list[list[str]]) -> pd.DataFrame:
    rows = [
        (position, step, answer, answer == "a")
        for position, of_sample in enumerate(answers)
        for step, answer in enumerate(of_sample)
    ]
    table = pd.DataFrame(rows, columns=["position", "step", "answer", "correct"])
    return table.astype({"answer": "category"})


def sample_rows(answers: list[list[str]]) -> pd.DataFrame:
    rows = pd.DataFrame(
        {"base_correct": [a[0] == "a" for a in answers], "correct": [a[-1] == "a" for a in answers]}
    )
    return rows.assign(outcome=outcomes(rows))


@pytest.fixture(scope="module")
def paths(answers) -> pd.DataFrame:
    return flips.paths(step_rows(answers))


@pytest.fixture(scope="module")
def samples(answers) -> pd.DataFrame:
    return sample_rows(answers).join(flips.histories(step_rows(answers)))


def test_a_path_is_a_samples_correctness_step_by_step(answers, paths):
    assert paths.to_numpy().tolist() == [[a == "a" for a in of] for of in answers]
    assert list(paths.columns) == list(range(STEPS))


def test_where_steps_end_early_the_last_answer_stays():
    paths = flips.paths(step_rows([["b", "a"], ["a", "b", "b", "a"]]))
    assert paths.to_numpy().tolist() == [[False, True, True, True], [True, False, False, True]]


def test_changes_are_counted_between_neighbouring_steps(answers, samples):
    right = [[a == "a" for a in of] for of in answers]
    assert samples["changes"].tolist() == [sum(a != b for a, b in pairwise(of)) for of in right]


def test_an_answer_has_settled_where_it_stays_the_final_one(answers, samples):
    expected = [next(step for step in range(STEPS) if len(set(of[step:])) == 1) for of in answers]
    assert samples["settled"].tolist() == expected


def test_no_steps_give_no_paths():
    nothing = step_rows([])
    assert flips.paths(nothing).empty
    assert flips.histories(nothing).empty


def test_what_has_turned_by_a_step_is_held_against_step_0(answers, paths):
    table = flips.over_steps(paths).set_index("step")
    for step in range(STEPS):
        pairs = [(of[0] == "a", of[step] == "a") for of in answers]
        assert table.at[step, "wrong_to_right"] == pairs.count((False, True))
        assert table.at[step, "right_to_wrong"] == pairs.count((True, False))
        wrong = sum(not before for before, _ in pairs)
        share = 100 * pairs.count((False, True)) / wrong
        assert table.at[step, "wrong_to_right_share"] == pytest.approx(share)
        accuracy = 100 * sum(after for _, after in pairs) / len(pairs)
        assert table.at[step, "accuracy"] == pytest.approx(accuracy)
        assert table.at[step, "gain"] == pytest.approx(accuracy - table.at[0, "accuracy"])


def test_what_a_step_turns_is_held_against_the_step_before(answers, paths):
    table = flips.over_steps(paths).set_index("step")
    assert table.at[0, "turned_right"] == table.at[0, "turned_wrong"] == 0
    for step in range(1, STEPS):
        pairs = [(of[step - 1] == "a", of[step] == "a") for of in answers]
        assert table.at[step, "turned_right"] == pairs.count((False, True))
        assert table.at[step, "turned_wrong"] == pairs.count((True, False))


def test_there_is_no_share_of_wrong_answers_where_none_was_wrong():
    table = flips.over_steps(flips.paths(step_rows([["a", "b"], ["a", "a"]])))
    assert table["wrong_to_right_share"].isna().all()
    assert table["right_to_wrong_share"].tolist() == [0, 50]


def test_an_alluvial_of_ten_steps_shows_every_second():
    paths = pd.DataFrame(np.zeros((1, 11), bool))
    assert flips.stages(paths) == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("last", [1, 2, 3, 7, 20, 33, 50])
def test_an_alluvial_has_a_first_and_a_last_step_and_few_between(last):
    stages = flips.stages(pd.DataFrame(np.zeros((1, last + 1), bool)))
    assert (stages[0], stages[-1]) == (0, last)
    assert stages == sorted(set(stages))
    assert len(stages) <= 7


def test_flows_are_the_cross_tables_of_neighbouring_stages(paths):
    table = flips.flows(paths, [0, 3, 6])
    for before, after in ((0, 3), (3, 6)):
        cross = pd.crosstab(paths[before], paths[after])
        rows = table[(table["from_step"] == before) & (table["to_step"] == after)]
        expected = dict(zip(OUTCOMES, cross.to_numpy().ravel().tolist(), strict=True))
        assert dict(zip(rows["outcome"], rows["n"], strict=True)) == expected


def test_an_empty_flow_is_none():
    table = flips.flows(flips.paths(step_rows([["a", "b"], ["a", "a"]])), [0, 1])
    assert set(table["outcome"]) == {"right to wrong", "stayed right"}


def test_what_turns_is_counted_per_strategy_and_pooled_over_the_rest(answers):
    own = sample_rows(answers).assign(strategy="ngd", benchmark="x")
    other = own.assign(benchmark="y").iloc[:10]
    control = own.assign(strategy="uniform", correct=own["base_correct"])
    table = flips.turned(pd.concat([own, other, control])).set_index("strategy")
    both = pd.concat([own, other])
    gained, lost = ((both["outcome"] == o).sum() for o in ("wrong to right", "right to wrong"))
    assert table.at["ngd", "n"] == SAMPLES + 10
    assert table.at["ngd", "wrong_to_right"] == gained
    assert table.at["ngd", "lost"] == pytest.approx(100 * lost / (SAMPLES + 10))
    assert table.at["ngd", "base_accuracy"] == pytest.approx(100 * both["base_correct"].mean())
    assert table.at["ngd", "accuracy"] == pytest.approx(100 * both["correct"].mean())
    assert table.at["ngd", "p"] == pytest.approx(mcnemar(int(gained), int(lost)))
    assert table.at["uniform", "gain"] == 0


def test_what_turns_can_be_told_apart_by_benchmark(answers):
    rows = sample_rows(answers).assign(strategy="ngd", benchmark="x")
    table = flips.turned(pd.concat([rows, rows.iloc[:10].assign(benchmark="y")]), "benchmark")
    assert dict(zip(table["benchmark"], table["n"], strict=True)) == {"x": SAMPLES, "y": 10}


def test_answers_that_never_change_do_not_settle(samples):
    table = flips.settling(samples)
    assert table["n"].sum() == (samples["settled"] > 0).sum() < len(samples)
    row = table.iloc[0]
    same = (samples["settled"] == row["settled"]) & (samples["outcome"] == row["outcome"])
    assert row["n"] == same.sum()


def test_flipping_back_and_forth_takes_two_changes(samples):
    table = flips.wavering(samples)
    assert table["changes"].min() == 2
    for changes, correct, n in table.itertuples(index=False):
        assert n == ((samples["changes"] == changes) & (samples["correct"] == correct)).sum()


def test_confidence_is_binned_as_numpy_does():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "outcome": pd.Categorical(rng.choice(OUTCOMES[:2], 500)),
            "confidence_change": np.append(rng.uniform(-100, 100, 498), [-100, 100]),
        }
    )
    table = flips.confidence_changes(rows, width=10)
    for outcome, bins in table.groupby("outcome", observed=True):
        values = rows.loc[rows["outcome"] == outcome, "confidence_change"]
        counts, edges = np.histogram(values, range(-100, 101, 10))
        expected = {int(low): n for low, n in zip(edges[:-1], counts, strict=True) if n}
        assert dict(zip(bins["low"], bins["n"], strict=True)) == expected
        assert bins["share"].sum() == pytest.approx(100)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_outcomes_ends_are_those_of_its_samples(outcome):
    before, after = figures.ends_of(outcome)
    row = pd.DataFrame({"base_correct": [before], "correct": [after]})
    assert outcomes(row).tolist() == [outcome]


def test_the_alluvial_leads_from_every_flow_to_its_samples(paths):
    flows = flips.flows(paths, [0, 3, 6])
    [sankey] = figures.alluvial(flows).data
    ends = list(zip(sankey.link.source, sankey.link.target, strict=True))
    names = [name for [name] in sankey.node.customdata]
    assert [name for [name] in sankey.link.customdata][:2] == [
        "stayed wrong, step 0 to step 3",
        "wrong to right, step 0 to step 3",
    ]
    assert [(names[a], names[b]) for a, b in ends][:2] == [
        ("wrong, step 0", "wrong, step 3"),
        ("wrong, step 0", "right, step 3"),
    ]
    assert sum(sankey.link.value) == 2 * SAMPLES


def test_the_alluvial_says_how_many_are_right_and_wrong_at_each_stage(paths):
    figure = figures.alluvial(flips.flows(paths, [0, 3, 6]))
    shown = [note.text.split("<br>")[-1] for note in figure.layout.annotations]
    counts = [(paths[step].sum(), (~paths[step]).sum()) for step in (0, 3, 6)]
    assert shown == [text for a, b in counts for text in (f"✓ {a}", f"✗ {b}")]


def test_the_papers_values_are_marked_as_the_papers(paths):
    table = flips.over_steps(paths)
    names = [trace.name for trace in figures.over_steps(table, "share", flips.PAPER).data]
    assert "the paper's: MoAI on CVBench" in names
    # Its figure tells no counts.
    assert not any(
        "paper" in t.name for t in figures.over_steps(table, "samples", flips.PAPER).data
    )


def test_flips_are_told_apart_by_more_than_colour(samples, paths):
    progress = flips.over_steps(paths)
    bars = figures.settling(flips.settling(samples), progress).data[:4]
    assert len({bar.marker.pattern.shape for bar in bars}) == 4
    lines = figures.over_steps(progress, "share").data[:2]
    assert len({line.marker.symbol for line in lines}) == 2


def test_controls_stand_beside_the_strategy_on_every_benchmark(answers):
    rows = sample_rows(answers)
    frames = [
        rows.assign(strategy=name, benchmark=benchmark)
        for name in ("ngd", "uniform")
        for benchmark in ("<b>x</b>", "y")
    ]
    table = flips.turned(pd.concat(frames), "benchmark")
    right, wrong, control = figures.by_benchmark(table, "ngd", ["y", "<b>x</b>"]).data
    assert (right.x[0], wrong.x[0]) == (table["gained"][0], -table["lost"][0])
    assert control.name == "Uniform r"
    assert sorted(control.x) == sorted([*table["gained"][2:], *-table["lost"][2:]])
    assert right.customdata[1][1] == "&lt;b&gt;x&lt;/b&gt;"
