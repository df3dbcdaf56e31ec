"""Maps of a reference set: its questions or its routings in two dimensions.

`python -m r2t2.analysis.maps FOLDER SPACE METHOD` computes one in a process of its own, so that
nobody waits for it, prints how far it is (lines of a fraction), and keeps it beside the set.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from r2t2.analysis import projection
from r2t2.files import written
from r2t2.reference import ReferenceSet
from r2t2.sites import Site, expert_names

SPACES = ("questions", "routings")
# Method -> its parameters; with them and the set's fingerprint a map's file is named.
METHODS: dict[str, dict[str, Any]] = {
    "pca": {},
    "t-sne": {"perplexity": 30, "max_iter": 1000, "init": "pca", "learning_rate": "auto"},
}
# More principal components than this hardly move a point of t-SNE's, but make it slower.
_COMPONENTS = 50
_SEED = 0
Report = Callable[[float], None]


def vectors(references: ReferenceSet, space: str) -> Float[np.ndarray, "references dimensions"]:
    """What a map is made of: the questions' embeddings, or `r` flattened."""
    if space == "questions":
        return references.embeddings
    return references.r.reshape(len(references), -1)


def project(
    vectors: Float[np.ndarray, "references dimensions"],
    method: str,
    report: Report = lambda done: None,
) -> pd.DataFrame:
    """Vectors in two dimensions, the same ones whenever it is asked.

    Parameters
    ----------
    method : of `METHODS`; t-SNE's perplexity is lowered for fewer than 91 vectors.
    report : called with the fraction done. What is printed meanwhile is swallowed.

    Returns
    -------
    x, y : one row per vector. `attrs["explained"]` of PCA: the shares of variance along them.
    """
    if method == "pca":
        plane = projection.fit(vectors)
        points = plane(vectors)
        attrs = {"explained": [round(float(share), 4) for share in plane.explained]}
    else:
        points = _t_sne(vectors, report)
        attrs = {}
    frame = pd.DataFrame(points.astype(np.float32), columns=["x", "y"])
    frame.attrs = attrs
    report(1.0)
    return frame


def _t_sne(
    vectors: Float[np.ndarray, "references dimensions"], report: Report
) -> Float[np.ndarray, "references 2"]:
    """van der Maaten and Hinton (2008), after a principal component analysis."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    options = METHODS["t-sne"]
    # Three times the perplexity are the neighbours that a point is placed by.
    perplexity = min(options["perplexity"], (len(vectors) - 1) / 3)
    reduced = PCA(min(_COMPONENTS, *vectors.shape), random_state=_SEED).fit_transform(vectors)
    fitted = TSNE(random_state=_SEED, n_jobs=1, verbose=2, **{**options, "perplexity": perplexity})
    with redirect_stdout(_Iterations(options["max_iter"], report)):
        return fitted.fit_transform(reduced)


class _Iterations(io.StringIO):
    """Hears from scikit-learn's messages, its only sign of life, how far t-SNE is."""

    def __init__(self, most: int, report: Report) -> None:
        super().__init__()
        self._most, self._report = most, report

    def write(self, text: str) -> int:
        if found := re.search(r"Iteration (\d+)", text):
            self._report(int(found[1]) / self._most)
        return len(text)


def file(folder: Path, fingerprint: str, space: str, method: str) -> Path:
    """Where the map of a set lies; another set in the same folder has other files."""
    determined = json.dumps([fingerprint, space, method, METHODS[method], _COMPONENTS, _SEED])
    digest = hashlib.sha256(determined.encode()).hexdigest()[:12]
    return folder / "maps" / f"{space}-{method}-{digest}.parquet"


def read(path: Path) -> pd.DataFrame | None:
    """A map that was kept (as `project` returned it); None where there is none to be read."""
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError):
        return None


def keep(folder: Path, space: str, method: str, report: Report = lambda done: None) -> Path:
    """Compute a map of the set in a folder and write it there; where it is written.

    Raises
    ------
    FileNotFoundError, ValueError : as `ReferenceSet.read` says.
    """
    references = ReferenceSet.read(folder, "")
    with written(path := file(folder, references.fingerprint, space, method)) as part:
        project(vectors(references, space), method, report).to_parquet(part, index=False)
    return path


def top1(r: Float[np.ndarray, "samples sites experts"], sites: Sequence[Site]) -> np.ndarray:
    """The name of each sample's top-1 expert, as `r2t2.contract.top1` has it, without torch."""
    names = expert_names(sites)
    places = [
        [(s, site.experts.index(name)) for s, site in enumerate(sites) if name in site.experts]
        for name in names
    ]
    means = [np.mean([r[:, s, e] for s, e in where], axis=0) for where in places]
    return np.array(names, object)[np.argmax(means, axis=0)]


def main(folder: str, space: str, method: str) -> None:
    """Keep a map and print how far it is."""
    output = sys.stdout
    keep(Path(folder), space, method, lambda done: print(done, file=output, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
