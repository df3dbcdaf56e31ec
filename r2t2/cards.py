"""Pieces of HTML about one sample, the same in the app and in a report.

Every text is escaped: it shows as it was typed.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from PIL import Image

from r2t2.analysis.results import OUTCOMES
from r2t2.figures import style

# Colours are mixed from the text's own, so that one style serves the light and the dark theme.
CSS = """
.r2-grid { display: grid; gap: .7rem; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.r2-card { border: 1px solid color-mix(in srgb, currentColor 16%, transparent);
  border-radius: 6px; padding: .75rem .85rem; min-width: 0; overflow-wrap: anywhere; }
.r2-picture { width: 100%; border-radius: 4px; display: block; margin-bottom: .5rem; }
.r2-name { font-size: .8rem; font-weight: 600; display: flex; gap: .4rem; align-items: baseline;
  justify-content: space-between; }
.r2-mark { font-size: .68rem; font-weight: 600; white-space: nowrap; padding: 0 .35rem;
  border: 1px solid currentColor; border-radius: 99px; opacity: .75; }
.r2-answer { font-size: 1.45rem; font-weight: 650; line-height: 1.25; margin: .1rem 0 .25rem;
  white-space: pre-wrap; }
.r2-verdict { font-size: .82rem; font-weight: 600; min-height: 1.4em; }
.r2-rows { display: grid; grid-template-columns: auto 1fr; gap: .1rem .6rem; font-size: .78rem;
  margin-top: .45rem; padding-top: .45rem;
  border-top: 1px solid color-mix(in srgb, currentColor 12%, transparent); }
.r2-rows > :nth-child(odd) { opacity: .68; }
.r2-rows > :nth-child(even) { text-align: right;
  font-variant-numeric: tabular-nums; }
.r2-bar { height: 4px; border-radius: 2px; margin-top: .1rem;
  background: color-mix(in srgb, currentColor 12%, transparent); }
.r2-bar > div { height: 100%; border-radius: 2px; background: currentColor; opacity: .65; }
.r2-mix { display: flex; gap: 1px; height: 8px; border-radius: 2px; overflow: hidden;
  margin-top: .4rem; }
.r2-dot { display: inline-block; width: .6em; height: .6em; border-radius: 2px;
  margin-right: .35em; }
.r2-question { font-size: 1.15rem; font-weight: 600; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.r2-small { font-size: .82rem; opacity: .75; overflow-wrap: anywhere; white-space: pre-wrap; }
"""


@dataclass(frozen=True)
class Card:
    """What a strategy made of one sample.

    Parameters
    ----------
    name : of the strategy.
    answer, confidence : of the model under the strategy's routing.
    correct : None where no label is known.
    changed : whether the answer is another than the base's.
    expert, colour : the top-1 expert and its colour.
    passes, milliseconds : what it cost; passes are (forward, backward).
    reads_label : whether it had to read the sample's own label.
    """

    name: str
    answer: str
    confidence: float
    correct: bool | None
    changed: bool
    expert: str
    colour: str
    passes: tuple[int, int]
    milliseconds: float
    reads_label: bool

    def html(self, base: Card | None) -> str:
        """The card; `base` is the one it is compared with."""
        mark = '<span class="r2-mark">reads the label</span>' if self.reads_label else ""
        told = {
            "confidence": f"{self.confidence:.0%}",
            "top-1 expert": expert(self.expert, self.colour),
            "passes": "{} + {}".format(*self.passes),
            "time": f"{self.milliseconds:.0f} ms",
        }
        if base is not None:
            points = round(100 * (self.confidence - base.confidence))
            told["confidence"] += f" ({points:+d})".replace("-", "−").replace("+0", "±0")
        return (
            f'<div class="r2-card"><div class="r2-name"><span>{escape(self.name)}</span>{mark}'
            f'</div><div class="r2-answer" dir="auto">{escape(self.answer)}</div>'
            f'<div class="r2-verdict">{self._verdict(base)}</div>'
            f'<div class="r2-bar"><div style="width:{100 * self.confidence:.0f}%"></div></div>'
            f"{rows(told)}</div>"
        )

    def _verdict(self, base: Card | None) -> str:
        changed = "" if base is None else "changed" if self.changed else "as base"
        if self.correct is None:
            return changed
        words = "correct" if self.correct else "wrong"
        if base is not None and base.correct is not None:
            words = OUTCOMES[2 * base.correct + self.correct]
            # Elsewhere the outcome tells whether the answer changed.
            changed = "" if self.correct or base.correct else changed
        colour = style.CORRECT if self.correct else style.WRONG
        told = f'<span style="color:{colour}">{style.GLYPHS[self.correct]} {words}</span>'
        return f"{told} · {changed}" if changed else told


def grid(shown: Sequence[Card]) -> str:
    """Strategies side by side, the first being the base."""
    base = shown[0]
    cards = "".join(card.html(None if card is base else base) for card in shown)
    return f'<div class="r2-grid">{cards}</div>'


def question(text: str, facts: Mapping[str, Any]) -> str:
    """A question, with what is known of it below; what is empty is left out."""
    told = " · ".join(f"{escape(k)}: {escape(str(v))}" for k, v in facts.items() if v)
    return (
        f'<div class="r2-question" dir="auto">{escape(text)}</div>'
        f'<div class="r2-small" dir="auto">{told}</div>'
    )


def rows(values: Mapping[str, str]) -> str:
    """Names and values, which are HTML, below each other."""
    pairs = (f"<span>{name}</span><span>{value}</span>" for name, value in values.items())
    return f'<div class="r2-rows">{"".join(pairs)}</div>'


def expert(name: str, colour: str) -> str:
    """An expert's name with its colour."""
    return f'<span class="r2-dot" style="background:{colour}"></span>{escape(name)}'


def mix(weights: Mapping[str, float], colours: Mapping[str, str]) -> str:
    """Experts' weights as one small bar, the heaviest first; their numbers are its tooltip."""
    ordered = sorted(weights.items(), key=lambda pair: -pair[1])
    told = escape(", ".join(f"{name} {weight:.2f}" for name, weight in ordered if weight >= 0.005))
    parts = "".join(
        f'<div style="flex:{weight:.3f} 1 0;background:{colours[name]}"></div>'
        for name, weight in ordered
        if weight >= 0.005
    )
    return f'<div class="r2-mix" role="img" title="{told}" aria-label="{told}">{parts}</div>'


def picture(image: Image.Image, side: int = 256) -> str:
    """A picture, small, inside the page itself."""
    small = image.convert("RGB")
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img class="r2-picture" src="data:image/jpeg;base64,{data}" alt="">'
