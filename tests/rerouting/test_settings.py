"""Settings: the presets, what counts, and what is refused."""

import pytest

from r2t2.rerouting.settings import PAPER, STRATEGIES, Setting, strategy


def test_the_papers_preset_is_its_appendix_c():
    assert (PAPER.k, PAPER.steps, PAPER.schedule, PAPER.kernel) == (5, 10, "cosine", "gaussian")
    assert (PAPER.learning_rate, PAPER.final_learning_rate) == (1e-2, 1e-5)
    assert PAPER.references == "correct"


def test_only_the_oracle_reads_the_label():
    assert [n for n in STRATEGIES if strategy(n, "mini").reads_label] == ["oracle"]


def test_options_that_an_algorithm_does_not_use_do_not_count():
    assert Setting("uniform", k=7).options == Setting("uniform").options
    assert Setting("ngd", epsilon=0.1).options == Setting("ngd").options
    assert Setting("ngd", neighbourhood="ball", k=9).options == (
        Setting("ngd", neighbourhood="ball").options
    )


def test_options_that_an_algorithm_uses_count():
    assert Setting("ngd", k=7).options != Setting("ngd").options


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("k", 0),
        ("steps", 51),
        ("epsilon", -0.1),
        ("alpha", 1.5),
        ("sure", 1.5),
        ("learning_rate", -1),
        ("bandwidth", 0),
        ("bandwidth", "mean"),
        ("kernel", "cosine"),
        ("schedule", "linear"),
        ("references", "wrong"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(option, value):
    with pytest.raises(ValueError, match=option):
        Setting("ngd", **{option: value})


def test_an_unknown_strategy_or_preset_is_refused_with_those_there_are():
    with pytest.raises(KeyError, match="kernel_regression"):
        strategy("nearest")
    with pytest.raises(KeyError, match="paper"):
        strategy("ngd", "best")
