"""`python -m r2t2`: everything that is not looking, from the command line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from r2t2.data import world
from r2t2.files import written
from r2t2.paths import checkpoint_folder, reference_folder, reference_name, runs_folder
from r2t2.rerouting.settings import COMPARED, PRESETS, STRATEGIES, strategy

app = typer.Typer(
    help="R2-T2 Studio: test-time re-routing in mixture-of-experts models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
reference_app = typer.Typer(help="Reference sets: the samples whose routing is learnt from.")
runs_app = typer.Typer(help="The run cache.")
app.add_typer(reference_app, name="reference", no_args_is_help=True)
app.add_typer(runs_app, name="runs", no_args_is_help=True)
out, err = Console(), Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Model = Annotated[str, typer.Option(help="mini, or mini-N for one trained here.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
EngineName = Annotated[
    str, typer.Option("--engine", help="local, or ray: on a cluster (docs/scaling.md).")
]
MirrorAddress = Annotated[
    str | None,
    typer.Option(
        "--mirror", envvar="R2T2_MIRROR", help="Copy every shard there: s3://…, file://…, …"
    ),
]
Actors = Annotated[
    int | None,
    typer.Option(min=1, help="Of the engine ray; by default one per GPU, or as the cores allow."),
]


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int, str], None]]:
    """A bar with rate and time left on stderr, or a line every ten seconds where it is a file.

    What it yields is called as `report(stage, done, total, note)`.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}
        printed = 0.0

        def report(stage: str, done: int, total: int, note: str = "") -> None:
            nonlocal printed
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total, note="", rate="")
            task = tasks[stage]
            bar.update(task, completed=done, total=total, note=note)
            speed = bar.tasks[task].speed
            bar.update(task, rate=f"{speed:.1f}/s" if speed else "")
            if not err.is_terminal and (done == total or time.monotonic() - printed > 10):
                printed = time.monotonic()
                err.print(f"{stage}: {done} of {total} {note}".rstrip(), soft_wrap=True)

        yield report


def _print(rows: Sequence[dict[str, Any]], as_json: bool, title: str = "") -> None:
    if as_json:
        typer.echo(json.dumps(list(rows), indent=1))
        return
    table = Table(title=title or None)
    for name in rows[0] if rows else ():
        table.add_column(name, justify="right" if isinstance(rows[0][name], float) else "left")
    for row in rows:
        cells = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values())
        table.add_row(*cells)
    out.print(table if rows else "nothing")


@app.command()
def models(as_json: Json = False) -> None:
    """The models that can be loaded here, with their sites and experts.

    Of those that are large only the names, because telling more would load them.
    """
    from r2t2.models import available, load_model

    rows = []
    for name in available():
        if name.startswith("hf:"):
            rows.append({"name": name, "fingerprint": "", "sites": "", "experts": "", "preset": ""})
            continue
        model = load_model(name, "cpu")
        rows.append(
            {
                "name": name,
                "fingerprint": model.fingerprint,
                "sites": ", ".join(site.name for site in model.sites),
                "experts": ", ".join(model.experts),
                "preset": model.preset,
            }
        )
    _print(rows, as_json)


@app.command()
def train(
    seed: Annotated[list[int], typer.Option(help="Seed; may be given several times.")] = [1],  # noqa: B006 (Typer copies it)
    steps: Annotated[
        int | None, typer.Option(help="Steps of stage 1; the recipe's if left out.")
    ] = None,
    reference: Annotated[bool, typer.Option(help="Build the reference set as well.")] = True,
) -> None:
    """Train the embedded model from nothing; stopped, the same command goes on.

    Seed N becomes the model mini-N. The checkpoint that ships as mini is seed 0's.
    """
    from r2t2.models.mini.train import Recipe
    from r2t2.models.mini.train import train as run_training

    for one in seed:
        recipe = Recipe(seed=one) if steps is None else Recipe(seed=one, steps=steps)
        name = f"mini-{one}"
        with _progress() as report:
            path = run_training(recipe, checkpoint_folder(name), report)
        err.print(f"{name}: {path.name} is {path.stat().st_size / 1e6:.1f} MB")
        if reference:
            build_reference(model=name, seed=one)


