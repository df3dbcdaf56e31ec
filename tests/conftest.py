"""Fixtures that more than one folder of tests needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from docs.app import FLAGS


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    """A running Chromium; skipped where there is none, but never in CI."""

    def missing(what: str) -> None:
        if os.environ.get("CI"):
            pytest.fail(f"{what} is missing, and CI must drive the app in a real browser")
        pytest.skip(f"{what} is missing: the app is not driven in a real browser here")

    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright")
    path = shutil.which("chromium")
    if path is None:
        missing("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def small_cache(tmp_path_factory) -> Path:
    """A cache with an untrained model, mini-7, its reference set, and runs of two benchmarks."""
    import torch
    from safetensors.torch import save_file

    from r2t2 import reference
    from r2t2.data import world
    from r2t2.data.questions import ANSWERS
    from r2t2.engine import Engine
    from r2t2.models.mini.model import Gate, Mini
    from r2t2.models.mini.network import Network
    from r2t2.models.mini.perception import Perception
    from r2t2.models.mini.tokens import word_table
    from r2t2.rerouting.settings import strategy
    from r2t2.runs.runner import Runner

    torch.set_num_threads(1)  # of tiny batches more are slower, on a busy machine by far
    folder = tmp_path_factory.mktemp("cache")
    torch.manual_seed(7)
    network = Network(len(ANSWERS), word_table().shape[1])
    modules = torch.nn.ModuleDict(
        {"perception": Perception(), "network": network, "router": Gate().gate}
    )
    checkpoint = folder / "checkpoints" / "mini-7" / "model.safetensors"
    checkpoint.parent.mkdir(parents=True)
    save_file(modules.state_dict(), checkpoint)
    model = Mini(checkpoint, "mini-7")
    samples = world.dataset("reference", 7).head(150)
    references = reference.build(model, samples, 7)
    references.save(folder / "references" / "mini-7-reference-wordllama")
    runner = Runner(Engine(model, references, samples), folder / "runs")
    for benchmark in ("general", "reading"):
        for name in ("base", "ngd", "oracle", "uniform"):
            dataset = world.dataset(benchmark, 7)
            runner.run(dataset, 7, name, strategy(name, model.preset), limit=20)
    partly = strategy("mode_finding", model.preset)
    runner.run(world.dataset("general", 7), 7, "mode_finding", partly, limit=20)
    return folder


@pytest.fixture(scope="session")
def amortised_cache(small_cache, tmp_path_factory) -> Path:
    """The small cache with the references' fitted losses, and amortised NGD on both benchmarks.

    Once as it is, and once with unsure answers from exact losses.
    """
    from r2t2 import studio
    from r2t2.fitted import fit
    from r2t2.rerouting.settings import SURE, strategy
    from r2t2.runs.runner import Runner

    folder = tmp_path_factory.mktemp("amortised") / "cache"
    shutil.copytree(small_cache, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("R2T2_CACHE", str(folder))
        opened = studio.open_engine("mini-7")
        fit(opened.model, opened.reference, *opened.everything("all"), count=8).save(
            folder / "references" / "mini-7-reference-wordllama"
        )
        runner, setting = Runner(opened, folder / "runs"), strategy("ngd_amortised", "mini")
        for benchmark in ("general", "reading"):
            dataset = studio.open_dataset(benchmark, 7)
            for own in (setting, replace(setting, sure=SURE)):
                runner.run(dataset, 7, "ngd_amortised", own, trace="none", limit=20)
    return folder


@pytest.fixture(scope="session")
def large(tmp_path_factory) -> tuple[Path, str]:
    """A cache that offers a tiny sparse mixture, with its reference set; and the model's name."""
    import torch

    from r2t2 import reference
    from r2t2.data import world
    from r2t2.models import load_model
    from r2t2.paths import reference_name
    from tests.models import families

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("large")
    families.save("olmoe", folder / "tiny")
    name = f"hf:{folder / 'tiny'}?layers=last2&prompt=200&answer=8"
    (folder / "models.txt").write_text(f"{name}\n")
    samples = world.dataset("reference").head(60)
    made = reference.build(load_model(name, "cpu"), samples, 0)
    made.save(folder / "references" / reference_name(name))
    return folder, name


@pytest.fixture(scope="session")
def engine():
    """The embedded model that ships, with its reference set."""
    from r2t2 import studio

    return studio.open_engine("mini", device="cpu")


@pytest.fixture(scope="session")
def dev():
    """The dev benchmark of seed 0."""
    from r2t2.data import world

    return world.dataset("dev")
