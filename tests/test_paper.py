"""The paper's tables say what the paper says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from r2t2.analysis.results import MEAN
from r2t2.paper import in_percent, reported, tables

TEXT = Path(__file__).resolve().parents[2] / "shared" / "seeds" / "paper.txt"
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


@pytest.fixture(scope="module")
def paper() -> list[str]:
    """The lines of the paper's text."""
    if not TEXT.exists():
        if os.environ.get("CI"):
            pytest.fail("the paper's text is missing, and CI must hold the tables against it")
        pytest.skip("the paper's text is not here: the tables are not held against it")
    return TEXT.read_text().splitlines()


def printed(paper: list[str], number: int) -> list[str]:
    """The lines of a table as the text has them, below its title."""
    start = next(i for i, line in enumerate(paper) if line.startswith(f"Table {number}:"))
    end = paper.index("", start + 2)
    return paper[start + 2 : end]


def numbers(cells: list[object]) -> list[float]:
    return [cell for cell in cells if isinstance(cell, (int, float)) and cell == cell]


def holds(line: str, row: list[object]) -> bool:
    """Whether a line has a row's numbers one after the other; numbers in names do not count."""
    for name in (cell for cell in row if isinstance(cell, str)):
        line = line.replace(name, " ", 1)
    found = [float(text.replace(",", "")) for text in NUMBER.findall(line)]
    wanted = numbers(row)
    return any(found[i : i + len(wanted)] == wanted for i in range(len(found)))


def test_there_are_all_thirteen_tables():
    assert list(tables()) == list(range(1, 14))


@pytest.mark.parametrize("number", range(1, 14))
def test_every_row_stands_in_the_paper_under_its_table(paper, number):
    lines = printed(paper, number)
    for row in tables()[number].rows.astype(object).itertuples(index=False):
        assert any(holds(line, list(row)) for line in lines), row


@pytest.mark.parametrize("number", range(1, 14))
def test_no_row_of_the_paper_is_left_out(paper, number):
    rows = [list(row) for row in tables()[number].rows.astype(object).itertuples(index=False)]
    # A line of a table ends in a number, or in the dash of a missing one; headings do not.
    lines = [line for line in printed(paper, number) if re.search(r"(\d|\d-+)$", line)]
    assert all(any(holds(line, row) for row in rows) for line in lines)
    of_two = 2 if number == 5 else 1  # it prints two rows in a line
    assert len(rows) == of_two * len(lines)


@pytest.mark.parametrize("number", [2, 3, 9, 10, 11, 12, 13])
def test_columns_are_those_of_the_paper_in_its_order(paper, number):
    head = printed(paper, number)[0]
    names = [name for name in tables()[number].rows if name[0].isupper()]
    assert head.endswith(" ".join(names))


def gains(model: str, strategy: str = "ngd"):
    table = reported()
    rows = table[(table["model"] == model) & (table["strategy"] == strategy)]
    return rows.set_index("benchmark")


def printed_gain(model: str, benchmark: str) -> float:
    rows = tables()[2].rows.set_index(["model", "method"])[benchmark]
    return round(rows[model, "NGD"] - rows[model, "Base"], 1)


def test_table_2_has_the_gains_of_the_text_with_the_models_the_other_way_round(paper):
    [told] = [line for line in paper if line.startswith("Comparsion of different R2-T2 methods")]
    assert "For MoAI-7B, R2-T2 enhances performance significantly, achieving +6.9%" in told
    assert "on MoVA-7B, it yields notable improvements of +5.9%" in told
    named = ("MMBench", "MME-P", "TextVQA")
    assert [printed_gain("MoVA", name) for name in named] == [6.9, 66.1, 6.8]
    assert [printed_gain("MoAI", name) for name in named] == [5.9, 71.5, 5.7]
    for gain in ("+6.9", "+66.1", "+6.8", "+5.9", "+71.5", "+5.7"):
        assert gain in tables()[2].note


def test_the_oracle_shares_are_those_that_the_note_names():
    shares = [gains(model)["oracle_share"] for model in ("MoVA", "MoAI")]
    assert round(min(share.min() for share in shares)) == 35
    assert round(max(share.max() for share in shares)) == 61
    assert [round(share[MEAN]) for share in shares] == [49, 49]
    assert "35 to 61 %" in tables()[2].note
    assert "49 % for both" in tables()[2].note


def test_the_oracle_of_table_4_is_not_that_of_table_2():
    oracle = tables()[4].rows.set_index("method").loc["Oracle", "accuracy"]
    assert (oracle, gains("MoAI", "oracle").loc["MMBench", "accuracy"]) == (89.8, 92.1)
    assert "89.8, is 92.1" in tables()[4].note


def test_the_cosine_schedule_is_as_far_ahead_as_the_note_of_table_9_says(paper):
    assert any("up to 12.7 percentage points over the fixed" in line for line in paper)
    rows = tables()[9].rows.set_index("schedule").drop(columns="MME-P")
    ahead = (rows.loc["Cosine"] - rows.loc["Fixed (1e-3)"]).max()
    assert f"up to {ahead:.1f}" in tables()[9].note


@pytest.mark.parametrize(("means", "parts"), [(5, 10), (6, 11), (7, 12), (8, 13)])
def test_the_means_of_the_ablations_are_those_of_their_benchmarks(means, parts):
    short, long = tables()[means].rows, tables()[parts].rows
    if means == 8:
        long = long[long["steps"].isin(short["steps"])]
    scores = in_percent(long)
    benchmarks = [name for name in scores if name[0].isupper()]
    worked_out = scores[benchmarks].mean(axis=1).to_numpy()
    assert short["mean"].to_numpy() == pytest.approx(worked_out, abs=0.051)


def test_ngd_is_the_same_wherever_the_paper_prints_it():
    ours = tables()[2].rows.set_index(["model", "method"]).loc[("MoAI", "NGD")]
    columns = [name for name in ours.index if name != "PhysBench"]
    of = {3: ("model", "R2-T2 (MoAI-7B)"), 11: ("kernel", "Gaussian"), 13: ("steps", 10)}
    for number, (column, name) in of.items():
        row = tables()[number].rows.set_index(column).loc[name]
        assert row[columns].tolist() == ours[columns].tolist(), number


def test_mme_counts_as_a_percentage_in_the_mean():
    table = gains("MoAI", "base")
    assert table.loc["MME-P", "accuracy"] == pytest.approx(1714.0 / 20)
    assert table.drop(MEAN)["accuracy"].mean() == pytest.approx(table.loc[MEAN, "accuracy"])


def test_an_ablation_names_options_that_there_are():
    from r2t2.rerouting.settings import Setting

    for table in tables().values():
        assert set(table.varies) <= set(Setting.__dataclass_fields__)


def test_the_tables_are_read_without_torch_and_streamlit():
    look = "import sys, r2t2.paper; r2t2.paper.tables(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=True
    )
    assert not {"torch", "streamlit"} & set(loaded.stdout.split())
