"""What README promises, it keeps."""

import importlib.util
import re
from pathlib import Path

import pytest
from typer.main import get_command

from r2t2.cli import app

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_every_command_that_readme_names_exists():
    root = get_command(app)
    lines = re.findall(r"python -m r2t2 ([a-z ]+)", README)
    assert len(lines) > 8
    for line in lines:
        words = line.split()
        command = root.commands[words[0]]
        if hasattr(command, "commands") and len(words) > 1:
            assert words[1] in command.commands, line


def test_every_file_that_readme_and_docs_link_to_exists():
    for path in (ROOT / "README.md", *ROOT.glob("docs/*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            if not link.startswith("http"):
                assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_readmes_tables_are_those_of_the_cache():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    assert tables.filled(README) == README


@pytest.mark.parametrize("target", ["run", "test", "lint"])
def test_make_has_the_targets_that_readme_names(target):
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_split_and_benchmark_is_in_the_table_of_shifts():
    from r2t2.data import world

    text = (ROOT / "docs" / "world.md").read_text()
    for name in world.BENCHMARKS:
        assert name in text
    for number in (world.BENCHMARK_SIZE, world.SIZES["dev"], world.SIZES["reference"]):
        assert f"{number:,}" in text


def test_the_run_that_the_speed_of_looking_is_measured_on_is_one_of_todays(tmp_path):
    pytest.importorskip("playwright")
    from docs import speed
    from r2t2.runs.store import Run

    of = speed.spec("small", "ngd", 20)
    speed.make(tmp_path, of)
    run = Run.load(tmp_path / of.folder)
    assert run.status == "complete"
    assert not run.damaged
    assert len(run.samples()) == 20


def test_what_readme_says_of_amortised_runs_is_what_its_command_prints(capsys):
    from docs import agreement

    agreement.main(ROOT / "cache" / "runs")
    means = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| mean ")]
    of_ngd = [[cell.strip() for cell in line.split("|")[2:5]] for line in means][1:]
    said = re.findall(r"^\| NGD, amortised.*\| ([\d.]+) \| ([\d.]+) \| [\d.]+ \|$", README, re.M)
    assert [tuple(cells[1:]) for cells in of_ngd] == said[-2:]
    assert f"| NGD | {of_ngd[0][0]} | 100 |" in README
