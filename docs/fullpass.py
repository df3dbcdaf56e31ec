"""Real-size data through everything, timed: `python -m docs.fullpass`.

CV-Bench, 2,638 questions in its own columns and files, and a VQA-V2 of 5,200 questions in its
official layout are generated from the embedded world, pictures at the size of photographs, and
taken from the command line to the pages. `--write` puts the figures into docs/data.md.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Features, Image, List, Value, disable_progress_bars
from PIL import Image as Pillow

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "data.md"
TWO_D, THREE_D = 1438, 1200
PHOTOS = 2600
# So many pictures of CV-Bench are among VQA-V2's too, as other files.
SHARED = 50
SIDE = (640, 480)
_TASKS = {
    "Count": ("counting", tuple(str(n) for n in range(8))),
    "Relation": ("spatial", ("left", "right", "top", "bottom")),
    "Depth": ("size", ("small", "large")),
    "Distance": ("spatial", ("left", "right", "top", "bottom")),
}


def photo(scene: Any, quality: int = 92) -> bytes:
    """A scene as a JPEG of a photograph's size."""
    from r2t2.data import scenes

    file = io.BytesIO()
    image = scenes.render(scene).resize(SIDE, Pillow.Resampling.BICUBIC)
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def cvbench(folder: Path) -> list[Any]:
    """CV-Bench's two files; the scenes of its first questions."""
    from r2t2.data import world

    folder.mkdir(parents=True)
    text, number = Value("string"), Value("int64")
    columns = "type task question answer prompt filename source".split()  # noqa: SIM905
    kinds = dict.fromkeys(columns, text) | {"idx": number, "image": Image(), "choices": List(text)}
    shown, index = [], 0
    for kind, size, tasks, sources in (
        ("2D", TWO_D, ("Count", "Relation"), ("ADE20K", "COCO")),
        ("3D", THREE_D, ("Depth", "Distance"), ("Omni3D",)),
    ):
        rows = []
        for i in range(size):
            task = tasks[i * len(tasks) // size]
            type, answers = _TASKS[task]
            split = replace(world.BENCHMARKS["general"], number=90, mix={type: 1.0})
            scene, (asked,) = world.draw(0, split, index)
            rng = np.random.default_rng(index)
            others = [answer for answer in answers if answer != asked.answer]
            choices = [asked.answer, *rng.permutation(others)[:3].tolist()]
            choices = rng.permutation(choices).tolist()
            listed = " ".join(f"({'ABCD'[n]}) {choice}" for n, choice in enumerate(choices))
            rows.append(
                {
                    "idx": index,
                    "type": kind,
                    "task": task,
                    "image": {"bytes": photo(scene), "path": None},
                    "question": asked.text,
                    "choices": choices,
                    "answer": f"({'ABCD'[choices.index(asked.answer)]})",
                    "prompt": f"{asked.text} Select from the following choices.\n{listed}",
                    "filename": f"{kind}/{task.lower()}/{i}.jpg",
                    "source": sources[i % len(sources)],
                }
            )
            shown += [scene] * (len(shown) < SHARED)
            index += 1
        Dataset.from_list(rows, Features(kinds)).to_parquet(folder / f"test_{kind.lower()}.parquet")
    return shown


def vqav2(root: Path, shared: list[Any]) -> None:
    """VQA-V2's two files and COCO's pictures, two questions each."""
    from r2t2.data import world

    asked, said = [], []
    pictures = root / "coco" / "val2014"
    pictures.mkdir(parents=True)
    split = replace(world.SPLITS["reference"], number=91, multiple_choice=0.0)
    for photo_id in range(PHOTOS):
        scene, questions = world.draw(0, split, photo_id, per_scene=2)
        if photo_id < len(shared):
            scene = shared[photo_id]
        name = f"COCO_val2014_{photo_id:012d}.jpg"
        (pictures / name).write_bytes(photo(scene, quality=75))
        for number, one in enumerate(questions):
            id = 1000 * photo_id + number
            asked.append({"question_id": id, "image_id": photo_id, "question": one.text})
            said.append(
                {
                    "question_id": id,
                    "multiple_choice_answer": one.answer,
                    "answer_type": one.type,
                    "answers": [{"answer": one.answer}] * 10,
                }
            )
    place = root / "vqav2"
    place.mkdir()
    (place / "v2_OpenEnded_mscoco_val2014_questions.json").write_text(
        json.dumps({"questions": asked})
    )
    (place / "v2_mscoco_val2014_annotations.json").write_text(json.dumps({"annotations": said}))


def command(*words: str) -> Callable[[], str]:
    """A command of the program, as typed."""

    def run() -> str:
        line = [sys.executable, "-m", "r2t2", *words]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr[-2000:]}")
        return done.stdout + done.stderr

    return run


