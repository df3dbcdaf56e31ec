"""Every option of every strategy, and the named presets."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Literal, get_args

Algorithm = Literal[
    "base",
    "uniform",
    "constant",
    "finetuned_router",
    "mode_finding",
    "kernel_regression",
    "ngd",
    "oracle",
]
Neighbourhood = Literal["nearest", "ball", "random", "same_type"]
KernelName = Literal["gaussian", "matern", "polynomial", "linear"]
Schedule = Literal["cosine", "step", "constant"]
Optimiser = Literal["gradient", "adam"]
Space = Literal["simplex", "logits"]
References = Literal["correct", "all"]
Guard = Literal["samples", "questions", "off"]
LossKind = Literal["exact", "fitted"]


@dataclass(frozen=True)
class Setting:
    """One strategy with its options; options that its algorithm does not use do not count.

    Parameters
    ----------
    algorithm : what moves `r`.
    neighbourhood : the k nearest (eq. 9), all within epsilon (eq. 10), or, as controls, k at
        random among all references or among those of the sample's own question type.
    k, epsilon : its size; epsilon is a distance of unit vectors, from 0 to 2.
    kernel, bandwidth : K of equations 3, 4 and 8; a number or "median".
    steps, learning_rate, final_learning_rate, schedule : of the descent; for mode finding the
        most steps it takes, for kernel regression the number of intervals of alpha searched.
    optimiser, space : how a step is taken (`r2t2.rerouting.descent.descend`).
    alpha : of mode finding (eq. 7).
    search : whether kernel regression looks for alpha (eq. 6) or takes r_hat as it is.
    references : only the samples that the model answered correctly (the paper) or all.
    guard : which references a sample does not listen to beside itself: those with its picture, or
        with its question and choices ("samples"), also those with its question in other respects
        ("questions"), or none ("off"); docs/data.md.
    losses : the neighbours', computed by the model at every step ("exact", the paper) or read off
        what was fitted to them beforehand ("fitted", `r2t2.fitted`).
    sure : the confidence from which an answer on fitted losses stands; a sample whose answer has
        less is re-routed once more, on exact losses. 0 is sure of all.
    seed : of random neighbours.
    """

    algorithm: Algorithm
    neighbourhood: Neighbourhood = "nearest"
    k: int = 5
    epsilon: float = 0.6
    kernel: KernelName = "gaussian"
    bandwidth: float | Literal["median"] = 0.5
    steps: int = 10
    learning_rate: float = 1e-2
    final_learning_rate: float = 1e-5
    schedule: Schedule = "cosine"
    optimiser: Optimiser = "gradient"
    space: Space = "simplex"
    alpha: float = 0.5
    search: bool = True
    references: References = "correct"
    guard: Guard = "samples"
    losses: LossKind = "exact"
    sure: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises
        ------
        ValueError : an option lies outside its range; the message names it and the range.
        """
        for name, kind in _LITERALS.items():
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; it must be one of "
                    f"{', '.join(get_args(kind))}"
                )
        if self.bandwidth != "median" and not (
            isinstance(self.bandwidth, (int, float)) and self.bandwidth > 0
        ):
            raise ValueError(f"bandwidth is {self.bandwidth!r}; it must be positive or 'median'")
        for name, low, high in (
            ("k", 1, 100),
            ("epsilon", 0, 2),
            ("steps", 1, 50),
            ("learning_rate", 0, 100),
            ("final_learning_rate", 0, 100),
            ("alpha", 0, 1),
            ("sure", 0, 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; it must lie between {low} and {high}")

    @property
    def reads_label(self) -> bool:
        """Whether it needs the sample's own label; true of the oracle alone."""
        return self.algorithm == "oracle"

    @property
    def options(self) -> dict[str, Any]:
        """The options that its algorithm uses, by name: what determines its result."""
        used = {"algorithm", *_USED[self.algorithm]}
        if "neighbourhood" in used:
            used.discard("k" if self.neighbourhood == "ball" else "epsilon")
            if self.neighbourhood in ("random", "same_type"):
                used |= {"seed"}
        if "schedule" in used and self.schedule != "cosine":
            used.discard("final_learning_rate")
        # As it usually is it goes without saying: older runs have no word of it.
        if self.guard == "samples":
            used.discard("guard")
        if self.losses == "exact":
            used -= {"losses", "sure"}
        if not self.sure:
            used.discard("sure")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name in used}


_LITERALS = {
    "algorithm": Algorithm,
    "neighbourhood": Neighbourhood,
    "kernel": KernelName,
    "schedule": Schedule,
    "optimiser": Optimiser,
    "space": Space,
    "references": References,
    "guard": Guard,
    "losses": LossKind,
}
_NEAR = ("neighbourhood", "k", "epsilon", "kernel", "bandwidth", "references", "guard")
_DESCENT = (
    "steps",
    "learning_rate",
    "final_learning_rate",
    "schedule",
    "optimiser",
    "space",
)
_USED: dict[str, tuple[str, ...]] = {
    "base": (),
    "uniform": (),
    "constant": ("references", "seed"),
    "finetuned_router": ("references", "seed"),
    "mode_finding": ("k", "kernel", "bandwidth", "steps", "alpha", "references", "guard"),
    "kernel_regression": (*_NEAR, "steps", "search", "losses", "sure"),
    "ngd": (*_NEAR, *_DESCENT, "losses", "sure"),
    "oracle": _DESCENT,
}

# The paper's appendix C; its bandwidth is not stated, so 0.5 (the choice of this project's
# prototype) stands in.
PAPER = Setting("ngd")
# Chosen on the dev benchmark of the embedded model (docs/tuning.md).
MINI = replace(PAPER, learning_rate=1.0, k=10, bandwidth="median")
PRESETS = {"paper": PAPER, "mini": MINI}

# The confidence from which answers on fitted losses stand, for those who want NGD's own answers;
# chosen there, too (docs/performance.md).
SURE = 0.6

# Strategy names in the order in which tables show them.
CONTROLS = (
    "uniform",
    "constant",
    "finetuned_router",
    "ngd_random_neighbours",
    "ngd_same_type_neighbours",
    "ngd_paper",
)
COMPARED = ("base", "mode_finding", "kernel_regression", "ngd", "oracle")
AMORTISED = ("kernel_regression_amortised", "ngd_amortised")
STRATEGIES = (*COMPARED, *AMORTISED, *CONTROLS)


def preset_of(model: str) -> str:
    """The name of the preset chosen for a model, or the paper's where none was.

    A model's replicas share one: "mini-1" has that of "mini".
    """
    family = model.partition("-")[0]
    return family if family in PRESETS else "paper"


@cache
def strategy(name: str, preset: str = "paper") -> Setting:
    """A strategy's setting under a preset.

    Raises
    ------
    KeyError : there is no such strategy or preset; the message lists those that there are.
    """
    if preset not in PRESETS:
        raise KeyError(f"there is no preset {preset!r}; there are {', '.join(PRESETS)}")
    ngd = PRESETS[preset]
    named: dict[str, Setting] = {
        "ngd": ngd,
        "ngd_paper": PAPER,
        "ngd_amortised": replace(ngd, losses="fitted"),
        "kernel_regression_amortised": replace(ngd, algorithm="kernel_regression", losses="fitted"),
        "ngd_random_neighbours": replace(ngd, neighbourhood="random"),
        "ngd_same_type_neighbours": replace(ngd, neighbourhood="same_type"),
    }
    if name in named:
        return named[name]
    if name not in STRATEGIES:
        raise KeyError(f"there is no strategy {name!r}; there are {', '.join(STRATEGIES)}")
    return replace(ngd, algorithm=name)  # type: ignore[arg-type]
