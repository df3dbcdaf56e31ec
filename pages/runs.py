"""Runs: what is at work, what there is, and what more could be run."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from functools import partial
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from r2t2.estimate import size
from r2t2.figures.style import label
from r2t2.models.names import titles
from r2t2.paths import jobs_folder, runs_folder
from r2t2.ui import data, jobs, performance, runs, show
from r2t2.ui.state import bound, framed

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from r2t2.runs.store import Run


def listed(found: list[Run]) -> pd.DataFrame:
    """One row per run of the cache."""
    table = runs.figures(found)
    accuracy, base = 100 * table["accuracy"], 100 * table["base_accuracy"]
    seconds = [
        None if run.spec.external else run.manifest.get("timings", {}).get("wall_seconds")
        for run in found
    ]
    return pd.DataFrame(
        {
            "id": table["id"],
            "model": table["model"].map(titles(table["model"].unique())),
            "reference": table["reference"],
            "benchmark": table["benchmark"],
            "strategy": table["strategy"].map(label),
            "seed": table["seed"],
            "status": [status(run) for run in found],
            "samples": table["n"],
            "accuracy": accuracy,
            "gain": accuracy - base,
            "rate": table["n"].astype(float) / pd.Series(seconds, dtype=float),
            "steps": [run.spec.trace for run in found],
            "created": pd.to_datetime(table["created"], utc=True),
            "device": [run.manifest["device"] for run in found],
        }
    )


def status(run: Run) -> str:
    """complete, imported (and complete), running, or unfinished: nobody is at work on it."""
    if run.status == "complete":
        others = run.spec.external or "imported" in run.manifest
        return "imported" if others else "complete"
    return "running" if run.busy else "unfinished"


def filtered(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that the filters leave; an empty filter leaves all."""
    boxes = st.columns(5)
    left = pd.Series(True, table.index)
    for box, name in zip(boxes, ("model", "benchmark", "strategy", "status"), strict=False):
        chosen = box.multiselect(
            name.capitalize(),
            sorted(table[name].unique()),
            placeholder="all",
            **bound(f"runs-{name}"),
        )
        if chosen:
            left &= table[name].isin(chosen)
    text = boxes[-1].text_input(
        "Text",
        placeholder="id, reference, device, …",
        **bound("runs-text"),
    )
    texts = table.select_dtypes("str").itertuples(index=False)
    said = pd.Series([" ".join(row).lower() for row in texts], table.index, "str")
    for word in str(text or "").lower().split():
        left &= said.str.contains(word, regex=False)
    return table[left].sort_values("created", ascending=False, kind="stable")


@st.fragment
def cache(found: list[Run]) -> None:
    """The table of all runs, and what can be done with those that are chosen in it."""
    st.subheader("All runs", anchor=False)
    table = filtered(listed(found))
    chosen = choose(table)
    if not chosen:
        st.caption("Choose runs in the first column to see, resume, export or delete them.")
        return
    by_id = {run.id: run for run in found}
    picked = [by_id[id] for id in chosen]
    actions(picked)
    if len(picked) == 1:
        details(picked[0])


def choose(table: pd.DataFrame) -> list[str]:
    """Draw the table; the ids of the runs that are chosen, which the address names too."""
    ids = table["id"].tolist()
    wanted = st.query_params.get("run", "").split(",")
    places = [place for place, id in enumerate(ids) if id in wanted]
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    event = st.dataframe(
        table,
        # The browser keeps places, and other rows make them other runs': so another table.
        key="runs-" + hashlib.sha256("".join(ids).encode()).hexdigest()[:16],
        selection_default={"selection": {"rows": places, "columns": [], "cells": []}},
        on_select="rerun",
        selection_mode="multi-row",
        hide_index=True,
        placeholder="–",
        column_order=[name for name in table if name not in ("id", "reference", "device")],
        column_config={
            "samples": number(format="%d"),
            "accuracy": number(format="%.1f", help="Percent of the samples answered right."),
            "gain": number(format="%+.1f", help="Points over the base of the same samples."),
            "rate": number("per second", format="%.1f", help="Samples, when it was made."),
            "status": text(help="An imported run is complete, and somebody else's claim."),
            "steps": text(help="The steps that are kept."),
            "created": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC"),
        },
    )
    show.under(
        table,
        "cache",
        f"Runs: {len(table):,}, the newest first; a gain is to be read beside its controls' "
        "(Results).",
    )
    chosen = [ids[place] for place in event.selection.rows]
    if chosen:
        st.query_params["run"] = ",".join(chosen)
    else:
        st.query_params.pop("run", None)
    return chosen


