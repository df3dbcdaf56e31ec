"""`python -m r2t2`: everything that is not looking, from the command line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, JustifyMethod, OverflowMethod
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from r2t2.data import benchmarks as data_benchmarks
from r2t2.data import catalogue, world
from r2t2.estimate import count, size, span
from r2t2.files import written
from r2t2.paths import checkpoint_folder, reference_folder, reference_name, runs_folder
from r2t2.rerouting.settings import COMPARED, PRESETS, STRATEGIES, preset_of, strategy
from r2t2.sites import expert_names

if TYPE_CHECKING:
    from r2t2.estimate import Estimate
    from r2t2.runs.plan import Request

app = typer.Typer(
    help="R2-T2 Studio: test-time re-routing in mixture-of-experts models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
reference_app = typer.Typer(help="Reference sets: the samples whose routing is learnt from.")
runs_app = typer.Typer(help="The run cache.")
models_app = typer.Typer(help="The models that can be loaded here, and how to add one.")
app.add_typer(models_app, name="models")
data_app = typer.Typer(help="Benchmarks and reference datasets: the paper's, and your own.")
app.add_typer(reference_app, name="reference", no_args_is_help=True)
app.add_typer(runs_app, name="runs", no_args_is_help=True)
app.add_typer(data_app, name="data", no_args_is_help=True)
# Into a file, tables are as wide as they must be.
out = Console(width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)
# Of a run, what a table has room for.
_OF_A_RUN = (
    *("id", "benchmark", "seed", "strategy", "n", "accuracy", "base_accuracy"),
    *("wrong_to_right", "right_to_wrong", "score"),
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Model = Annotated[
    str, typer.Option(help="mini, mini-N for one trained here, or a large one such as hf:NAME.")
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="Where official files lie, a folder per dataset; R2T2_DATA by default."
    ),
]
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

    What it yields is called as `report(stage, done, total, note)`, total being 0 while unknown.
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
                tasks[stage] = bar.add_task(stage, total=total or None, note="", rate="")
            task = tasks[stage]
            bar.update(task, completed=done, total=total or None, note=note)
            speed = bar.tasks[task].speed
            bar.update(task, rate=f"{speed:.1f}/s" if speed else "")
            if not err.is_terminal and (done == total or note or time.monotonic() - printed > 10):
                printed = time.monotonic()
                of = f" of {total}" if total else ""
                err.print(f"{stage}: {done}{of} {note}".rstrip(), soft_wrap=True)

        yield report


def _print(
    rows: Sequence[dict[str, Any]], as_json: bool, title: str = "", shown: Sequence[str] = ()
) -> None:
    """JSON of everything, or a table of the columns that are `shown` (all if none is named)."""
    if as_json:
        typer.echo(json.dumps(list(rows), indent=1))
        return
    brief = [{name: row[name] for name in shown or row} for row in rows]
    out.print(_table(brief, title) if rows else "nothing")


def _table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    table = Table(title=title or None)
    for name in rows[0]:
        right = isinstance(rows[0][name], float)
        # The first is the name: where it does not fit, it must still be there to be copied.
        whole: OverflowMethod = "ellipsis" if table.columns else "fold"
        short = not table.columns and max(len(str(row[name])) for row in rows) <= 16
        justify: JustifyMethod = "right" if right else "left"
        table.add_column(name, justify=justify, overflow=whole, no_wrap=short)
    for row in rows:
        cells = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values())
        table.add_row(*cells)
    return table


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: Json = False) -> None:
    """The models that can be loaded here, and what is told of them; no large one is loaded.

    The memory of a large one is that of its weights, and of what is kept of a sample.
    """
    from r2t2.models import available, estimate, family_of, load_model, sites

    if context.invoked_subcommand:
        return
    rows = []
    for name in available():
        row = {"name": name, "sites": "", "experts": "", "parameters": "", "memory": ""}
        try:
            if family_of(name):
                found, told = sites(name), estimate(name)
                preset, fingerprint = preset_of(name), ""
            else:
                model = load_model(name, "cpu")
                found, told = model.sites, None
                preset, fingerprint = model.preset, model.fingerprint
            row["sites"] = ", ".join(site.name for site in found)
            row["experts"] = _shortened(expert_names(found))
            if told:
                row["parameters"] = f"{count(told.parameters)}, {count(told.active)} active"
                row["memory"] = f"{size(told.weights)} and {size(told.encoding)} a sample"
        except (OSError, ValueError) as error:
            preset, fingerprint, row["sites"] = "", "", f"cannot be told: {error}"
        rows.append({**row, "preset": preset, "fingerprint": fingerprint})
    _print(rows, as_json)


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 7 else f"{names[0]} to {names[-1]} ({len(names)})"


@models_app.command("add")
def add_model(name: str) -> None:
    """Offer a large model on the pages, such as "hf:FOLDER_OR_HUB_NAME?layers=last5".

    It must lie on this machine. Its name is noted in models.txt in the cache.
    """
    from r2t2.models import add, estimate
    from r2t2.reference import how_to_build

    add(name)
    told = estimate(name)
    if told:
        err.print(told.report, highlight=False)
    err.print(
        f"{name} is offered; build its reference set with\n{how_to_build(name)}", soft_wrap=True
    )


@models_app.command("remove")
def remove_model(name: str) -> None:
    """Offer a large model no more; its files, reference sets and runs stay."""
    from r2t2.models import remove

    remove(name)


@models_app.command("check")
def check_model(
    name: str,
    dataset: Annotated[str, typer.Option(help="Labelled samples to check it on.")] = "dev",
    size: Annotated[int, typer.Option(help="How many of them.")] = 4,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Whether a model keeps the contract's promises; for whoever adds one."""
    from r2t2 import studio
    from r2t2.conformance import check
    from r2t2.models import load_model

    found = check(load_model(name, device), studio.open_dataset(dataset).head(size)[:])
    _print(
        [{"promise": one.promise, "kept": one.verdict, "why": one.why} for one in found], as_json
    )
    if any(one.kept is False for one in found):
        raise typer.Exit(1)


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
    data_dir: DataDir = None,
    engine: EngineName = "local",
    actors: Actors = None,
) -> None:
    """Answer labelled samples with the model and keep embeddings, routing, answers and losses.

    The paper's reference set is "paper-reference", the union of nine datasets; others are joined
    by "+", as in "vqav2+docvqa".
    """
    from r2t2 import studio
    from r2t2.models import estimate, load_model
    from r2t2.reference import build
    from r2t2.runs.plan import ENGINES

    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}; it must be one of {', '.join(ENGINES)}")
    chosen = studio.default_seed(model) if seed is None else seed
    _prepare([dataset], data_dir)
    samples = studio.open_dataset(dataset, chosen).head(size)
    if told := estimate(model, device):
        err.print(told.report, highlight=False)
        # The model's own routing, its answer and its loss.
        least = span(len(samples) * told.seconds(2))
        err.print(f"{len(samples):,} samples take at least {least}", highlight=False)
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
    for benchmark in data_benchmarks.names("benchmark"):
        _overlap(name, benchmark)


