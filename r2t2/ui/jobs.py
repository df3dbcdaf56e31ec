"""Jobs on a page: what is at work now, and a form that starts more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, get_type_hints

import pandas as pd
import streamlit as st

from r2t2.data.world import BENCHMARKS
from r2t2.estimate import size, span
from r2t2.figures.style import label
from r2t2.models.names import title as titled
from r2t2.paths import jobs_folder, reference_title, runs_folder
from r2t2.rerouting.settings import PRESETS, STRATEGIES, Setting, preset_of, strategy
from r2t2.ui import engine, references, show
from r2t2.ui.state import bound

if TYPE_CHECKING:
    from r2t2.runs.forecast import Forecast
    from r2t2.runs.jobs import Job
    from r2t2.runs.plan import Expected, Planned, Request

# So many of the jobs that are done are shown.
_DONE = 10
_STATES = {
    "waiting": ("hourglass_empty", "gray"),
    "running": ("play_arrow", "blue"),
    "done": ("check", "green"),
    "cancelled": ("block", "gray"),
    "failed": ("error", "red"),
    "interrupted": ("power_off", "orange"),
}
_ENGINES = {"local": "this machine", "ray": "Ray"}
_TRACES = {
    "auto": "as the strategy's kind",
    "all": "all",
    "ends": "first and last",
    "none": "none",
}


def now() -> None:
    """The jobs that are at work, and those that ended last; kept up to date by itself."""
    from r2t2.runs.jobs import list_jobs

    alive = any(job.alive for job in list_jobs(jobs_folder()))
    # A job may have been started in another tab, so that one looks even where there is none.
    st.fragment(_now, run_every=1.0 if alive else 5.0)()


def _now() -> None:
    from r2t2.runs.jobs import list_jobs

    jobs = list_jobs(jobs_folder())
    # What changes the rest of the page: a job that begins or ends, a run that is complete.
    seen = {job.id: (job.state, sum(bool(s.run) for s in job.progress.stages)) for job in jobs}
    before = st.session_state.setdefault("jobs-seen", seen)
    if before != seen:
        st.session_state["jobs-seen"] = seen
        st.rerun()
    alive = [job for job in jobs if job.alive]
    turn = any(job.state == "running" for job in alive)
    for job in sorted(alive, key=lambda job: job.state == "waiting"):
        _alive(job, "Waiting for its turn" if turn else "Starting")
    done = [job for job in jobs if job.state == "done"]
    for job in jobs:
        if not job.alive and job.state != "done":
            _ended(job)
    if done:
        with st.expander(f"Done: {len(done)}", icon=":material/check:", key="done-jobs"):
            for job in done[:_DONE]:
                _ended(job)
            if len(done) > _DONE:
                st.caption(f"Earlier ones: {len(done) - _DONE}; clear some to see them.")


def _alive(job: Job, waits: str) -> None:
    from r2t2.runs.jobs import cancel

    with st.container(border=True, key=f"job-{job.id}"):
        with _heading(job):
            stops = job.cancelling
            st.button(
                "Cancel", key=f"cancel-{job.id}", on_click=cancel, args=(job,), disabled=stops
            )
        stages = job.progress.stages
        done, total = (sum(getattr(s, name) for s in stages) for name in ("done", "total"))
        st.progress(done / total if total else 0.0, text=_progress(job, done, total, waits))
        _details(job)


def _progress(job: Job, done: int, total: int, waits: str) -> str:
    if job.cancelling:
        return "Stopping; what is stored stays"
    if job.state == "waiting":
        return waits
    parts = [f"{done:,} of {total:,} samples"]
    if job.progress.rate:
        parts.append(f"{job.progress.rate:.1f} per second")
    if job.progress.left is not None:
        left = job.progress.left - (time.time() - job.progress.updated)
        parts.append(f"{span(left)} left")
    return " · ".join(parts)


def _ended(job: Job) -> None:
    from r2t2.runs import jobs

    failed = f"failed-{job.id}"
    with st.container(border=True, key=f"job-{job.id}"):
        with _heading(job):
            if job.state != "done" and st.button(
                "Resume", key=f"resume-{job.id}", help="What is stored is not made again."
            ):
                _try(partial(jobs.resume, job), failed)
            if st.button("Clear", key=f"clear-{job.id}", help="The runs stay in the cache."):
                _try(partial(jobs.delete, job), failed)
        if job.progress.error:
            st.text(job.progress.error)
        if failed in st.session_state:
            show.failure(st.session_state[failed], "This cannot be done.")
        _details(job)


def _heading(job: Job) -> Any:
    """A job's state and what it is of; what is returned is the place for its buttons."""
    icon, colour = _STATES[job.state]
    row = st.container(horizontal=True, vertical_alignment="center", gap="small")
    row.badge(job.state, icon=f":material/{icon}:", color=colour)  # type: ignore[arg-type]
    row.markdown(f"**{show.literal(title(job.request))}**", width="stretch")
    return row


