"""From C channels to the few numbers a place that an eye can take in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def principal(maps: Sequence[Floats], count: int = 3) -> list[Floats]:
    """The first principal components of maps (C, H, W), fitted over all of them together: each (H, W, count) in 0..1.

    One fit over several photos makes their colours comparable. The same maps always give the same numbers.
    """
    tokens = np.concatenate([one.reshape(len(one), -1).T for one in maps]).astype(np.float32)
    centred = tokens - tokens.mean(0)
    scores = centred @ leading_axes(centred, count)
    low, high = np.percentile(scores, (1, 99), axis=0)
    scaled = ((scores - low) / np.maximum(high - low, 1e-12)).clip(0, 1).astype(np.float32)
    ends = np.cumsum([one[0].size for one in maps])[:-1]
    return [part.reshape(*one.shape[1:], count) for part, one in zip(np.split(scaled, ends), maps, strict=True)]


def leading_axes(centred: Floats, count: int, rounds: int = 24) -> Floats:
    """The directions of largest variance of N rows (N, C), as columns; by subspace iteration, which large C allow.

    Each is signed so that its largest entry is positive.
    """
    width = centred.shape[1]
    axes = np.random.default_rng(0).standard_normal((width, min(width, count + 5))).astype(np.float32)
    for _ in range(rounds):
        axes, _ = np.linalg.qr(centred.T @ (centred @ axes))
    # Inside the subspace, the axes are those of the small covariance.
    variances, turns = np.linalg.eigh((centred @ axes).T @ (centred @ axes))
    axes = (axes @ turns[:, np.argsort(variances)[::-1]])[:, :count]
    if axes.shape[1] < count:
        axes = np.pad(axes, ((0, 0), (0, count - axes.shape[1])))
    largest = axes[np.abs(axes).argmax(0), np.arange(count)]
    return (axes * np.where(largest < 0, -1, 1)).astype(np.float32)


def stretch(values: Floats) -> Floats:
    """Values brought to 0..1, with one in a hundred at either end cut off."""
    low, high = np.percentile(values, (1, 99))
    return ((values - low) / max(float(high - low), 1e-12)).clip(0, 1).astype(np.float32)


def strongest(feature_map: Floats, count: int) -> list[int]:
    """The channels (of C, H, W) that vary most over the image, strongest first."""
    spread = feature_map.reshape(len(feature_map), -1).std(1)
    return [int(i) for i in np.argsort(-spread, kind="stable")[:count]]
