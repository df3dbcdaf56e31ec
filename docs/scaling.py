"""Measures what docs/scaling.md says: `python -m docs.scaling speed|store|search [SIZE ...]`.

`speed` computes two runs in this process and on a Ray cluster of this machine with one actor and
with two, in turn, and holds the files against each other byte by byte. `store` times what the
one process that writes does per shard. `search` compares the indices of faiss on embeddings of
as many questions as each SIZE says. Each prints the table that the page has.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import torch

from r2t2 import studio
from r2t2.data.questions import _FORMS, _PHRASES
from r2t2.embedders import embed, wordllama
from r2t2.paths import reference_name
from r2t2.rerouting.neighbours import approximate
from r2t2.rerouting.settings import strategy
from r2t2.runs.cluster import Cluster
from r2t2.runs.runner import Runner, Worker, Workers
from r2t2.runs.store import Run, writing

SAMPLES, SHARD, TURNS = 800, 100, 3
QUERIES, SHOWN = 400, 100
DEPTHS = (5, 10)


def speed() -> None:
    """Two runs of NGD, computed here and by actors, by engines that have just been opened.

    In the first everybody encodes what it needs, references too; in the second, with another
    k, much of that is there.
    """
    dataset, ngd = studio.open_dataset("general", 0), strategy("ngd", "mini")
    names = "mini", reference_name("mini")
    actors = {f"ray, {n} actor{'s' * (n > 1)}": n for n in (1, 2)}
    took: dict[str, list[list[float]]] = {name: [] for name in ("this process", *actors)}
    starts: dict[str, list[float]] = {name: [] for name in took}
    files: list[list[dict[str, str]]] = []

    def both(name: str, workers: Workers) -> None:
        seconds, made = [], []
        for k in (10, 9):
            began: list[float] = []
            with tempfile.TemporaryDirectory() as folder:
                run = Runner(workers, Path(folder), SHARD).run(
                    dataset,
                    0,
                    "ngd",
                    replace(ngd, k=k),
                    limit=SAMPLES,
                    report=lambda *told, began=began: began.append(time.perf_counter()),
                )
                made.append(run.manifest["shards"][0]["files"])
            seconds.append(began[-1] - began[0])
        took[name].append(seconds)
        files.append(made)

    for _ in range(TURNS):
        started = time.perf_counter()
        worker = Worker(studio.open_engine(*names, "cpu"))
        starts["this process"].append(time.perf_counter() - started)
        both("this process", worker)
        for name, number in actors.items():
            started = time.perf_counter()
            with Cluster(*names, "cpu", number) as cluster:
                # So much work of a moment that every actor is there for it.
                warm = cluster.spec(dataset.head(2), 0, "base", strategy("base"), "none", 2)
                while len(cluster._idle) < number:
                    list(cluster.shards(warm, dataset, [0] * number))
                starts[name].append(time.perf_counter() - started)
                both(name, cluster)
    assert all(one == files[0] for one in files), "the runs have other bytes"
    print(f"{SAMPLES} samples in shards of {SHARD}, {torch.get_num_threads()} thread(s) each;")
    print(f"medians of {TURNS} turns; all files are the same to the byte\n")
    print(
        "| computed by | start, s | first run, s | times as fast | second run, s | times as fast |"
    )
    print("| --- " + "| ---: " * 5 + "|")
    for name, turns in took.items():
        cells = [name, f"{statistics.median(starts[name]):.1f}"]
        for i in (0, 1):
            pairs = zip(took["this process"], turns, strict=True)
            ratio = statistics.median(here[i] / there[i] for here, there in pairs)
            cells += [f"{statistics.median(turn[i] for turn in turns):.1f}", f"{ratio:.2f}"]
        print(f"| {' | '.join(cells)} |")


def store() -> None:
    """What the writer of a run does per shard, by the number of shards that are there."""
    engine = studio.open_engine("mini", reference_name("mini"), "cpu")
    dataset, setting = studio.open_dataset("general", 0), strategy("ngd", "mini")
    print("| shards there | a shard's storing, s | manifest, MB |\n| ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        run = Runner(engine, Path(folder)).run(dataset, 0, "ngd", setting, limit=200)
        samples, steps = run.read("samples"), run.read("steps")
        for there in (0, 1_000, 10_000, 50_000):
            print(f"| {there:,} | {_stored(run, samples, steps, there)} |")


def _stored(run: Run, samples: pa.Table, steps: pa.Table, there: int) -> str:
    spec = type(run.spec)(**{**vars(run.spec), "size": 200 * (there + 8), "shard": 200})
    with (
        tempfile.TemporaryDirectory() as folder,
        writing(Path(folder), spec, run.sites, "cpu") as writer,
    ):
        shard = run.manifest["shards"][0]
        writer._manifest["shards"] = [{**shard, "first": 200 * i} for i in range(there)]
        took = []
        for i in range(5):
            started = time.perf_counter()
            writer.add(200 * (there + i), samples, steps, 1.0, 1.0)
            took.append(time.perf_counter() - started)
        size = (Path(folder) / "manifest.json").stat().st_size
    return f"{statistics.median(took):.3f} | {size / 1e6:.1f}"


def search(sizes: Sequence[int]) -> None:
    """Flat, inverted lists and a graph, at each number of references."""
    queries = _embedded(QUERIES, 1, (5, 6), "evaluation")
    print(
        f"{queries.shape[1]} dimensions, {faiss.omp_get_max_threads()} thread(s), "
        f"{QUERIES} queries, the first {SHOWN} also one at a time\n"
    )
    print(
        "| references | index | built in, s | recall@5 | recall@10 | one query, ms | over flat "
        "| a query of 200, ms | over flat |\n| ---: | --- | ---: " + "| ---: " * 6 + "|"
    )
    everything = _embedded(max(sizes), 0, (2, 3, 4), "reference")
    for size in sizes:
        _compare(everything[:size], queries)


def _compare(vectors: np.ndarray, queries: np.ndarray) -> None:
    size, width = vectors.shape
    inner = faiss.METRIC_INNER_PRODUCT
    kinds: dict[str, Callable[[], faiss.Index]] = {"flat": lambda: faiss.IndexFlatIP(width)}
    kinds["inverted lists (ours)"] = lambda: approximate(vectors, inner)
    # Of unit vectors the nearest are the same by either measure; the graph likes this one better.
    kinds["graph (HNSW 32)"] = lambda: faiss.IndexHNSWFlat(width, 32, faiss.METRIC_L2)
    indices, built = {}, {}
    for name, kind in kinds.items():
        started = time.perf_counter()
        index = kind()
        if index.ntotal == 0:
            index.add(vectors)
        if name.startswith("graph"):
            index.hnsw.efSearch = 256
        indices[name], built[name] = index, time.perf_counter() - started
    exact = indices["flat"].search(queries, max(DEPTHS))[1]
    one: dict[str, list[float]] = {name: [] for name in indices}
    many: dict[str, list[float]] = {name: [] for name in indices}
    for query in queries[:SHOWN]:
        for name, index in indices.items():
            one[name].append(_seconds(index, query[None]))
    for start in range(0, QUERIES, 200):
        for name, index in indices.items():
            many[name].append(_seconds(index, queries[start : start + 200]) / 200)
    for name, index in indices.items():
        found = index.search(queries, max(DEPTHS))[1]
        recall = [
            np.mean([len({*a[:k]} & {*b[:k]}) / k for a, b in zip(found, exact, strict=True)])
            for k in DEPTHS
        ]
        times = [
            f"{1000 * statistics.median(t[name]):.3g} | "
            + ("1" if name == "flat" else f"{_ratio(t[name], t['flat']):.2g}")
            for t in (one, many)
        ]
        cells = [f"{size:,}", name, f"{built[name]:.1f}", *(f"{r:.3f}" for r in recall), *times]
        print(f"| {' | '.join(cells)} |", flush=True)


def _ratio(took: Sequence[float], flat: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(took, flat, strict=True))


def _seconds(index: faiss.Index, queries: np.ndarray) -> float:
    started = time.perf_counter()
    index.search(queries, max(DEPTHS))
    return time.perf_counter() - started


def _embedded(count: int, seed: int, phrasings: Sequence[int], form: str) -> np.ndarray:
    """Embeddings of different questions: the embedded world's sentences about any two words.

    The world's own things give some thousand different questions only. So its phrasings and
    sentence forms are filled with pairs of whole words of the embedder's own vocabulary.
    """
    rng = np.random.default_rng(seed)
    tokens = wordllama()[1].get_vocab()
    words = sorted(
        token[1:]
        for token in tokens
        if token[0] == "▁" and len(token) > 4 and token[1:].isascii() and token[1:].islower()
    )
    sentences = [
        form.format(q=phrases[i].format(x="{} {}"))
        for phrases, i, form in itertools.product(_PHRASES.values(), phrasings, _FORMS[form])
    ]
    texts: dict[str, None] = {}
    while len(texts) < count:
        pairs = rng.integers(len(words), size=(count, 2))
        which = rng.integers(len(sentences), size=count)
        new = (
            sentences[s].format(words[a], words[b]) for s, (a, b) in zip(which, pairs, strict=True)
        )
        texts |= dict.fromkeys(new)
    asked = list(texts)[:count]
    return np.concatenate([embed(asked[i : i + 50_000]) for i in range(0, count, 50_000)])


def main() -> None:
    """What the first argument names."""
    what, *sizes = sys.argv[1:] or [""]
    if what == "search":
        search([int(float(size)) for size in sizes] or [1_000, 10_000, 100_000, 1_000_000])
    elif what in ("speed", "store"):
        {"speed": speed, "store": store}[what]()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