def page(name: str, **query: str) -> Callable[[], str]:
    """A page of the app, as its address opens it; an exception on it is ours."""

    def open_it() -> str:
        from streamlit.testing.v1 import AppTest
        from streamlit.util import calc_hash

        test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
        test._page_hash = test._finished_page_script_hash = calc_hash(name)
        test.query_params.update(query)
        test.run()
        if wrong := [*test.exception, *test.error]:
            raise RuntimeError(f"{name}: {wrong[0].value}")
        return ""

    return open_it


def passes(folder: Path) -> list[tuple[str, float, str]]:
    """Every step with its seconds and what it came to."""
    os.environ |= {
        "R2T2_CACHE": str(folder / "cache"),
        "R2T2_DATA": str(folder / "official"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "300",
    }
    rows: list[tuple[str, float, str]] = []

    def timed(
        said: str, step: Callable[[], str], told: Callable[[str], str] = lambda _: ""
    ) -> None:
        began = time.perf_counter()
        output = step()
        rows.append((said, time.perf_counter() - began, told(output)))
        print(f"{said}: {rows[-1][1]:.1f} s {rows[-1][2]}", flush=True)

    def generate() -> str:
        vqav2(folder / "official", cvbench(folder / "official" / "cvbench"))
        return ""

    mixed = "mini-vqav2-wordllama"
    at = {"model": "mini", "reference": mixed, "runs": mixed}
    run = ("run", "--benchmark", "cvbench", "--reference", mixed, "--json")
    timed("generate the files", generate)
    timed("`data check`", command("data", "check"), lambda o: f"{o.count('files found')} found")
    timed("`data get cvbench`", command("data", "get", "cvbench"), _last)
    timed("`data get vqav2`", command("data", "get", "vqav2"), _last)
    again = command("data", "check", "cvbench", "vqav2")
    timed("`data check` reads all again", again, lambda o: f"{o.count('here')} as they were")
    timed(
        "`reference build --dataset vqav2`",
        command("reference", "build", "--dataset", "vqav2"),
        lambda o: f"{_last(o, 'kept')}; {_last(o, 'overlap')}",
    )
    timed("`run`, base", command(*run, "--strategy", "base"), _accuracy)
    timed("`run`, ngd", command(*run, "--strategy", "ngd"), _accuracy)
    timed("the same again", command(*run, "--strategy", "ngd"), lambda o: _last(o, "overlap"))
    for name, query in (
        ("results", {}),
        ("flips", {}),
        ("inspect", {"benchmark": "cvbench", "sample": "2637"}),
        ("references", {"ref-method": "PCA", "ref-view": "Use"}),
        ("runs", {}),
    ):
        timed(f"page {name}", page(name, **at, **query))
    return rows


def _last(output: str, word: str = "samples") -> str:
    """The last line that has a word."""
    return next((line for line in reversed(output.splitlines()) if word in line), "")


def _accuracy(output: str) -> str:
    figures = json.loads(output[output.index("[\n") : output.index("\n]") + 2])[0]
    return f"{figures['n']:,} samples, {figures['accuracy']:.1%} right"


def main() -> None:
    """Do it in a folder that is deleted afterwards."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--write", action="store_true", help="put the figures into docs/data.md")
    write = options.parse_args().write
    disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        rows = passes(Path(folder))
    highest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    lines = ["| step | seconds | what it came to |", "| --- | ---: | --- |"]
    lines += [f"| {said} | {seconds:.1f} | {told} |" for said, seconds, told in rows]
    lines.append(f"\nHighest memory of a command: {highest:.1f} GiB.")
    body = "\n".join(lines)
    print(body)
    if write:
        block = re.compile("(<!-- fullpass -->).*?(<!-- /fullpass -->)", re.DOTALL)
        PAGE.write_text(block.sub(lambda b: f"{b[1]}\n{body}\n{b[2]}", PAGE.read_text()))


if __name__ == "__main__":
    main()