@reference_app.command("fit")
def fit_reference(
    model: Model = "mini",
    reference: Annotated[str | None, typer.Option(help="A reference set by name.")] = None,
    anchors: Annotated[
        int | None,
        typer.Option(min=2, help="Routings to fit at; the usual number if left out."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Fit each reference's loss as a function of routing, for the amortised strategies.

    Every reference goes through the model, forward and backward, once per routing.
    """
    from r2t2 import fitted, studio

    name = reference or reference_name(model)
    engine = studio.open_engine(model, name, device)
    with _progress() as report:
        made = fitted.fit(
            engine.model,
            engine.reference,
            *engine.everything("all"),
            count=anchors or fitted.ANCHORS,
            report=lambda done, total: report("fitting losses", done, total, ""),
        )
    made.save(reference_folder(name))
    err.print(
        f"{name}: {int(made.trusted.sum())} of {len(made.trusted)} fits are trusted, median error "
        f"{float(made.error.median()):.3f} nats; {made.built['forward']} passes each, "
        f"{made.built['seconds']:.0f} s"
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
    only_estimate: Annotated[
        bool, typer.Option("--estimate", help="Tell memory and time of a large model, and stop.")
    ] = False,
    data_dir: DataDir = None,
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
    from r2t2.models import estimate
    from r2t2.runs.plan import Request

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
    _prepare(request.benchmarks, data_dir)
    if told := estimate(model, device):
        _forecast(request, told, only_estimate and as_json)
    if only_estimate:
        if not told:
            err.print(f"{model} is small: nothing is estimated")
        return
    # After the estimate, since it brings all that computes.
    from r2t2.runs.runner import carry_out

    names = [request.label(planned) for planned in request.planned]
    rows = []
    try:
        with _progress() as report:

            def tell(number: int, done: int, total: int, note: str) -> None:
                report(names[number], done, total, note)

            for planned, done in carry_out(request, tell, device, actors, mirror):
                rows.append(
                    {
                        "id": done.id,
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
    _print(rows, as_json, shown=_OF_A_RUN)
    for name in request.benchmarks:
        _overlap(request.reference, name)


def _prepare(names: Sequence[str], folder: Path | None) -> None:
    """Take in what is not here yet, but whose official files are."""
    with _progress() as report:
        for name in data_benchmarks.missing(names, folder):
            _get(name, folder, False, report)


def _get(name: str, folder: Path | None, again: bool, report: Callable[..., None]) -> None:
    def tell(done: int, total: int) -> None:
        report(f"taking {name} in", done, total, "")

    kept = data_benchmarks.get(name, folder, again, tell)
    said = data_benchmarks.differs(kept)
    err.print(f"{name}: {kept.manifest['size']:,} samples{said and f' ({said})'}", highlight=False)


def _overlap(reference: str, benchmark: str) -> None:
    """Say how many samples of a benchmark a reference set overlaps with, if any."""
    from r2t2 import studio

    counts = studio.overlaps(reference, benchmark)
    if not counts:
        return
    parts = [f"{name}: {count:,}" for name, count in counts.items()]
    err.print(f"overlap of {benchmark} with {reference}: {', '.join(parts)}", highlight=False)


@data_app.command("list")
def list_data(as_json: Json = False) -> None:
    """The paper's benchmarks and reference datasets, your own, and which of them are here."""
    _print(data_benchmarks.listed(), as_json)


@data_app.command("check")
def check_data(
    names: Annotated[list[str] | None, typer.Argument(help="All of the paper's and here.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """What is here and as it was, what is missing, and exactly how to get it."""
    wanted = names or [row["name"] for row in data_benchmarks.listed()]
    rows = data_benchmarks.checked(wanted, data_dir)
    if as_json:
        _print(rows, as_json)
        return
    for row in rows:
        size = f", {row['samples']:,} samples" if row["samples"] else ""
        note = f": {row['note']}" if row["note"] else ""
        out.print(f"{row['name']}: {row['state']}{size}{note}", highlight=False, soft_wrap=True)


@data_app.command("get")
def get_data(
    names: Annotated[list[str], typer.Argument(help="Names, or all, benchmarks, references.")],
    data_dir: DataDir = None,
    again: Annotated[bool, typer.Option(help="Anew, although it is here.")] = False,
    as_json: Json = False,
) -> None:
    """Take datasets in from official files or the hub; stopped, the same command goes on."""
    groups = {
        "all": (*catalogue.BENCHMARKS, *catalogue.REFERENCES),
        "benchmarks": catalogue.BENCHMARKS,
        "references": catalogue.REFERENCES,
        catalogue.PAPER_REFERENCE: catalogue.REFERENCES,
        catalogue.CIRCULAR: ("mmbench",),
    }
    wanted = list(dict.fromkeys(one for name in names for one in groups.get(name, (name,))))
    failed = []
    with _progress() as report:
        for name in wanted:
            try:
                _get(name, data_dir, again, report)
            except (OSError, ValueError) as error:
                if len(wanted) == 1:
                    raise
                failed.append(name)
                err.print(f"{name}: {error}", highlight=False, markup=False)
    if as_json:
        _print(data_benchmarks.checked(wanted, data_dir), as_json)
    if failed:
        raise typer.Exit(2)


@data_app.command("add")
def add_data(
    file: Path,
    name: Annotated[str, typer.Option(help="What to call it.")],
    role: Annotated[str, typer.Option(help="benchmark or reference.")] = "benchmark",
    images: Annotated[
        Path | None, typer.Option(help="The folder of the pictures; the file's own by default.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="How answers are scored.")] = None,
    again: Annotated[bool, typer.Option(help="Replace what has this name.")] = False,
    as_json: Json = False,
) -> None:
    """Make a benchmark or a reference set of your own CSV, JSONL or Parquet file, or a .zip.

    Columns: image, question and answer; if you like also choices, answers, category, hint and id.
    """
    from r2t2.data.own import add

    with _progress() as report:

        def tell(done: int, total: int) -> None:
            report(f"taking {name} in", done, total, "")

        kept = add(file, name, role, images, metric, again, tell)
    if as_json:
        _print([row for row in data_benchmarks.listed() if row["name"] == name], as_json)
        return
    use = "run --benchmark" if role == "benchmark" else "reference build --dataset"
    err.print(
        f"{name}: {kept.manifest['size']:,} samples; use it with 'python -m r2t2 {use} {name}'",
        highlight=False,
    )


@data_app.command("remove")
def remove_data(
    name: str, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Delete a dataset that is here; official files and the hub's cache stay."""
    from r2t2.data import stored

    found = stored.find(name)
    if not yes:
        typer.confirm(f"delete {name} ({found.manifest['size']:,} samples)?", abort=True)
    stored.remove(name)


def _forecast(request: Request, told: Estimate, as_json: bool) -> None:
    """Print what a request will take at least: the runs, then the whole, on stderr."""
    from r2t2.runs.forecast import Forecast

    forecast = Forecast.of(request, told)
    rows = [
        {
            "run": request.label(run),
            "samples": request.size(run),
            "seconds a sample": forecast.each(run),
            "seconds": forecast.seconds(run),
        }
        for run in request.planned
    ]
    if as_json:
        _print([*rows, {"run": "all, encodings included", "seconds": forecast.total}], True)
        return
    err.print(_table(rows, "at least"))
    err.print(told.report, highlight=False)
    err.print(
        f"all of it at least {span(forecast.total)}: {forecast.encodings:,} samples and references "
        f"are encoded in {span(forecast.encodings * told.seconds(0))}",
        highlight=False,
    )
    if spills := told.spills(forecast.references):
        err.print(f"[yellow]{spills}[/yellow]", highlight=False)


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
    rows = json.loads(table.to_json(orient="records"))
    _print(rows, as_json, shown=(*_OF_A_RUN, "status"))


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
    """Write a run's sample rows to a .csv, .parquet or .jsonl file, or whole runs to a .zip file.

    What is in a .zip file, `runs import` takes into another cache. A .jsonl file has the samples
    as lmms-eval logs them.
    """
    from r2t2.runs.archive import export_runs
    from r2t2.runs.evaluations import export_samples
    from r2t2.runs.store import find

    found = [find(runs_folder(), run_id) for run_id in run_ids]
    if to.suffix == ".zip":
        with written(to) as part:
            export_runs(found, part)
        err.print(f"{len(found)} runs in {to}", highlight=False)
        return
    if to.suffix not in (".csv", ".parquet", ".jsonl") or len(found) > 1:
        raise ValueError(
            f"cannot export {len(found)} runs to {to.name}; name a file that ends in .zip, or in "
            ".csv, .parquet or .jsonl for the sample rows of one run"
        )
    if to.suffix == ".jsonl":
        with written(to) as part, part.open("w", encoding="utf-8") as file:
            export_samples(found[0], file)
        err.print(f"{found[0].done} rows in {to}")
        return
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


@runs_app.command("import-evaluation")
def import_evaluation_command(
    file: Path,
    benchmark: Annotated[str, typer.Option(help="The benchmark that the file is of.")],
    name: Annotated[str, typer.Option("--as", help="What tables call these results.")],
    model: Annotated[str, typer.Option(help="Whose base run they are laid over.")] = "mini",
    seed: Annotated[
        int | None, typer.Option(help="Of the benchmark, where there are many.")
    ] = None,
    score: Annotated[
        str | None, typer.Option(help="The column with the scores, from 0 to 1.")
    ] = None,
) -> None:
    """Lay another evaluator's results beside one's own: lmms-eval's samples or VLMEvalKit's file.

    They are matched to the samples of the base run of the same benchmark, by name or by position.
    """
    from r2t2.runs.evaluations import base_runs, import_evaluation

    found = [
        run
        for run in base_runs(runs_folder())
        if (run.spec.model, run.spec.benchmark) == (model, benchmark)
        and seed in (None, run.spec.seed)
    ]
    if not found:
        raise KeyError(
            f"there is no base run of {model} on {benchmark}; make it with 'python -m r2t2 run "
            f"--strategy base --benchmark {benchmark} --model {model}'"
        )
    base = max(found, key=lambda run: (run.spec.size, -run.spec.seed))
    done = import_evaluation(file, base, name, runs_folder(), score)
    typer.echo(f"{done.run.folder.name}: {done.told}")


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
    except (KeyError, ValueError, OSError, RuntimeError, MemoryError, ImportError) as error:
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        err.print(f"[red]error:[/red] {message}", highlight=False)
        sys.exit(2)
