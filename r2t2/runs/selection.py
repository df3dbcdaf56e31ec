"""Which runs a page or a table shows, and what it calls them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from r2t2.rerouting.settings import STRATEGIES, preset_of, strategy
from r2t2.runs.identity import RunSpec
from r2t2.runs.store import Run

# Hyper-parameters are chosen on this benchmark, so that no result is reported of it.
DEV = "dev"
_TRACES = ("none", "ends", "all")


def changed(model: str, name: str, options: Mapping[str, object]) -> dict[str, object]:
    """The options in which a setting differs from a strategy's own for the model."""
    if name not in STRATEGIES:
        return dict(options)
    own = strategy(name, preset_of(model)).options
    return {option: value for option, value in options.items() if own.get(option) != value}


def changes(spec: RunSpec) -> dict[str, object]:
    """The options in which a run differs from its strategy's own setting for the model."""
    return changed(spec.model, spec.strategy, spec.setting)


def variant(spec: RunSpec) -> str:
    """A strategy as tables name it: "ngd" under its own setting, "ngd[k=5]" where changed."""
    return variant_of(spec.model, spec.strategy, spec.setting)


def variant_of(model: str, name: str, options: Mapping[str, object]) -> str:
    """`variant` of a strategy that was not run yet."""
    listed = ",".join(f"{key}={value}" for key, value in changed(model, name, options).items())
    return f"{name}[{listed}]" if listed else name


def best(runs: Iterable[Run]) -> list[Run]:
    """One complete run per model, reference set, benchmark, seed and variant.

    Of several, the one with the most samples, then with the most steps kept, then the newest.
    Sorted by seed, then strategies as `STRATEGIES` has them, each before its variants.
    """
    kept: dict[tuple[object, ...], Run] = {}
    for run in runs:
        if run.status != "complete":
            continue
        of = run.spec
        key = (of.model, of.reference, of.benchmark, of.seed, variant(of))
        if key not in kept or _rank(run) > _rank(kept[key]):
            kept[key] = run
    return sorted(kept.values(), key=_place)


def default_runs(runs: Sequence[Run]) -> list[Run]:
    """`best` of the strategies under their own settings alone: what a results table shows.

    Of a model with several reference sets, those of the set that most runs are of; runs with
    changed options are for comparing. Runs on `DEV` are left out: hyper-parameters were chosen
    on it.
    """
    named = [
        run for run in best(runs) if variant(run.spec) in STRATEGIES and run.spec.benchmark != DEV
    ]
    counts: dict[str, dict[str, int]] = {}
    for run in named:
        of_model = counts.setdefault(run.spec.model, {})
        of_model[run.spec.reference] = of_model.get(run.spec.reference, 0) + 1
    usual = {model: max(sets, key=lambda name: sets[name]) for model, sets in counts.items()}
    return [run for run in named if run.spec.reference == usual[run.spec.model]]


def beside_exact(runs: Iterable[Run]) -> list[tuple[Run, Run]]:
    """Runs of the same samples that differ in nothing but their losses: (exact, fitted)."""
    exact: dict[tuple[object, ...], Run] = {}
    fitted: dict[tuple[object, tuple[object, ...]], Run] = {}
    for run in runs:
        of, options = run.spec, dict(run.spec.setting)
        losses, sure = options.pop("losses", "exact"), options.pop("sure", 0)
        same = (of.model, of.reference, of.benchmark, of.seed, *sorted(options.items()))
        if losses == "fitted":
            fitted.setdefault((sure, same), run)
        else:
            exact.setdefault(same, run)
    return [(exact[same], run) for (_, same), run in fitted.items() if same in exact]


def _rank(run: Run) -> tuple[int, int, str]:
    return run.spec.size, _TRACES.index(run.spec.trace), str(run.manifest["created"])


def _place(run: Run) -> tuple[int, int, str]:
    known = run.spec.strategy in STRATEGIES
    order = STRATEGIES.index(run.spec.strategy) if known else len(STRATEGIES)
    return run.spec.seed, order, variant(run.spec)
