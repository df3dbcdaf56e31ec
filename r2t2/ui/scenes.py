"""The embedded world at hand: a scene builder, and scenes to download and upload again."""

from __future__ import annotations

import io

import pandas as pd
import streamlit as st
from PIL import Image

from r2t2.data import scenes
from r2t2.data.scenes import COLOURS, GRID, SHAPES, SIZES, TEXTURES, WORDS, Scene, Sign, Thing
from r2t2.ui.engine import Picked, thumbnail

_START = pd.DataFrame(
    [
        (1, 2, "ball", "red", "striped", "large", ""),
        (2, 4, "star", "yellow", "plain", "small", ""),
        (3, 1, "cube", "blue", "dotted", "large", ""),
        (4, 3, "sign", "green", "", "", "zoo"),
    ],
    columns=["row", "column", "what", "colour", "texture", "size", "word"],
)
GALLERY = 6


def png(image: Image.Image) -> bytes:
    """An image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def from_table(table: pd.DataFrame, backdrop: str, seed: int) -> Scene:
    """A scene from rows of row, column, what, colour, texture, size, word.

    Raises
    ------
    ValueError : a cell holds two things, or a row lacks what its thing needs.
    """
    things: list[Thing] = []
    signs: list[Sign] = []
    taken: set[int] = set()
    for number, row in enumerate(table.fillna("").to_dict("records"), 1):
        needed = ("colour", "word") if row["what"] == "sign" else ("colour", "texture", "size")
        missing = [name for name in ("row", "column", "what", *needed) if row[name] == ""]
        if missing:
            raise ValueError(f"line {number} has no {', '.join(missing)}: choose one or remove it")
        cell = (int(row["row"]) - 1) * GRID + int(row["column"]) - 1
        if cell in taken:
            raise ValueError(
                f"line {number} stands where another thing does (row {row['row']}, column "
                f"{row['column']}): move one of them"
            )
        taken.add(cell)
        if row["what"] == "sign":
            signs.append(Sign(cell, row["colour"], row["word"]))
        else:
            things.append(Thing(cell, row["what"], row["colour"], row["texture"], row["size"]))
    return Scene(tuple(things), tuple(signs), backdrop=backdrop, light=0.8, seed=seed)


def builder() -> bytes | None:
    """Draw the scene builder; the scene as PNG, or None (and the reason on the page)."""
    left, right = st.columns([5, 2], gap="medium")
    choices = {
        "row": [*range(1, GRID + 1)],
        "column": [*range(1, GRID + 1)],
        "what": [*SHAPES, "sign"],
        "colour": list(COLOURS),
        "texture": list(TEXTURES),
        "size": list(SIZES),
        "word": list(WORDS),
    }
    with left:
        table = st.data_editor(
            _START,
            num_rows="dynamic",
            hide_index=True,
            key="scene",
            column_config={
                name: st.column_config.SelectboxColumn(name, options=options)
                for name, options in choices.items()
            },
        )
        st.caption(
            f"A grid of {GRID} rows and {GRID} columns, counted from the top left. Things need a "
            "texture and a size, signs a word."
        )
        one, two = st.columns(2)
        backdrop = one.selectbox("backdrop", scenes.BACKDROPS)
        seed = two.number_input("seed of backdrop and noise", 0, 10_000, 0)
    try:
        picture = png(scenes.render(from_table(table, backdrop, seed)))
    except ValueError as error:
        right.warning(f"{str(error)[:1].upper()}{str(error)[1:]}.")
        return None
    right.image(picture, width="stretch", alt="The scene as built")
    right.download_button(
        "Download PNG", picture, "scene.png", "image/png", on_click="ignore", width="stretch"
    )
    return picture


def gallery(benchmark: str, seed: int) -> None:
    """Scenes to download as PNG, each with a question that can be asked about it."""
    columns = st.columns(GALLERY, wrap=False)
    for position, column in enumerate(columns):
        ask = Picked(benchmark, seed, position)
        sample = ask.sample()
        column.image(thumbnail(ask), width="stretch", alt=f"Scene {position}")
        column.download_button(
            "PNG",
            png(sample.image),
            f"scene-{position}.png",
            "image/png",
            key=f"scene-{position}",
            on_click="ignore",
            width="stretch",
            icon=":material/download:",
        )
        column.text(f"{sample.question}\n({sample.label})")
