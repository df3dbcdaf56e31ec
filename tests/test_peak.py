"""The most memory that work takes at once."""

from pathlib import Path

import numpy as np
import pytest

from r2t2 import peak

MIB = 2**20


@pytest.fixture
def told():
    if peak.watch("cpu")() is None:
        pytest.skip("this system does not tell a process's peak, so none is measured here")


@pytest.mark.usefixtures("told")
def test_memory_that_is_gone_again_counts():
    ended = peak.watch("cpu")
    before = ended()
    block = np.ones(200 * MIB, np.uint8)
    del block
    assert 190 * MIB < ended() - before < 400 * MIB


@pytest.mark.usefixtures("told")
def test_what_was_in_use_before_the_watch_began_does_not_count():
    ended = peak.watch("cpu")
    block = np.ones(200 * MIB, np.uint8)
    del block
    highest = ended()
    assert peak.watch("cpu")() < highest - 190 * MIB


def test_where_the_system_tells_nothing_nothing_is_made_up(monkeypatch, tmp_path):
    monkeypatch.setattr(peak, "_PROCESS", Path(tmp_path / "none"))
    assert peak.watch("cpu")() is None
    (tmp_path / "status").write_text("Name:\tpython\n")
    monkeypatch.setattr(peak, "_PROCESS", tmp_path)
    assert peak.watch("cpu")() is None


def test_on_a_gpu_its_tensors_count_and_each_watch_begins_anew(monkeypatch):
    asked = []
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", lambda of: asked.append(of))
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda of: 7 * len(asked))
    ended = peak.watch("cuda:1")
    assert asked == ["cuda:1"]
    assert ended() == 7
