"""What Inspect is looking at: one sample, and what each strategy made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import streamlit as st

from r2t2.figures import style
from r2t2.rerouting.settings import Setting
from r2t2.samples import Sample
from r2t2.ui import engine
from r2t2.ui.engine import Ask
from r2t2.ui.frames import Frames
from r2t2.ui.settings import Chosen

if TYPE_CHECKING:
    from r2t2.engine import Engine


@dataclass(frozen=True)
class Case:
    """One sample under the chosen strategies.

    Parameters
    ----------
    model, reference : the sidebar's names.
    ask, sample : where the sample comes from, and the sample itself.
    opened : the engine of the model and the reference set.
    chosen : the strategies and their options.
    """

    model: str
    reference: str | None
    ask: Ask
    sample: Sample
    opened: Engine
    chosen: Chosen

    @cached_property
    def done(self) -> dict[str, Frames]:
        """Each strategy that could be run, base first; says on the page why one could not."""
        done = {}
        for name in self.chosen.names:
            setting = self.chosen.strategy(name)
            if setting.reads_label and self.sample.label is None:
                continue
            try:
                with st.spinner(f"{style.label(name)} …", show_time=True):
                    done[name] = self.frames(setting)
            except (ValueError, FileNotFoundError) as error:
                st.warning(f"{style.label(name)}: not possible.")
                st.text(str(error))
        return done

    def frames(self, setting: Setting) -> Frames:
        """What a strategy made of the sample.

        Raises
        ------
        ValueError : as `engine.trajectory` says.
        """
        moved = engine.trajectory(self.model, self.reference, self.ask, setting)
        return Frames(moved, self.opened.model.sites, self.opened.references(setting))

    @property
    def moved(self) -> list[str]:
        """The strategies that were run, but for the base."""
        return [name for name in self.done if name != "base"]

    def right(self, answers: Iterable[str]) -> str | None:
        """The answer that the label accepts, as the model writes it; None where there is none."""
        if self.sample.label is None:
            return None
        return next((answer for answer in answers if self.sample.is_correct(answer)), None)
