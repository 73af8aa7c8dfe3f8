"""Two models on the same photos: how similar their stages are.

Any two stages are compared by linear CKA (Kornblith et al. 2019), which measures whether two features distinguish the
same positions, whatever their channels mean: 1 for rotations of the same features, near 0 for unrelated ones. Stages
with the same name and shape are also compared value by value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .colours import Floats

Maps = Mapping[str, Floats]

MAX_POSITIONS = 4096
"""The maximum number of positions, over all photos, for CKA; maps are averaged down to that."""


@dataclass
class Difference:
    """One stage of both models compared value by value, over all photos."""

    stage: str
    shape: tuple[int, ...]
    max: float = 0.0
    """The largest absolute difference."""
    mean: float = 0.0
    """The mean absolute difference."""
    std: float = 0.0
    """The standard deviation of the first model's values, as a scale for the differences."""
    cosine: float = 0.0
    """The mean cosine similarity of the two vectors at a position."""

    photos: int = 0

    def add(self, a: Floats, b: Floats) -> None:
        """Add one photo."""
        self.photos += 1
        difference = np.abs(a - b)
        lengths = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
        self.max = max(self.max, float(difference.max()))
        self.mean += (float(difference.mean()) - self.mean) / self.photos
        self.std += (float(a.std()) - self.std) / self.photos
        self.cosine += (float(((a * b).sum(0) / np.maximum(lengths, 1e-12)).mean()) - self.cosine) / self.photos


@dataclass
class Comparison:
    """Two models' maps of a number of photos; `add` each photo first."""

    photos: int
    a: dict[str, list[Floats]] = field(default_factory=dict, init=False)
    """Stage -> each photo's map, averaged down."""
    b: dict[str, list[Floats]] = field(default_factory=dict, init=False)
    same: dict[str, Difference] = field(default_factory=dict, init=False)
    """The stages that both models have with the same shape."""

    def add(self, a: Maps, b: Maps) -> None:
        """Add both models' maps of one photo."""
        side = max(1, math.isqrt(MAX_POSITIONS // self.photos))
        for kept, maps in ((self.a, a), (self.b, b)):
            for stage, one in maps.items():
                _, height, width = one.shape
                kept.setdefault(stage, []).append(average_down(one, (min(side, height), min(side, width))))
        for stage, one in a.items():
            if stage in b and one.shape == b[stage].shape:
                self.same.setdefault(stage, Difference(stage, one.shape)).add(one, b[stage])

    def cka(self) -> Floats:
        """Linear CKA of each of A's stages (rows) with each of B's (columns)."""
        return np.array([[linear_cka(*self.pair(a, b)) for b in self.b] for a in self.a], np.float32)

    def pair(self, a: str, b: str) -> tuple[Floats, Floats]:
        """Two stages as features of the same positions (N, C), on the coarser of their grids."""
        grids = self.grids(a, b)
        return features(self.a[a], grids), features(self.b[b], grids)

    def grids(self, a: str, b: str) -> list[tuple[int, int]]:
        shapes = [(*one.shape, *other.shape) for one, other in zip(self.a[a], self.b[b], strict=True)]
        return [(min(h, other_h), min(w, other_w)) for _, h, w, _, other_h, other_w in shapes]

    @property
    def positions(self) -> int:
        """The smallest number of positions that any CKA is computed from."""
        return min(sum(h * w for h, w in self.grids(a, b)) for a in self.a for b in self.b)

    @property
    def channels(self) -> int:
        """The most channels of any stage; with fewer positions than that, CKA is biased upwards."""
        return max(len(photos[0]) for maps in (self.a, self.b) for photos in maps.values())


def features(maps: Sequence[Floats], grids: Sequence[tuple[int, int]]) -> Floats:
    """Maps (C, H, W), one per photo, as one row per position of these grids."""
    return np.concatenate([average_down(*each).reshape(len(each[0]), -1).T for each in zip(maps, grids, strict=True)])


def linear_cka(x: Floats, y: Floats) -> float:
    """Linear CKA of two features of the same N positions, (N, C) and (N, D)."""
    x, y = x - x.mean(0), y - y.mean(0)
    similarity = np.linalg.norm(x.T @ y) ** 2
    return float(similarity / max(np.linalg.norm(gram(x)) * np.linalg.norm(gram(y)), 1e-30))


def gram(x: Floats) -> Floats:
    """The smaller of X X' and X' X, which have the same norm."""
    return x @ x.T if len(x) < x.shape[1] else x.T @ x


def average_down(feature_map: Floats, grid: tuple[int, int]) -> Floats:
    """(C, H, W) on a coarser grid; each cell is the mean of what it covers."""
    if feature_map.shape[1:] == grid:
        return feature_map
    down, across = (weights(n, k) for n, k in zip(feature_map.shape[1:], grid, strict=True))
    return down @ feature_map @ across.T


def weights(n: int, k: int) -> Floats:
    """Averaging n cells to k, as a matrix (k, n) of overlaps."""
    edges, cells = np.arange(k + 1) * n / k, np.arange(n)
    shared = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return (shared.clip(0) * k / n).astype(np.float32)