def actions(picked: list[Run]) -> None:
    """Buttons for the runs that are chosen."""
    whole = [run for run in picked if run.status == "complete" and not run.damaged]
    partly = [run for run in picked if run not in whole]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{show.literal(titled(picked))}**", width="stretch")
        if partly and st.button(f"Resume {counted(partly)}", icon=":material/resume:"):
            resume(partly)
        if whole:
            name = whole[0].spec.folder if len(whole) == 1 else f"{len(whole)}-runs"
            st.download_button(
                f"Export {counted(whole)}",
                partial(exported, whole),
                f"{name}.r2t2.zip",
                mime="application/zip",
                on_click="ignore",
                icon=":material/download:",
            )
        if len(whole) == 1:
            st.download_button(
                "Samples for lmms-eval",
                partial(logged, whole[0]),
                f"{whole[0].spec.folder}_samples.jsonl",
                mime="application/jsonl",
                on_click="ignore",
                icon=":material/download:",
                help="A line of JSON per sample, as lmms-eval logs them.",
            )
        if st.button(f"Delete {counted(picked)} …", icon=":material/delete:"):
            delete(picked)


def titled(some: list[Run]) -> str:
    """What is chosen, in a line."""
    if len(some) > 1:
        return f"{len(some)} runs"
    spec = some[0].spec
    return f"{label(runs.variant(some[0]))} on {spec.benchmark} · {spec.model} · seed {spec.seed}"


def counted(some: list[Run]) -> str:
    """How many runs, in words."""
    return "1 run" if len(some) == 1 else f"{len(some)} runs"


def exported(some: list[Run]) -> bytes:
    """Runs as one file."""
    from r2t2.runs.archive import export_runs

    buffer = BytesIO()
    export_runs(some, buffer)
    return buffer.getvalue()


def logged(run: Run) -> str:
    """A run's samples as lmms-eval logs them."""
    from r2t2.runs.evaluations import export_samples

    text = StringIO()
    export_samples(run, text)
    return text.getvalue()


def resume(partly: list[Run]) -> None:
    """Go on with runs where they stopped, each as a job of its own."""
    from r2t2.runs.jobs import AlreadyRunning, start
    from r2t2.runs.plan import Request

    try:
        for run in partly:
            start(Request.again(run.spec), jobs_folder())
    except (AlreadyRunning, KeyError, ValueError, OSError) as error:
        show.failure(error, f"{show.literal(run.spec.folder)} cannot be resumed.")
    else:
        st.rerun()


@st.dialog("Delete runs?")
def delete(picked: list[Run]) -> None:
    """Ask, then delete."""
    from r2t2.runs import store

    st.write(
        f"{counted(picked)} and all samples and steps of {'it' if len(picked) == 1 else 'them'} "
        "will be gone. To make runs again takes their time again."
    )
    names = [f"{run.folder.name}  ({run.done} of {run.spec.size} samples)" for run in picked]
    st.code("\n".join(names), language=None, height=min(240, 40 + 22 * len(names)))
    with st.container(horizontal=True):
        if st.button(f"Delete {counted(picked)}", type="primary"):
            try:
                for run in picked:
                    store.delete(run)
            except (store.RunLocked, OSError) as error:
                show.failure(error, "This run cannot be deleted now.")
                return
            st.rerun()
        if st.button("Keep"):
            st.rerun()


def details(run: Run) -> None:
    """What a run's manifest tells."""
    manifest, spec = run.manifest, run.spec
    if damaged := run.damaged:
        st.warning("Missing or damaged files; resuming computes their samples anew.")
        st.text(", ".join(damaged))
    left, right = st.columns(2, gap="large")
    with left:
        facts("setting", list(spec.setting.items()), "The options that its strategy uses.")
        facts("versions", list(manifest["versions"].items()), "The packages that it was made with.")
    told = {
        "id": run.id,
        "folder": run.folder.name,
        "status": f"{status(run)}, {run.done:,} of {spec.size:,} samples",
        "model": spec.model,
        "its fingerprint": spec.model_fingerprint,
        "reference set": spec.reference,
        "the set's fingerprint": spec.reference_fingerprint,
        "benchmark": f"{spec.benchmark}, seed {spec.seed}, first {spec.size:,} samples",
        "steps kept": spec.trace,
        "samples per shard": spec.shard,
        "arithmetic": spec.arithmetic,
        "device": manifest["device"],
        "created": manifest["created"],
        "finished": manifest.get("finished", "–"),
        "imported": manifest.get("imported", "no"),
    }
    for name, took in manifest.get("timings", {}).items():
        shown = size(took) if name == "peak_memory" else f"{took:,}"
        told[name.replace("_", " ")] = shown
    told |= {
        name.replace("_", " "): value if isinstance(value, str) else f"{value:g}"
        for name, value in run.figures.items()
    }
    with right:
        facts("manifest", list(told.items()), "What its manifest tells.")