@reference_app.command("build")
def build_reference(
    model: Model = "mini",
    dataset: Annotated[str, typer.Option(help="The labelled samples.")] = "reference",
    seed: Annotated[
        int | None, typer.Option(help="Of the samples; the model's own by default.")
    ] = None,
    embedder: Annotated[
        str, typer.Option(help="wordllama, or any sentence-transformers model.")
    ] = "wordllama",
    size: Annotated[int | None, typer.Option(help="Only the first samples.")] = None,
    device: Device = "auto",
    engine: EngineName = "local",
    actors: Actors = None,
) -> None:
    """Answer labelled samples with the model and keep embeddings, routing, answers and losses."""
    from r2t2 import studio
    from r2t2.models import load_model
    from r2t2.reference import build
    from r2t2.runs.plan import ENGINES

    chosen = studio.default_seed(model) if seed is None else seed
    samples = studio.open_dataset(dataset, chosen).head(size)
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}; it must be one of {', '.join(ENGINES)}")
    with _progress() as report:

        def tell(done: int, total: int) -> None:
            report("building the reference set", done, total, "")

        if engine == "ray":
            from r2t2.runs import cluster

            opened = partial(load_model, model, device)
            of = dataset, chosen, len(samples), embedder
            made = cluster.build(opened, *of, device, actors, tell)
        else:
            made = build(load_model(model, device), samples, chosen, embedder, report=tell)
    name = reference_name(model, dataset, embedder)
    made.save(reference_folder(name))
    kept, dropped = made.manifest["kept"], made.manifest["dropped"]
    search = "exact" if made.exact else "approximate"
    err.print(
        f"{name}: {kept} samples kept (answered correctly), {dropped} dropped; {search} search"
    )


@app.command()
def run(
    strategy_name: Annotated[
        list[str], typer.Option("--strategy", help="all, or a name; repeatable.")
    ] = ["all"],  # noqa: B006
    benchmark: Annotated[list[str], typer.Option(help="all, or a name; repeatable.")] = ["all"],  # noqa: B006
    seed: Annotated[
        int | None, typer.Option(help="Of the benchmark; the model's own by default.")
    ] = None,
    model: Model = "mini",
    reference: Annotated[str | None, typer.Option(help="A reference set by name.")] = None,
    preset: Annotated[str | None, typer.Option(help="The model's own by default.")] = None,
    overrides: Annotated[
        list[str], typer.Option("--set", help="OPTION=VALUE, or several VALUE,VALUE; repeatable.")
    ] = [],  # noqa: B006
    limit: Annotated[int | None, typer.Option(help="Only the first samples.")] = None,
    trace: Annotated[
        str, typer.Option(help="Steps to keep: all, ends, none, or auto by strategy.")
    ] = "auto",
    device: Device = "auto",
    engine: EngineName = "local",
    actors: Actors = None,
    mirror: MirrorAddress = None,
    as_json: Json = False,
) -> None:
    """Run strategies on benchmarks; stopped by anything, the same command goes on.

    By default NGD keeps every step, the other strategies the first and the last, and the
    controls their outcomes alone.
    """
    from r2t2 import studio
    from r2t2.runs.plan import Request
    from r2t2.runs.runner import carry_out

    request = Request(
        model=model,
        reference=reference or reference_name(model),
        benchmarks=tuple(world.BENCHMARKS) if "all" in benchmark else tuple(benchmark),
        strategies=STRATEGIES if "all" in strategy_name else tuple(strategy_name),
        overrides=tuple(overrides),
        seed=studio.default_seed(model) if seed is None else seed,
        limit=limit,
        trace=trace,
        preset=preset,
        engine=engine,
    )
    names = [request.label(planned) for planned in request.planned]
    rows = []
    try:
        with _progress() as report:

            def tell(number: int, done: int, total: int, note: str) -> None:
                report(names[number], done, total, note)

            for planned, done in carry_out(request, tell, device, actors, mirror):
                rows.append(
                    {
                        "run": done.folder.name,
                        "benchmark": planned.benchmark,
                        "seed": request.seed,
                        "strategy": planned.strategy,
                        **done.figures,
                    }
                )
    except KeyboardInterrupt:
        err.print("stopped; every finished shard is kept, and the same command goes on from there")
        raise typer.Exit(130) from None
    _print(rows, as_json)


