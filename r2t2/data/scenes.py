"""Scenes: the world of the embedded model, drawn from a seed and never stored.

A scene is a 4 x 4 grid of cells that hold things (shape, colour, texture, size) and signs (a
coloured frame with a word) before a backdrop under some light. `draw` makes one at random,
`render` paints it at 256 x 256 pixels with nothing but numpy, so that the same scene gives
the same pixels everywhere.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

GRID = 4
CELL = 64
SIDE = GRID * CELL
SHAPES = ("cube", "ball", "cone", "star", "cross", "ring")
COLOURS = ("red", "green", "blue", "yellow", "purple", "cyan", "orange", "pink")
TEXTURES = ("plain", "striped", "dotted")
SIZES = ("small", "large")
WORDS = ("bus", "cab", "zoo", "gym", "bar", "inn", "spa", "pub", "tea", "law")
BACKDROPS = ("wall", "floor", "tiles", "planks", "paper")

_RGB = np.array(
    [
        [0.86, 0.13, 0.11],
        [0.12, 0.62, 0.17],
        [0.13, 0.25, 0.86],
        [0.95, 0.86, 0.10],
        [0.50, 0.13, 0.66],
        [0.10, 0.78, 0.84],
        [0.96, 0.49, 0.06],
        [0.98, 0.56, 0.75],
    ],
    np.float32,
)
_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
_SLOPE = np.moveaxis(np.mgrid[0:CELL, 0:CELL][::-1], 0, -1).astype(np.float32) - CELL / 2 + 0.5
_RADIUS = {"small": 17.0, "large": 27.0}
# Strokes of the letters that the words need, on a grid 4 wide and 6 high, y downwards.
_STROKES = {
    "a": "06 20 46;14 34",
    "b": "00 06 36 45 44 33 03;33 42 41 30 00",
    "c": "41 30 10 01 05 16 36 45",
    "e": "40 00 06 46;03 33",
    "g": "41 30 10 01 05 16 36 45 43 23",
    "i": "10 30;20 26;16 36",
    "l": "00 06 46",
    "m": "06 00 23 40 46",
    "n": "06 00 46 40",
    "o": "10 30 41 45 36 16 05 01 10",
    "p": "06 00 30 41 42 33 03",
    "r": "06 00 30 41 42 33 03;23 46",
    "s": "41 30 10 01 02 13 33 44 45 36 16 05",
    "t": "00 40;20 26",
    "u": "00 05 16 36 45 40",
    "w": "00 16 23 36 40",
    "y": "00 23 40;23 26",
    "z": "00 40 06 46",
}


@dataclass(frozen=True)
class Thing:
    """One object: the cell it stands in (row by row), what it is, its offset in pixels."""

    cell: int
    shape: str
    colour: str
    texture: str = "plain"
    size: str = "large"
    dx: int = 0
    dy: int = 0


@dataclass(frozen=True)
class Sign:
    """A board with a coloured frame and a word of `WORDS`."""

    cell: int
    colour: str
    word: str


@dataclass(frozen=True)
class Scene:
    """All that `render` paints."""

    things: tuple[Thing, ...]
    signs: tuple[Sign, ...] = ()
    backdrop: str = "wall"
    light: float = 0.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    seed: int = 0


@dataclass(frozen=True)
class Statistics:
    """How scenes are drawn; what shifts between the splits.

    Parameters
    ----------
    things : least and greatest number of objects.
    signs : probability that a scene has any sign.
    tint : the light's colour cast; each channel is dimmed by up to this share.
    backdrops : the backdrops drawn from.
    """

    things: tuple[int, int] = (2, 6)
    signs: float = 0.3
    tint: float = 0.12
    backdrops: tuple[str, ...] = BACKDROPS


def draw(rng: np.random.Generator, statistics: Statistics, needs_sign: bool = False) -> Scene:
    """A random scene; with `needs_sign`, one that has a sign."""
    count = int(rng.integers(statistics.things[0], statistics.things[1] + 1))
    cells = rng.permutation(GRID * GRID)
    things = []
    for cell in cells[:count]:
        shape, colour, texture, size = (
            str(rng.choice(names)) for names in (SHAPES, COLOURS, TEXTURES, SIZES)
        )
        thing = Thing(int(cell), shape, colour, texture, size)
        slack = int(CELL / 2 - _RADIUS[thing.size] - 1)
        dx, dy = rng.integers(-slack, slack + 1, 2)
        things.append(replace(thing, dx=int(dx), dy=int(dy)))
    boards = 0
    if needs_sign or rng.random() < statistics.signs:
        boards = 1 if rng.random() < 0.4 else 2
    frames, words = rng.permutation(len(COLOURS)), rng.permutation(len(WORDS))
    signs = tuple(
        Sign(int(cells[count + i]), COLOURS[frames[i]], WORDS[words[i]]) for i in range(boards)
    )
    red, green, blue = 1 - statistics.tint * rng.random(3)
    return Scene(
        tuple(things),
        signs,
        backdrop=str(rng.choice(statistics.backdrops)),
        light=float(rng.uniform(0, 2 * np.pi)),
        tint=(float(red), float(green), float(blue)),
        seed=int(rng.integers(2**31)),
    )


def render(scene: Scene) -> Image.Image:
    """The scene as a 256 x 256 RGB image."""
    rng = np.random.default_rng(scene.seed)
    canvas = _backdrop(scene.backdrop, rng)
    towards = np.array([np.cos(scene.light), np.sin(scene.light)], np.float32)
    items: tuple[Thing | Sign, ...] = (*scene.things, *scene.signs)
    for item in items:
        _cast_shadow(canvas, item, towards)
    for thing in scene.things:
        _paint_thing(canvas, thing, towards)
    for sign in scene.signs:
        _paint_sign(canvas, sign)
    canvas *= np.array(scene.tint, np.float32) * np.float32(255)
    canvas += rng.standard_normal((SIDE, SIDE, 1), np.float32) * np.float32(3)
    pixels: UInt8[np.ndarray, "256 256 3"] = np.clip(canvas, 0, 255, out=canvas).astype(np.uint8)
    return Image.fromarray(pixels)


def _backdrop(kind: str, rng: np.random.Generator) -> Float[np.ndarray, "256 256 3"]:
    y, x = _Y, _X
    base = rng.uniform(0.42, 0.72) + rng.uniform(-0.05, 0.05, 3)
    slope = rng.uniform(-0.08, 0.08, 2)
    shade = slope[0] * (x - 0.5) + slope[1] * (y - 0.5)
    shade -= 0.12 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    if kind == "floor":
        horizon = rng.uniform(0.3, 0.55)
        shade = shade + np.where(y > horizon, 0.08 + 0.10 * (y - horizon), 0)
    elif kind == "tiles":
        shade = shade + np.where((np.floor(x * 4) + np.floor(y * 4)) % 2 == 0, 0.05, 0)
    elif kind == "planks":
        offset = rng.uniform(0, 0.06, 5)[np.minimum((x * 5).astype(int), 4)]
        shade = shade + offset - 0.08 * ((x * 5) % 1 < 0.03)
    elif kind == "paper":
        fibres = rng.standard_normal((SIDE, SIDE // 8), np.float32) * 0.02
        shade = shade + np.repeat(fibres, 8, axis=1)
    return base.astype(np.float32) + shade[..., None].astype(np.float32)


def _window(cell: int, dx: int = 0, dy: int = 0) -> tuple[slice, slice]:
    row, column = divmod(cell, GRID)
    top = min(max(row * CELL + dy, 0), SIDE - CELL)
    left = min(max(column * CELL + dx, 0), SIDE - CELL)
    return slice(top, top + CELL), slice(left, left + CELL)


def _cast_shadow(canvas: np.ndarray, item: Thing | Sign, towards: np.ndarray) -> None:
    if isinstance(item, Thing):
        mask, offset = _relief(item.shape, item.size)[1], (item.dx, item.dy)
    else:
        mask, offset = _board()[2], (0, 0)
    shift = -towards * 5
    window = _window(item.cell, offset[0] + int(shift[0]), offset[1] + int(shift[1]) + 2)
    canvas[window] *= 1 - 0.35 * mask[..., None]


def _paint_thing(canvas: np.ndarray, thing: Thing, towards: np.ndarray) -> None:
    mask = _shape(thing.shape, thing.size)[..., None]
    relief = _relief(thing.shape, thing.size)[0] + _SLOPE @ towards * (0.13 / _RADIUS[thing.size])
    colour = _RGB[COLOURS.index(thing.colour)] * (_texture(thing.texture) * relief)[..., None]
    window = _window(thing.cell, thing.dx, thing.dy)
    canvas[window] = canvas[window] * (1 - mask) + mask * colour


def _paint_sign(canvas: np.ndarray, sign: Sign) -> None:
    board, panel = (mask[..., None] for mask in _board()[:2])
    ink = _word(sign.word)[..., None]
    face = _RGB[COLOURS.index(sign.colour)] * (1 - panel) + 0.96 * panel
    face = face * (1 - ink) + 0.06 * ink
    window = _window(sign.cell)
    canvas[window] = canvas[window] * (1 - board) + board * face


@cache
def _shape(shape: str, size: str) -> Float[np.ndarray, "64 64"]:
    """Coverage of each pixel of a cell, from 4 x 4 points per pixel."""
    y, x = (np.mgrid[0 : CELL * 4, 0 : CELL * 4] + 0.5) / 4 - CELL / 2
    radius = _RADIUS[size]
    distance = np.hypot(x, y)
    if shape == "cube":
        inside = np.maximum(abs(x), abs(y)) < radius * 0.86
    elif shape == "ball":
        inside = distance < radius
    elif shape == "cone":
        inside = (y < radius * 0.85) & (y > -radius + 2 * abs(x) * 0.95)
    elif shape == "cross":
        inside = (np.minimum(abs(x), abs(y)) < radius * 0.33) & (
            np.maximum(abs(x), abs(y)) < radius
        )
    elif shape == "ring":
        inside = (distance < radius) & (distance > radius * 0.55)
    else:
        point = abs((np.arctan2(x, -y) / (2 * np.pi) * 5) % 1 - 0.5) * 2
        inside = distance < radius * (0.42 + 0.68 * point)
    return inside.reshape(CELL, 4, CELL, 4).mean((1, 3)).astype(np.float32)


@cache
def _texture(texture: str) -> Float[np.ndarray, "64 64"]:
    y, x = np.mgrid[0:CELL, 0:CELL]
    if texture == "striped":
        return np.where((x + y) % 16 < 8, 1.0, 0.42).astype(np.float32)
    if texture == "dotted":
        near = np.hypot(x % 12 - 5.5, y % 12 - 5.5)
        return (1 - 0.8 * np.clip(4.2 - near, 0, 1)).astype(np.float32)
    return np.ones((CELL, CELL), np.float32)


@cache
def _relief(shape: str, size: str) -> tuple[Float[np.ndarray, "64 64"], ...]:
    """Brightness that makes a flat shape look round at its edges, and its shadow."""
    mask = _shape(shape, size)
    return 0.72 + 0.30 * _blur(mask, 5), _blur(mask, 4)


@cache
def _board() -> tuple[Float[np.ndarray, "64 64"], ...]:
    """Coverage of a sign's board and of the white panel inside its frame, and its shadow."""
    y, x = np.mgrid[0:CELL, 0:CELL] - CELL / 2 + 0.5

    def rounded(half_width: float, half_height: float) -> np.ndarray:
        outside = np.hypot(
            np.maximum(abs(x) - half_width + 4, 0), np.maximum(abs(y) - half_height + 4, 0)
        )
        return np.clip(4.5 - outside, 0, 1).astype(np.float32)

    return rounded(31, 24), rounded(27, 18), _blur(rounded(31, 24), 4)


