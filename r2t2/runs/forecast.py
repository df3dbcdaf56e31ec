"""What a request will take at least, by the estimate of its model, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from r2t2.estimate import Estimate
from r2t2.paths import reference_folder
from r2t2.reference import ReferenceSet
from r2t2.rerouting.passes import passes
from r2t2.rerouting.settings import References
from r2t2.runs.plan import Planned, Request


@dataclass(frozen=True)
class Forecast:
    """A request held against an estimate.

    Parameters
    ----------
    sizes : samples in the reference set, by the part of it that a setting listens to.
    """

    request: Request
    estimate: Estimate
    sizes: dict[References, int]

    @staticmethod
    def of(request: Request, estimate: Estimate) -> Forecast:
        """By the reference set as it is stored.

        Raises
        ------
        FileNotFoundError, ValueError : as `ReferenceSet.read` says.
        """
        stored = ReferenceSet.read(reference_folder(request.reference), request.model)
        kept = int(stored.table["correct"].sum())
        return Forecast(request, estimate, {"correct": kept, "all": len(stored)})

    def each(self, run: Planned) -> float:
        """Seconds for a sample of a run, its encoding not counted."""
        weighed = passes(run.setting, self._found(run), run.trace).weighed
        return self.estimate.seconds(weighed) - self.estimate.seconds(0)

    def seconds(self, run: Planned) -> float:
        """Seconds for a run, encodings not counted, but what a control learns beforehand."""
        learning = 0.0
        # Whether a router can be fine-tuned by itself is not known before its model is loaded.
        if run.setting.algorithm == "constant":
            from r2t2.controls import BATCH, STEPS

            learning = self.estimate.seconds(3 * BATCH * STEPS) - self.estimate.seconds(0)
        return self.request.size(run) * self.each(run) + learning

    @cached_property
    def encodings(self) -> int:
        """Samples and references that are encoded, each once, but for a benchmark's strategies."""
        samples = {run.benchmark: self.request.size(run) for run in self.request.planned}
        return sum(samples.values()) + self.references

    @cached_property
    def references(self) -> int:
        """References that are encoded at most."""
        return max(map(self._listened_to, self.request.planned))

    @property
    def total(self) -> float:
        """Seconds for all of it."""
        runs = sum(map(self.seconds, self.request.planned))
        return runs + self.encodings * self.estimate.seconds(0)

    def _found(self, run: Planned) -> int:
        return min(run.setting.k, self.sizes[run.setting.references])

    def _listened_to(self, run: Planned) -> int:
        whole = self.sizes[run.setting.references]
        if _learns(run):
            return whole
        if "neighbourhood" not in run.setting.options:
            return 0
        return min(whole, self.request.size(run) * run.setting.k)


def _learns(run: Planned) -> bool:
    return run.setting.algorithm in ("constant", "finetuned_router")