@app.command(hidden=True)
def work(job: Path, lock: int, mirror: MirrorAddress = None) -> None:
    """Carry out a job; started by `jobs.start`, which hands its lock over."""
    from r2t2.runs import jobs
    from r2t2.runs.runner import carry_out

    jobs.work(job, lock, partial(carry_out, mirror=mirror))


@runs_app.command("list")
def list_runs_command(as_json: Json = False) -> None:
    """The runs in the cache."""
    from r2t2.runs.store import list_runs, runs_table

    table = runs_table(list_runs(runs_folder()))
    _print(json.loads(table.to_json(orient="records")), as_json)


@runs_app.command("show")
def show_run(run_id: str) -> None:
    """A run's manifest."""
    from r2t2.runs.store import find

    typer.echo(json.dumps(find(runs_folder(), run_id).manifest, indent=1))


@runs_app.command("delete")
def delete_run(
    run_id: str, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Delete a run."""
    from r2t2.runs.store import delete, find

    found = find(runs_folder(), run_id)
    if not yes:
        typer.confirm(f"delete {found.folder.name}?", abort=True)
    delete(found)


@runs_app.command("export")
def export_run(run_ids: list[str], to: Path) -> None:
    """Write a run's sample rows to a .csv or .parquet file, or whole runs to a .zip file.

    What is in a .zip file, `runs import` takes into another cache.
    """
    from r2t2.runs.archive import export_runs
    from r2t2.runs.store import find

    found = [find(runs_folder(), run_id) for run_id in run_ids]
    if to.suffix == ".zip":
        with written(to) as part:
            export_runs(found, part)
        err.print(f"{len(found)} runs in {to}", highlight=False)
        return
    if to.suffix not in (".csv", ".parquet") or len(found) > 1:
        raise ValueError(
            f"cannot export {len(found)} runs to {to.name}; name a file that ends in .zip, or in "
            ".csv or .parquet for the sample rows of one run"
        )
    samples = found[0].samples()
    if to.suffix == ".csv":
        samples.to_csv(to, index=False)
    else:
        samples.to_parquet(to, index=False)
    err.print(f"{len(samples)} rows in {to}")


@runs_app.command("import")
def import_run(file: Path) -> None:
    """Take the runs of a .zip file into the cache, once they are verified.

    The file may be from anybody: it is read under limits in a process of its own, and is taken
    in as a whole or, where anything in it is wrong, not at all. Runs that are there stay.
    """
    from r2t2.runs.archive import import_runs

    for imported in import_runs(file, runs_folder()):
        said = "added" if imported.added else "already there"
        typer.echo(f"{imported.run.folder.name}: {said}")


@runs_app.command("pull")
def pull_runs(mirror: str) -> None:
    """Take the runs of a mirror into the cache, as far as they were stored there.

    Runs that are here already stay as they are. What a run lacks, 'run' computes.
    """
    from r2t2.runs.mirror import Mirror

    copy = Mirror(mirror)
    names = copy.names()
    for name in names:
        typer.echo(f"{name}: {'added' if copy.pull(name, runs_folder()) else 'already there'}")
    if not names:
        err.print(f"there are no runs at {mirror}", highlight=False)


@app.command()
def results(
    per_seed: Annotated[bool, typer.Option(help="A row per seed, as --json has them.")] = False,
    as_json: Json = False,
) -> None:
    """The results table of the complete runs in the cache (the paper's table 2).

    As JSON: a list of objects, one per benchmark, seed and strategy.
    """
    from r2t2.analysis.results import results_table
    from r2t2.runs.selection import default_runs
    from r2t2.runs.store import list_runs, runs_table

    figures = runs_table(default_runs(list_runs(runs_folder())))
    if figures.empty:
        raise FileNotFoundError(
            "the cache holds no complete run; make them with 'python -m r2t2 run'"
        )
    if as_json or per_seed:
        tables = [
            results_table(part).assign(seed=int(number)) for number, part in figures.groupby("seed")
        ]
        rows = [row for table in tables for row in json.loads(table.to_json(orient="records"))]
        _print(sorted(rows, key=lambda row: (row["benchmark"], row["seed"])), as_json)
        return
    table = results_table(figures)
    _print(json.loads(table.to_json(orient="records")), as_json)


@app.command()
def inspect(
    image: Path,
    question: str,
    label: Annotated[str | None, typer.Option(help="The right answer; enables the oracle.")] = None,
    choices: Annotated[str | None, typer.Option(help="Comma-separated options.")] = None,
    model: Model = "mini",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Answer one question about an image by all strategies."""
    from r2t2 import studio
    from r2t2.contract import top1
    from r2t2.images import decode
    from r2t2.samples import Sample

    picture = decode(image.read_bytes())
    options = tuple(c.strip() for c in choices.split(",")) if choices else ()
    sample = Sample("upload", question, lambda: picture, label, options)
    engine = studio.open_engine(model, device=device)
    if engine.model.notice:
        err.print(engine.model.notice)
    prepared = engine.prepare([sample])
    rows = []
    for name in COMPARED:
        if name == "oracle" and label is None:
            continue
        done = engine.run(prepared, strategy(name, engine.model.preset), trace=False)
        ((answer, confidence),) = done.answers[-1].top(1)[0]
        rows.append(
            {
                "strategy": name + (" (reads the label)" if done.setting.reads_label else ""),
                "answer": answer,
                "confidence": confidence,
                "top-1 expert": engine.model.experts[int(top1(done.r[0, -1], engine.model.sites))],
                "milliseconds": 1000 * done.cost.seconds,
                **({} if label is None else {"correct": sample.is_correct(answer)}),
            }
        )
    _print(rows, as_json)


@app.command()
def bench(model: Model = "mini", device: Device = "auto", as_json: Json = False) -> None:
    """Speed: each strategy over base, and batched NGD over the one-by-one yardstick."""
    from r2t2 import studio
    from r2t2.bench import measure

    _print(measure(studio.open_engine(model, device=device)), as_json)


@app.command()
def tune(model: Model = "mini", device: Device = "auto", as_json: Json = False) -> None:
    """Try settings of NGD on the dev benchmark, one option after the other."""
    from r2t2 import studio
    from r2t2.tuning import tune as run_tuning

    engine = studio.open_engine(model, device=device)
    dev = studio.open_dataset("dev", studio.default_seed(model))
    with _progress() as report:
        rows = run_tuning(engine, dev, report)
    _print(rows, as_json)


@app.command()
def card(model: Model = "mini", as_json: Json = False) -> None:
    """What the embedded model's card reports: probes of its experts, and its headroom."""
    from r2t2 import studio
    from r2t2.models.mini.card import headroom, probes
    from r2t2.models.mini.model import Mini

    engine = studio.open_engine(model, device="cpu")
    if not isinstance(engine.model, Mini):
        raise ValueError(f"{model} is not the embedded model; only that one has such a card")
    seed = studio.default_seed(model)
    known, room = probes(engine.model, seed), headroom(engine, seed)
    if as_json:
        _print([*known, *room], as_json)
        return
    _print(known, as_json, "linear probes, %")
    _print(room, as_json, "dev accuracy by question type, %")


@app.command()
def presets(as_json: Json = False) -> None:
    """The named settings."""
    _print([{"preset": name, **setting.options} for name, setting in PRESETS.items()], as_json)


def main() -> None:
    """Run the command line; what the user can put right is said in a sentence."""
    try:
        app()
    except (KeyError, ValueError, OSError, RuntimeError, ImportError) as error:
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        err.print(f"[red]error:[/red] {message}", highlight=False)
        sys.exit(2)
