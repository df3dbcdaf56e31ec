"""Shifts counted in other ways: sample by sample, and by pandas and scipy."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from r2t2.analysis import shifts
from r2t2.analysis.results import OUTCOMES
from r2t2.figures import shifts as figures
from r2t2.figures.style import expert_colours
from r2t2.sites import Site

EXPERTS = ("eye", "ear", "<b>nose</b>", "skin")


@pytest.fixture
def samples() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 300
    before = rng.choice(EXPERTS, n, p=[0.6, 0.3, 0.1, 0.0])
    after = np.where(rng.random(n) < 0.4, before, rng.choice(EXPERTS, n))
    return pd.DataFrame(
        {
            "position": range(n),
            "base_correct": rng.random(n) < 0.5,
            "correct": rng.random(n) < 0.7,
            "top1_before": pd.Categorical(before),
            "top1_after": pd.Categorical(after),
        }
    )


@pytest.fixture
def moves(samples) -> pd.DataFrame:
    return shifts.moves(samples, EXPERTS)


@pytest.fixture
def steps() -> pd.DataFrame:
    """Three samples: all four steps, the ends alone, two steps."""
    rows = [
        (0, 0, "eye", "yes", False),
        (0, 1, "ear", "yes", False),
        (0, 2, "ear", "no", True),
        (0, 3, "skin", "no", True),
        (1, 0, "skin", "yes", True),
        (1, 3, "eye", "no", False),
        (2, 0, "ear", "no", True),
        (2, 1, "eye", "no", True),
    ]
    table = pd.DataFrame(rows, columns=["position", "step", "top1", "answer", "correct"])
    return table.astype({"top1": "category", "answer": "category"})


def test_experts_keep_their_names_whatever_order_their_categories_had(samples):
    moved = shifts.moves(samples, EXPERTS)
    assert list(moved["before"].cat.categories) == list(EXPERTS)
    assert moved["before"].astype(str).tolist() == samples["top1_before"].astype(str).tolist()
    assert moved["after"].astype(str).tolist() == samples["top1_after"].astype(str).tolist()


def test_transitions_are_those_that_one_counts_sample_by_sample(moves):
    counted = Counter(
        (OUTCOMES[2 * row.base_correct + row.correct], row.before, row.after)
        for row in moves.itertuples()
    )
    table = shifts.transitions(moves)
    found = {(row.outcome, row.source, row.target): row.n for row in table.itertuples()}
    assert found == counted


def test_flows_are_the_cross_table_of_before_and_after(moves):
    flows = shifts.flows(shifts.transitions(moves))
    cross = pd.crosstab(moves["before"], moves["after"])
    for row in flows.itertuples():
        assert row.n == cross.loc[row.source, row.target]
    assert flows["n"].sum() == len(moves)
    assert flows["share"].sum() == pytest.approx(100)


def test_a_flow_tells_what_became_of_its_answers(moves):
    flows = shifts.flows(shifts.transitions(moves)).set_index(["source", "target"])
    some = moves[(moves["before"] == "eye") & (moves["after"] == "ear")]
    row = flows.loc[("eye", "ear")]
    assert row["right_before"] == some["base_correct"].sum()
    assert row["right_after"] == some["correct"].sum()
    assert row["gained"] == (~some["base_correct"] & some["correct"]).sum()
    assert row["lost"] == (some["base_correct"] & ~some["correct"]).sum()


def test_the_shift_that_helps_most_comes_first(moves):
    table = shifts.helping(moves)
    gains = moves["correct"].astype(int) - moves["base_correct"].astype(int)
    net = gains.groupby([moves["before"], moves["after"]], observed=True).sum()
    assert table["net"].iloc[0] == net.max()
    assert table["net"].is_monotonic_decreasing
    for row in table.itertuples():
        assert row.net == net.loc[(row.source, row.target)]
        assert row.p == pytest.approx(
            stats.binomtest(row.gained, row.gained + row.lost).pvalue
            if row.gained + row.lost
            else 1
        )


def test_a_control_is_counted_on_the_samples_of_each_shift(moves):
    right = np.random.default_rng(1).random(len(moves)) < 0.6
    table = shifts.helping(moves, {"control": right, "none": moves["base_correct"].to_numpy()})
    for row in table.itertuples():
        some = ((moves["before"] == row.source) & (moves["after"] == row.target)).to_numpy()
        assert row.control == right[some].sum() - moves["base_correct"].to_numpy()[some].sum()
    assert not table["none"].any()


def test_use_lists_every_expert_even_one_that_never_leads(moves):
    use = shifts.use(shifts.transitions(moves), EXPERTS).set_index("expert")
    assert list(use.index) == list(EXPERTS)
    assert use.at["skin", "before"] == 0
    assert use["after"].to_dict() == moves["after"].value_counts().to_dict()
    assert use["share_after"].sum() == pytest.approx(100)


@pytest.mark.parametrize("counts", [[1, 1, 1, 1], [5, 0, 3], [7, 0, 0]])
def test_entropy_is_scipys_in_bits(counts):
    assert shifts.entropy(counts) == pytest.approx(stats.entropy(counts, base=2))


def test_moved_are_the_samples_with_another_expert(moves):
    changed = moves["before"].astype(str) != moves["after"].astype(str)
    assert shifts.moved(shifts.transitions(moves)) == changed.sum()


def used(before: dict[str, int], after: dict[str, int]) -> pd.DataFrame:
    table = pd.DataFrame({"before": before, "after": after})
    shares = 100 * table / table.sum()
    return table.join(shares.add_prefix("share_")).rename_axis("expert").reset_index()


def test_over_reliance_is_said_only_where_the_share_clearly_falls():
    clear = shifts.relied_on(used({"a": 710, "b": 290}, {"a": 230, "b": 770}))
    assert dict(zip(clear["expert"], clear["change"], strict=True)) == {"a": "less", "b": "more"}
    few = shifts.relied_on(used({"a": 6, "b": 4}, {"a": 5, "b": 5}))
    assert few[["expert", "change"]].to_numpy().tolist() == [["a", "same"]]


def test_an_expert_that_leads_in_half_is_not_relied_on():
    assert shifts.relied_on(used({"a": 50, "b": 50}, {"a": 50, "b": 50})).empty


def test_the_leading_expert_of_a_site_is_found_among_its_own(moves):
    sites = (Site("wide", EXPERTS), Site("narrow", EXPERTS[:2]))
    r = np.zeros((2, 2, 4), np.float32)
    r[0, 0], r[0, 1, :2] = (0.1, 0.2, 0.3, 0.4), (0.2, 0.8)
    r[1, 0], r[1, 1, :2] = (0.4, 0.4, 0.1, 0.1), (0.0, 0.0)
    r[1, 1, 2:] = 9.0  # padding
    assert shifts.leading(r, sites).tolist() == [[3, 1], [0, 0]]


def test_a_sample_stays_where_it_was_until_the_next_step_that_is_stored(steps):
    ways = shifts.paths(steps, EXPERTS)
    assert ways[["before", "step 1", "step 2", "after"]].astype(str).to_numpy().tolist() == [
        ["eye", "ear", "ear", "skin"],
        ["skin", "skin", "skin", "eye"],
        ["ear", "eye", "eye", "eye"],
    ]


def test_a_path_begins_and_ends_with_its_own_answers(steps):
    ways = shifts.paths(steps, EXPERTS)
    assert ways["position"].tolist() == [0, 1, 2]
    assert ways["base_answer"].tolist() == ["yes", "yes", "no"]
    assert ways["answer"].tolist() == ["no", "no", "no"]
    assert ways["base_correct"].tolist() == [False, True, True]
    assert ways["correct"].tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("last", "shown"), [(10, [2, 4, 6, 8]), (3, [1, 2]), (7, [2, 4, 6]), (20, [4, 8, 12, 16])]
)
def test_the_way_is_thinned_evenly(last, shown):
    columns = ["position", "before", *(f"step {i}" for i in range(1, last)), "after"]
    way = shifts.way(pd.DataFrame(columns=columns))
    assert way == ["before", *(f"step {i}" for i in shown), "after"]


def test_no_sample_is_lost_on_the_way(steps):
    ways = shifts.paths(steps, EXPERTS)
    flows = shifts.flows(shifts.transitions(ways, shifts.way(ways)))
    assert flows.groupby("start")["n"].sum().tolist() == [3, 3, 3]
    assert list(dict.fromkeys(flows["start"])) == ["before", "step 1", "step 2"]


def test_chosen_samples_have_all_experts_asked_for(steps):
    ways = shifts.paths(steps, EXPERTS)
    there = shifts.chosen(ways, [("step 1", "eye"), ("after", "eye")])
    assert there.tolist() == [False, False, True]
    twice = shifts.chosen(ways, [("step 1", "eye"), ("step 1", "ear")])
    assert not twice.any()


def drawn(moves, **arguments):
    return figures.sankey(shifts.flows(shifts.transitions(moves)), EXPERTS, **arguments)


def test_a_link_has_its_experts_colour_its_samples_and_who_they_are(moves):
    link = drawn(moves).data[0].link
    red, green, blue = (int(expert_colours(EXPERTS)["ear"][i : i + 2], 16) for i in (1, 3, 5))
    flows = shifts.flows(shifts.transitions(moves))
    for value, colour, custom in zip(link.value, link.color, link.customdata, strict=True):
        of = (flows["source"] == custom["before"]) & (flows["target"] == custom["after"])
        assert [value] == flows.loc[of, "n"].tolist()
        assert colour.startswith(f"rgba({red},{green},{blue}") == (custom["before"] == "ear")


def test_nodes_lie_in_the_experts_order_and_do_not_overlap(moves):
    figure = drawn(moves)
    node = figure.data[0].node
    room = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
    after = [
        (custom["after"], y)
        for custom, y in zip(node.customdata, node.y, strict=True)
        if "after" in custom
    ]
    assert [expert for expert, _ in after] == list(EXPERTS)
    counts = moves["after"].value_counts()
    scale = (room - (len(EXPERTS) - 1) * node.pad) / len(moves)
    ends = [(y * room - scale * counts[e] / 2, y * room + scale * counts[e] / 2) for e, y in after]
    assert ends[0][0] == pytest.approx(0, abs=0.5)
    assert ends[-1][1] == pytest.approx(room, abs=0.5)
    for (_, low), (high, _) in pairwise(ends):
        assert high - low == pytest.approx(node.pad)


def test_chosen_samples_stand_out_without_changing_a_flow(moves):
    lit = shifts.flows(shifts.transitions(moves[moves["position"] < 100]))
    plainly, brushed = drawn(moves).data[0].link, drawn(moves, lit=lit).data[0].link
    assert sum(brushed.value) == sum(plainly.value) == 300
    strong = [v for v, c in zip(brushed.value, brushed.color, strict=True) if c.endswith(",0.8)")]
    assert sum(strong) == 100


def test_names_from_runs_show_as_they_are(moves):
    transitions = shifts.transitions(moves)
    flows = shifts.flows(transitions)
    flow, matrix = figures.sankey(flows, EXPERTS), figures.matrix(flows, EXPERTS)
    bars = figures.use_bars(shifts.use(transitions, EXPERTS), EXPERTS)
    data = flow.data[0]
    texts = [note.text for figure in (flow, matrix) for note in figure.layout.annotations]
    texts += [custom["said"] for part in (data.node, data.link) for custom in part.customdata]
    texts += [*matrix.data[0].x, *matrix.data[0].y, *bars.data[0].y]
    assert any("&lt;b&gt;nose" in text for text in texts)
    assert not any("<b>nose" in text for text in texts)


def test_the_matrix_has_the_same_numbers_and_is_clicked_by_its_experts(moves):
    flows = shifts.flows(shifts.transitions(moves))
    figure = figures.matrix(flows, EXPERTS)
    cross = pd.crosstab(moves["before"], moves["after"]).reindex(EXPERTS, fill_value=0)
    assert np.array_equal(np.array(figure.data[0].z), cross[list(EXPERTS)].to_numpy())
    assert figure.data[0].customdata[0][3] == {"before": "eye", "after": "skin"}


def test_shares_are_of_all_samples(moves):
    flows = shifts.flows(shifts.transitions(moves))
    figure = figures.matrix(flows, EXPERTS, shares=True)
    assert np.sum(figure.data[0].z) == pytest.approx(100)
    use = shifts.use(shifts.transitions(moves), EXPERTS)
    for bars in figures.use_bars(use, EXPERTS, shares=True).data:
        assert sum(bars.x) == pytest.approx(100)


def test_very_many_experts_still_make_a_figure_that_fits_a_screen():
    many = [f"E{i}" for i in range(64)]
    rows = pd.DataFrame({"base_correct": True, "correct": True}, index=range(640)).assign(
        top1_before=pd.Categorical(many * 10), top1_after=pd.Categorical(many * 10)
    )
    flows = shifts.flows(shifts.transitions(shifts.moves(rows, many)))
    figure = figures.sankey(flows, many)
    assert figure.layout.height <= 900
    assert all(0 < y < 1 for y in figure.data[0].node.y)
    assert np.diff(figure.data[0].node.y[:64]).min() > 0