def _details(job: Job) -> None:
    stages = job.progress.stages
    complete = sum(stage.done == stage.total for stage in stages)
    runs = f"{complete} of {len(stages) or len(job.request.planned)} runs, and the log"
    with st.expander(runs, key=f"details-{job.id}", type="compact"):
        if stages:
            rows = pd.DataFrame(
                {
                    "run": [stage.name for stage in stages],
                    "done": [stage.done / stage.total for stage in stages],
                    "samples": [f"{stage.done:,} of {stage.total:,}" for stage in stages],
                    "note": [stage.note for stage in stages],
                }
            )
            show.table(
                rows,
                f"job-{job.id}",
                "The runs of this job, in their order.",
                column_config={
                    "done": st.column_config.ProgressColumn(format="percent", width="small")
                },
            )
        lines = job.log.splitlines()
        # The end of a log is not scrolled to, so that of a job at work nothing else is shown.
        st.code("\n".join(lines[-10:] if job.alive else lines) or "…", language=None, height=270)


def _try(what: Callable[[], object], failed: str) -> None:
    """Do something with jobs and draw the page anew, or keep why it cannot be done."""
    from r2t2.runs.jobs import AlreadyRunning

    st.session_state.pop(failed, None)
    try:
        what()
    except (AlreadyRunning, KeyError, ValueError, OSError) as error:
        # The next look at the jobs, a second or five later, draws all of them anew.
        st.session_state[failed] = error
    else:
        st.rerun()


def title(request: Request) -> str:
    """What a request is of, in a line."""
    names = _listed([label(name) for name in request.strategies], len(STRATEGIES), "strategies")
    on = _listed(request.benchmarks, len(BENCHMARKS), "benchmarks")
    parts = [f"{names} on {on}", *(text.replace("=", " = ") for text in request.overrides)]
    parts += [titled(request.model), f"seed {request.seed}"]
    if request.limit is not None:
        parts.append(f"first {request.limit:,} samples")
    if request.engine != "local":
        parts.append(f"on {_ENGINES[request.engine]}")
    return " · ".join(parts)


def _listed(names: Sequence[str], every: int, of: str) -> str:
    if len(names) == every:
        return f"all {of}"
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} {of}"


@st.fragment
def form(expanded: bool) -> None:
    """Inputs that make a request, what it would take, and the button that starts it."""
    model, reference = st.session_state["model"], st.session_state["reference"]
    with st.expander("Start runs", expanded=expanded, icon=":material/add:"):
        if reference is None:
            references.none_yet(model)
            return
        st.caption(
            f"Model **{show.literal(titled(model))}**, reference set "
            f"**{show.literal(reference_title(reference, model))}**: those of the sidebar."
        )
        try:
            request = _request(model, reference)
        except (KeyError, ValueError) as error:
            show.failure(error, "These runs cannot be started.")
            return
        _confirm(request)


def _request(model: str, reference: str) -> Request:
    from r2t2.runs.plan import TRACES, Request, engines

    there = engines()
    left, right, *more = st.columns([2, 2, 1] if len(there) > 1 else 2)
    benchmarks = left.multiselect(
        "Benchmarks",
        engine.benchmarks(),
        placeholder=f"all {len(BENCHMARKS)}",
        help="Hyper-parameters are chosen on dev, so “all” leaves it out.",
        **bound("start-benchmarks"),
    )
    strategies = right.multiselect(
        "Strategies and controls",
        STRATEGIES,
        format_func=label,
        placeholder=f"all {len(STRATEGIES)}",
        **bound("start-strategies"),
    )
    own, seed = preset_of(model), engine.default_seed(model)
    boxes = st.columns(4)
    preset = boxes[0].selectbox(
        "Preset",
        list(PRESETS),
        index=None,
        placeholder=f"{own} (the model's own)",
        help="The setting that the strategies begin with.",
        **bound("start-preset"),
    )
    chosen = boxes[1].number_input(
        "Seed of the benchmarks",
        min_value=0,
        value=None,
        step=1,
        placeholder=f"{seed} (the model's own)",
        **bound("start-seed"),
    )
    limit = boxes[2].number_input(
        "Samples of each",
        min_value=1,
        value=None,
        step=1,
        placeholder="all",
        **bound("start-limit"),
    )
    trace = boxes[3].selectbox(
        "Steps to keep",
        TRACES,
        format_func=_TRACES.__getitem__,
        help="By kind: of NGD all steps, of other strategies the first and the last, of controls "
        "none. Shift and Flips draw what is kept.",
        **bound("start-trace"),
    )
    by = there[0]
    for box in more:
        by = box.selectbox(
            "Engine",
            there,
            format_func=_ENGINES.__getitem__,
            help="Who computes; the results are the same. Ray's cluster is the one that "
            "RAY_ADDRESS names, or this machine's cores.",
            **bound("start-engine"),
        )
    names = tuple(name for name in STRATEGIES if name in strategies) or STRATEGIES
    return Request(
        model=model,
        reference=reference,
        benchmarks=tuple(benchmarks) or tuple(BENCHMARKS),
        strategies=names,
        overrides=_overrides(names, preset or own),
        seed=seed if chosen is None else int(chosen),
        limit=None if limit is None else int(limit),
        trace=trace,
        preset=preset,
        engine=by,
    )