def facts(name: str, rows: list[tuple[str, Any]], caption: str) -> None:
    """Names and values as a table."""
    table = pd.DataFrame(rows, columns=[name, "value"]).astype(str)
    show.table(table, f"run-{name}", caption, height="content")


def bring() -> None:
    """Take in runs from a file."""
    with st.expander("Import runs", icon=":material/upload:"):
        st.file_uploader(
            "A file that was exported here or elsewhere (.r2t2.zip)",
            type="zip",
            max_upload_size=500,
            key="runs-file",
            on_change=take_in,
        )
        st.caption(
            "It may be from anybody: it is read under limits, counted again, and taken in as a "
            "whole or not at all. Runs that are there stay as they are."
        )
        done = st.session_state.get("runs-imported")
        if isinstance(done, Exception):
            show.failure(done, "Nothing was imported.")
        elif done is not None:
            added = sum(one.added for one in done)
            st.success(
                f"Added: {added}. Already there: {len(done) - added}.", icon=":material/check:"
            )


def take_in() -> None:
    """Import the file that was just chosen, and note what became of it."""
    from r2t2.runs.archive import import_runs

    file = st.session_state["runs-file"]
    st.session_state["runs-imported"] = None
    if file is None:
        return
    try:
        with st.spinner("Reading and counting again …"), tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "runs.zip"
            with kept.open("wb") as target:
                shutil.copyfileobj(file, target)
            st.session_state["runs-imported"] = import_runs(kept, runs_folder())
    except (ValueError, OSError) as error:
        st.session_state["runs-imported"] = error


def lay_beside() -> None:
    """Take in another evaluator's results."""
    from r2t2.runs.evaluations import MOST_LETTERS, SUFFIXES, base_runs

    with st.expander("Lay another evaluator's results beside yours", icon=":material/compare:"):
        bases = base_runs(runs_folder())
        if not bases:
            st.write("They are laid over a run of base on the same benchmark; there is none yet:")
            st.code("python -m r2t2 run --strategy base", language="bash")
            return
        with st.form("evaluation", border=False):
            left, middle, right = st.columns(3)
            base = left.selectbox("Base run", bases, format_func=samples_of)
            name = middle.text_input("Shown as", placeholder="lmms-eval", max_chars=MOST_LETTERS)
            column = right.text_input("Column of scores", placeholder="found by its name")
            file = st.file_uploader(
                "Samples that lmms-eval logged (.jsonl), or a result file of VLMEvalKit",
                type=[suffix[1:] for suffix in SUFFIXES],
                max_upload_size=64,
            )
            if st.form_submit_button("Lay beside") and file is not None:
                take_beside(file, base, name, column)
        st.caption(
            "Its samples are found by name or, where names differ, by position; scores are taken "
            "from it as they are, and count as correct from 0.5 on. Results and Flips show it."
        )


def samples_of(run: Run) -> str:
    """The samples that a run is of, in a line."""
    of = run.spec
    return f"{of.benchmark} · {of.model} · seed {of.seed} · {of.size:,} samples"


def take_beside(file: UploadedFile, base: Run, name: str, column: str) -> None:
    """Import an uploaded file as another evaluator's results, and say what became of it."""
    from r2t2.runs.evaluations import import_evaluation
    from r2t2.runs.store import RunLocked

    try:
        with st.spinner("Reading …"), tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / re.sub(r"[^\w.-]", "_", file.name[-80:])
            with kept.open("wb") as target:
                shutil.copyfileobj(file, target)
            done = import_evaluation(kept, base, name, runs_folder(), column.strip() or None)
    except (ValueError, OSError, RunLocked) as error:
        show.failure(error, "Nothing was taken in.")
    else:
        st.success(done.told, icon=":material/check:")


def skipped() -> None:
    """Folders of the cache that hold no readable run or job, with the reason."""
    from r2t2.runs.jobs import scan

    found = {**runs.unreadable(), **scan(jobs_folder())[1]}
    if not found:
        return
    with st.expander(f"Folders that cannot be read: {len(found)}", icon=":material/warning:"):
        rows = [(f"{path.parent.name}/{path.name}", why) for path, why in found.items()]
        show.table(
            pd.DataFrame(rows, columns=["folder", "why"]),
            "unreadable",
            "They are left as they are; what should not be there can be deleted by hand.",
        )


def everything() -> list[Run]:
    """All readable runs of the cache."""
    from r2t2.runs.store import list_runs

    return list_runs(runs_folder())


framed()
st.title("Runs", anchor=False)
st.caption(
    "What is being run now, what could be, and every run in the cache with all that it was made of."
)
found = everything()
jobs.now()
jobs.form(expanded=not found)
if found:
    cache(found)
    performance.panel()
else:
    show.empty(
        "No runs in the cache",
        "Start some above, import a file, or run all strategies and controls from a terminal:",
        "python -m r2t2 run",
    )
bring()
data.panel()
lay_beside()
skipped()
