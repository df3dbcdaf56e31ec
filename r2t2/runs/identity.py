"""What a run is: one model, reference set, benchmark and strategy setting."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from r2t2.paths import reference_name
from r2t2.rerouting.settings import Setting
from r2t2.samples import Dataset

if TYPE_CHECKING:
    from r2t2.engine import Engine

# Raised whenever strategies, data or stored rows change while all else in a spec stays.
ARITHMETIC = 1
# What stands beside a fingerprint only for people to read.
_NAMES = ("model", "reference")


Trace = Literal["all", "ends", "none"]


@dataclass(frozen=True)
class RunSpec:
    """All that determines a run's result.

    Parameters
    ----------
    model, model_fingerprint : the name is for people, the fingerprint counts.
    reference, reference_fingerprint : the same of the reference set.
    benchmark, seed, size : the samples: the first `size` of a benchmark drawn from `seed`.
    strategy : its name; the same setting under two names is two runs.
    setting : `Setting.options`.
    trace : what is stored beside the outcomes: "all" steps, the "ends", or "none".
    shard : samples per shard; how samples are batched is part of how floats are rounded.
    arithmetic : `ARITHMETIC` of the code that made the run.
    data : the benchmark's fingerprint; empty for the embedded world's.
    fit : the fingerprint of the fitted losses; empty where the setting's are exact.
    """

    model: str
    model_fingerprint: str
    reference: str
    reference_fingerprint: str
    benchmark: str
    seed: int
    size: int
    strategy: str
    setting: dict[str, Any]
    trace: str
    shard: int
    arithmetic: int = ARITHMETIC
    data: str = ""
    fit: str = ""

    @staticmethod
    def of(
        engine: Engine,
        dataset: Dataset,
        seed: int,
        strategy: str,
        setting: Setting,
        trace: Trace,
        shard: int,
    ) -> RunSpec:
        """The run of a strategy on all samples of a dataset drawn from a seed."""
        built = engine.reference.manifest
        return RunSpec(
            model=engine.model.name,
            model_fingerprint=engine.model.fingerprint,
            reference=reference_name(built["model"], built["dataset"], built["embedder"]),
            reference_fingerprint=engine.reference.fingerprint,
            benchmark=dataset.name,
            seed=seed,
            size=len(dataset),
            strategy=strategy,
            setting=setting.options,
            trace=trace,
            shard=shard,
            data=dataset.fingerprint,
            fit=engine.fitted.fingerprint if setting.options.get("losses") == "fitted" else "",
        )

    @cached_property
    def id(self) -> str:
        """A hash of all that determines the result; 16 hexadecimal digits."""
        counts = {name: value for name, value in asdict(self).items() if name not in _NAMES}
        for name in ("data", "fit"):
            if not counts[name]:
                del counts[name]
        # 1 and 1.0 are one setting, whether it was typed or came from a slider.
        counts["setting"] = {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in self.setting.items()
        }
        canonical = json.dumps(counts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def external(self) -> bool:
        """Whether another evaluator made it (`runs.evaluations`): then it has no setting."""
        return not self.setting

    @property
    def folder(self) -> str:
        """The name of the run's folder: one component of a path, whatever the names hold."""
        names = f"{self.benchmark}-{self.strategy}"[:80]
        return re.sub(r"[^A-Za-z0-9_-]", "_", f"{names}-{self.seed}-{self.id[:10]}")