def _overrides(strategies: Sequence[str], preset: str) -> tuple[str, ...]:
    """The options that are changed, each with the values that were typed."""
    from r2t2.runs.plan import OPTIONS

    used = {option for name in strategies for option in strategy(name, preset).options}
    if "references" in used:
        used.add("guard")  # which is named only where it is not as usual
    options = [name for name in OPTIONS if name in used]
    changed = st.multiselect(
        "Options to change or sweep",
        options,
        placeholder="none",
        format_func=lambda name: name.replace("_", " "),
        help="Several values of an option make one run each; of several options, one run per "
        "combination. A strategy that does not use an option is run once.",
        **bound("start-options"),
    )
    found = []
    for start in range(0, len(changed), 4):
        for box, name in zip(st.columns(4), changed[start : start + 4], strict=False):
            with box:
                values = _values(name, getattr(PRESETS[preset], name))
            if values:
                found.append(f"{name}={','.join(values)}")
    return tuple(found)


def _values(name: str, usual: Any) -> list[str]:
    words = name.replace("_", " ")
    choices = getattr(get_type_hints(Setting)[name], "__args__", ())
    if isinstance(usual, bool):
        choices = ("true", "false")
    if all(isinstance(choice, str) for choice in choices) and choices:
        return st.multiselect(words, choices, placeholder=str(usual), **bound(f"start-{name}"))
    typed = st.text_input(
        words,
        placeholder=f"{usual}; several: 1, 3, 5",
        max_chars=200,
        **bound(f"start-{name}"),
    )
    return [value.strip() for value in str(typed or "").split(",") if value.strip()]


def _confirm(request: Request) -> None:
    """What a request would take, and the button that starts it."""
    from r2t2.runs import jobs
    from r2t2.runs.plan import expect
    from r2t2.runs.store import list_runs

    expected = expect(request, list_runs(runs_folder()))
    new = {run: one for run, one in zip(request.planned, expected, strict=True) if one.left}
    forecast = _forecast(request)
    boxes = st.columns(4, vertical_alignment="bottom")
    boxes[0].metric("New runs", f"{len(new):,} of {len(expected):,}")
    boxes[1].metric("New samples", f"{sum(one.left for one in new.values()):,}")
    boxes[2].metric(
        "Time",
        _time(new, forecast),
        help="From the stored timings of the runs most like these, on whatever machine they were "
        "made. Where there is none, from what a large model must compute at least; of a small one "
        "it is unknown.",
    )
    if boxes[3].button(
        f"Start {len(new)} runs" if len(new) != 1 else "Start 1 run",
        key="start",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        disabled=not new or bool(forecast and not forecast.estimate.fits),
    ):
        _try(partial(jobs.start, request, jobs_folder()), f"failed-{request.id}")
    # Kept until the next attempt: the job that is in the way draws the page anew as it goes on.
    if new and (error := st.session_state.get(f"failed-{request.id}")):
        show.failure(error, "These runs were not started.")
    if not new:
        st.caption("All of these runs are in the cache.")
    elif forecast:
        _memory(forecast)
    st.code(request.command, language="bash", wrap_lines=True)


def _forecast(request: Request) -> Forecast | None:
    """What the request takes of a large model; None of a small one, or where it cannot be told."""
    try:
        told = engine.estimate(request.model)
        if told is None:
            return None
        from r2t2.runs.forecast import Forecast

        return Forecast.of(request, told)
    except (OSError, ValueError, RuntimeError) as error:
        show.failure(error, "What these runs would take cannot be told.")
        return None


def _time(new: Mapping[Planned, Expected], forecast: Forecast | None) -> str:
    """What runs would take, in words."""
    known = [one.left * one.seconds for one in new.values() if one.seconds is not None]
    if not new:
        return "–"
    if len(known) == len(new):
        return f"about {span(sum(known))}"
    if forecast:
        shares = {run: one.left / one.size for run, one in new.items() if one.seconds is None}
        known += [forecast.seconds(run) * share for run, share in shares.items()]
    return f"over {span(sum(known))}" if known else "unknown"


def _memory(forecast: Forecast) -> None:
    """Whether weights and encodings fit."""
    told = forecast.estimate
    if not told.fits:
        st.error(
            f"The weights do not fit: they take {size(told.weights)}, and {size(told.free)} are "
            "free. Take a smaller model, a smaller dtype, or another device from a terminal.",
            icon=":material/memory:",
        )
        return
    if spills := told.spills(forecast.references):
        st.warning(spills, icon=":material/memory:")
    st.caption(
        f"Memory: {size(told.weights)} of weights, of {size(told.free)} that are free, and about "
        f"{size(told.encoding)} for each of up to {forecast.references:,} references."
    )
