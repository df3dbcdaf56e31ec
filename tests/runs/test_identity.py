"""What makes two runs the same run."""

from dataclasses import replace
from pathlib import PurePath

import pytest

from r2t2.rerouting.settings import Setting
from r2t2.runs.identity import RunSpec
from tests.runs import toy

SPEC = RunSpec(
    model="toy",
    model_fingerprint="aaaa",
    reference="toy-references",
    reference_fingerprint="bbbb",
    benchmark="colours",
    seed=0,
    size=10,
    strategy="ngd",
    setting={"algorithm": "ngd", "k": 5, "bandwidth": 0.5},
    trace="all",
    shard=200,
)


def spec_of(setting):
    return RunSpec.of(toy.engine(), toy.dataset(), 0, "any", setting, trace="all", shard=4)


@pytest.mark.parametrize(
    "change",
    [
        {"model_fingerprint": "cccc"},
        {"reference_fingerprint": "cccc"},
        {"benchmark": "shapes"},
        {"seed": 1},
        {"size": 9},
        {"strategy": "ngd_paper"},
        {"setting": {**SPEC.setting, "k": 6}},
        {"trace": "none"},
        {"shard": 100},
        {"arithmetic": SPEC.arithmetic + 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_field_that_determines_the_result_changes_the_id(change):
    assert replace(SPEC, **change).id != SPEC.id


@pytest.mark.parametrize("change", [{"model": "other"}, {"reference": "other"}], ids=str)
def test_a_name_that_a_fingerprint_stands_for_does_not_change_the_id(change):
    assert replace(SPEC, **change).id == SPEC.id


def test_the_order_of_options_does_not_change_the_id():
    backwards = dict(reversed(SPEC.setting.items()))
    assert replace(SPEC, setting=backwards).id == SPEC.id


def test_whole_numbers_are_the_same_option_as_integers_and_floats():
    whole = [replace(SPEC, setting={**SPEC.setting, "bandwidth": value}) for value in (1, 1.0)]
    assert whole[0].id == whole[1].id


def test_an_option_that_the_algorithm_does_not_use_does_not_change_the_id():
    assert spec_of(Setting("oracle", k=5)).id == spec_of(Setting("oracle", k=6)).id


def test_a_spec_takes_its_fingerprints_and_size_from_the_engine_and_the_dataset():
    spec, engine = spec_of(toy.NGD), toy.engine()
    assert (spec.model, spec.model_fingerprint) == ("toy", engine.model.fingerprint)
    assert spec.reference == "toy-references-wordllama"
    assert spec.reference_fingerprint == engine.reference.fingerprint
    assert (spec.benchmark, spec.size) == ("colours", toy.SIZE)


def test_a_folder_is_named_after_benchmark_strategy_seed_and_id():
    assert SPEC.folder == f"colours-ngd-0-{SPEC.id[:10]}"


@pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", "..", "a\\b", "a\0b", "x" * 500])
def test_no_name_leads_a_folder_out_of_the_runs(name):
    folder = replace(SPEC, benchmark=name).folder
    assert PurePath(folder).name == folder
    assert len(folder) < 120
    assert not set("/\\.\0") & set(folder)