@cache
def _word(word: str) -> Float[np.ndarray, "64 64"]:
    """Coverage of the ink of a word, its letters drawn as strokes of even width."""
    y, x = np.mgrid[0:CELL, 0:CELL] + 0.5
    nearest = np.full((CELL, CELL), np.inf)
    for i, letter in enumerate(word):
        left = CELL / 2 + (i - len(word) / 2) * 17 + 3
        for line in _STROKES[letter].split(";"):
            points = [
                (left + int(p[0]) * 2.75, CELL / 2 + (int(p[1]) - 3) * 3.7) for p in line.split()
            ]
            for (ax, ay), (bx, by) in itertools.pairwise(points):
                along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / (
                    (bx - ax) ** 2 + (by - ay) ** 2
                )
                along = np.clip(along, 0, 1)
                nearest = np.minimum(
                    nearest, np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay))
                )
    return np.clip(2.6 - nearest, 0, 1).astype(np.float32)


def _blur(mask: Float[np.ndarray, "64 64"], radius: int) -> Float[np.ndarray, "64 64"]:
    """Two passes of a box filter of the given radius."""
    width = 2 * radius + 1
    for axis in (0, 1, 0, 1):
        around = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        total = np.cumsum(np.insert(np.pad(mask, around), 0, 0, axis), axis)
        upper = np.take(total, range(width, width + CELL), axis)
        mask = (upper - np.take(total, range(CELL), axis)) / width
    return mask.astype(np.float32)
