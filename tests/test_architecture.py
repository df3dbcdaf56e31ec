"""The layout keeps its promises: who may import whom, and what no file may hold."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [*ROOT.glob("*.py"), *ROOT.glob("pages/*.py"), *ROOT.glob("r2t2/**/*.py")]


def _imports(path, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _importers(package):
    return {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if any(
            name.split(".")[: package.count(".") + 1] == package.split(".")
            for name in _imports(path)
        )
    }


def test_only_the_app_its_pages_and_the_ui_know_streamlit():
    for path in _importers("streamlit"):
        assert path == "app.py" or path.startswith(("pages/", "r2t2/ui/")), path


def test_analyses_and_figures_do_not_know_torch():
    kept = ("r2t2/analysis/", "r2t2/figures/", "r2t2/statistics.py")
    assert not [path for path in _importers("torch") if path.startswith(kept)]


@pytest.mark.parametrize(
    ("package", "never_imports"),
    [
        ("r2t2/rerouting/", ("r2t2.models", "r2t2.runs", "r2t2.data", "r2t2.ui", "r2t2.reference")),
        ("r2t2/models/", ("r2t2.rerouting", "r2t2.runs", "r2t2.ui")),
        ("r2t2/data/", ("r2t2.models", "r2t2.rerouting", "r2t2.runs", "r2t2.ui")),
        ("r2t2/runs/", ("r2t2.models", "r2t2.ui", "r2t2.analysis")),
        ("r2t2/engine.py", ("r2t2.models", "r2t2.runs", "r2t2.ui", "r2t2.data")),
    ],
)
def test_dependencies_point_one_way(package, never_imports):
    for forbidden in never_imports:
        found = [path for path in _importers(forbidden) if path.startswith(package)]
        # The embedded model's card measures a model by strategies' controls, from outside.
        assert not [path for path in found if path != "r2t2/models/mini/card.py"], forbidden


def test_pages_say_no_word_of_a_particular_model():
    for path in ROOT.glob("pages/*.py"):
        assert not re.search(r"\bmini\b|moai|mova", path.read_text(), re.IGNORECASE), path.name


def _tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    names = listed.stdout.splitlines()
    if not names:
        pytest.skip("not a git checkout: there is no list of the project's files")
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def test_no_file_names_a_machine_path_or_a_registry_host():
    pattern = re.compile(
        rb"/(?:root|home/\w+|tmp)/|/work/"
        + rb"|pypi\.(?:org|python)|files\.pythonhosted"
        + rb"|registry\.npmjs|deb\.debian"
    )
    for path in _tracked():
        if path == Path(__file__):
            continue
        assert not pattern.search(path.read_bytes()), path.name


def test_nothing_is_pickled():
    pattern = re.compile(r"\bimport pickle|torch\.load\((?!.*weights_only=True)|np\.load\(|joblib")
    for path in SOURCES:
        assert not pattern.search(path.read_text()), path.name


def test_what_ships_is_a_few_megabytes():
    assert sum(path.stat().st_size for path in _tracked()) < 60e6
