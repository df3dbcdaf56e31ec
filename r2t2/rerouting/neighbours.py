"""Who the neighbours are: search through faiss (equations 9 and 10), exact up to a size."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Collection, Sequence
from typing import Literal

import faiss
import numpy as np
import torch
from jaxtyping import Float, Int

from r2t2.rerouting import kernels
from r2t2.rerouting.settings import Setting
from r2t2.rerouting.trajectory import Neighbours

# A ball can hold thousands of references; the nearest of them carry the weight.
MOST_IN_BALL = 64
# An approximate search looks into the nearest of about 4 sqrt(n) lists, one in so many of them.
SEARCHED = 8
# What the lists are learnt from: so many vectors per list, so many times.
_LEARNT_FROM, _ROUNDS = 40, 10


def approximate(
    vectors: Float[np.ndarray, "references dimensions"], metric: int
) -> faiss.IndexIVFFlat:
    """References sorted into lists, of which a search looks into those nearest to the query.

    The same vectors make the same lists: they are learnt from a seed.
    """
    width, count = vectors.shape[1], 4 * math.isqrt(len(vectors))
    index = faiss.IndexIVFFlat(faiss.IndexFlat(width, metric), width, count, metric)
    index.nprobe = math.ceil(count / SEARCHED)
    index.cp.seed, index.cp.niter = 0, _ROUNDS
    some = np.random.default_rng(0).permutation(len(vectors))[: _LEARNT_FROM * count]
    index.train(vectors[np.sort(some)])
    index.add(vectors)
    return index


class Index:
    """Reference vectors to search.

    Parameters
    ----------
    vectors : of the references.
    ids : their samples' ids; a reference with the id of the sample itself is never returned.
    groups : their question types, for the control that draws from the sample's own type.
    metric : "inner_product" for the unit vectors of an embedder, "l2" for routing weights.
    exact : whether every reference is compared with a query, or those that are likely near.
    """

    def __init__(
        self,
        vectors: Float[np.ndarray, "references dimensions"],
        ids: Sequence[str],
        groups: Sequence[str],
        metric: Literal["inner_product", "l2"] = "inner_product",
        exact: bool = True,
    ) -> None:
        self.vectors = np.ascontiguousarray(vectors, np.float32)
        self.metric = metric
        self._positions = {id: i for i, id in enumerate(ids)}
        self._groups = np.array(groups)
        distance = faiss.METRIC_INNER_PRODUCT if metric == "inner_product" else faiss.METRIC_L2
        if exact:
            self._index: faiss.Index = faiss.IndexFlat(self.vectors.shape[1], distance)
            self._index.add(self.vectors)
        else:
            self._index = approximate(self.vectors, distance)

    def search(
        self,
        queries: Float[np.ndarray, "batch dimensions"],
        setting: Setting,
        ids: Sequence[str],
        groups: Sequence[str],
        without: Sequence[Collection[int]] = (),
    ) -> Neighbours:
        """The neighbours of each query and their kernel weights, as the setting wants them.

        Parameters
        ----------
        queries : of the samples, in the references' space.
        ids, groups : of the samples, for the controls that draw at random; the groups are read by
            the same-type control only.
        without : the references that each sample must not have beside itself; none if empty.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        barred = [
            {*more, self._positions.get(id, -1)}
            for id, more in zip(ids, without or [()] * len(ids), strict=True)
        ]
        spare = [len(one) for one in barred]
        if setting.neighbourhood == "ball":
            found = self._ball(queries, setting.epsilon)
        elif setting.neighbourhood == "nearest":
            depth = min(setting.k + max(spare), len(self.vectors))
            # Lists that hold fewer than were asked for give -1.
            found = [row[row >= 0] for row in self._index.search(queries, depth)[1]]
        else:
            found = [
                self._draw(setting, id, group, extra)
                for id, group, extra in zip(ids, groups, spare, strict=True)
            ]
        most = MOST_IN_BALL if setting.neighbourhood == "ball" else setting.k
        rows = [
            row[~np.isin(row, list(one))][:most] for row, one in zip(found, barred, strict=True)
        ]
        index = np.zeros((len(rows), max(1, *map(len, rows))), np.int64)
        present = np.zeros(index.shape, bool)
        for i, row in enumerate(rows):
            index[i, : len(row)], present[i, : len(row)] = row, True
        return self._weigh(queries, index, present, setting)

    def _weigh(
        self,
        queries: Float[np.ndarray, "batch dimensions"],
        index: Int[np.ndarray, "batch neighbours"],
        present: np.ndarray,
        setting: Setting,
    ) -> Neighbours:
        x = torch.from_numpy(queries)
        there = torch.from_numpy(present)
        vectors = torch.from_numpy(self.vectors[index])
        if setting.neighbourhood in ("random", "same_type"):
            weights = there / there.sum(-1, keepdim=True).clamp_min(1)
        else:
            weights = kernels.weights(setting.kernel, x, vectors, there, setting.bandwidth)
        distance = kernels.distance(x, vectors).masked_fill(~there, torch.nan)
        return Neighbours(torch.from_numpy(index), there, distance, weights)

    def _ball(
        self, queries: Float[np.ndarray, "batch dimensions"], epsilon: float
    ) -> list[Int[np.ndarray, " found"]]:
        # Of unit vectors, d^2 = 2 - 2 <x, y>. faiss leaves the limit itself out of the range,
        # equation 10 does not.
        limit = 1 - epsilon**2 / 2 if self.metric == "inner_product" else epsilon**2
        limit += -1e-6 if self.metric == "inner_product" else 1e-6
        limits, scores, labels = self._index.range_search(queries, limit)
        order = -scores if self.metric == "inner_product" else scores
        return [
            labels[a:b][np.argsort(order[a:b], kind="stable")]
            for a, b in itertools.pairwise(limits)
        ]

    def _draw(self, setting: Setting, id: str, group: str, spare: int) -> Int[np.ndarray, " found"]:
        # Seeded by the sample, not by its place in a batch: shards and resumed runs agree.
        rng = np.random.default_rng([setting.seed, zlib.crc32(id.encode())])
        pool = np.arange(len(self.vectors))
        if setting.neighbourhood == "same_type":
            pool = pool[self._groups == group]
        return rng.choice(pool, min(setting.k + spare, len(pool)), replace=False)
