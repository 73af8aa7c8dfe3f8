"""From C channels to the few numbers a place that an eye can take in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .colours import Floats


def principal(maps: Sequence[Floats], count: int = 3) -> list[Floats]:
    """The first principal components of maps (C, H, W), fitted over all of them together: each (H, W, count) in 0..1.

    One fit over several photos makes their colours comparable. The same maps always give the same numbers.
    A component in which nothing varies is 0.5 everywhere.
    """
    tokens = np.concatenate([one.reshape(len(one), -1).T for one in maps]).astype(np.float32)
    centred = tokens - tokens.mean(0)
    scaled = stretch(centred @ leading_axes(centred, count), axis=0)
    ends = np.cumsum([one[0].size for one in maps])[:-1]
    return [part.reshape(*one.shape[1:], count) for part, one in zip(np.split(scaled, ends), maps, strict=True)]


def leading_axes(rows: Floats, count: int, rounds: int = 24) -> Floats:
    """The directions in which N rows (N, C) reach furthest, as columns; by subspace iteration, which large C allow.

    Each is signed so that its largest entry is positive; where there are fewer than `count`, the others are zero.
    """
    width = rows.shape[1]
    axes = np.random.default_rng(0).standard_normal((width, min(width, count + 5))).astype(np.float32)
    for _ in range(rounds):
        axes, _ = np.linalg.qr(rows.T @ (rows @ axes))
    # Inside the subspace, the axes are those of the small covariance.
    variances, turns = np.linalg.eigh((rows @ axes).T @ (rows @ axes))
    axes = (axes @ turns[:, np.argsort(variances)[::-1]])[:, :count]
    if axes.shape[1] < count:
        axes = np.pad(axes, ((0, 0), (0, count - axes.shape[1])))
    largest = axes[np.abs(axes).argmax(0), np.arange(count)]
    return (axes * np.where(largest < 0, -1, 1)).astype(np.float32)


def stretch(values: Floats, axis: int | None = None) -> Floats:
    """Values brought to 0..1, with one in a hundred at either end cut off; 0.5 where they are all the same."""
    low, high = np.percentile(values, (1, 99), axis=axis)
    span = high - low
    # What rounding alone brings about is no difference.
    flat = span <= 1e-6 * np.abs(values).max(initial=0)
    scaled = np.where(flat, 0.5, (values - low) / np.where(flat, 1, span))
    return scaled.clip(0, 1).astype(np.float32)


def strength(feature_map: Floats) -> Floats:
    """How strongly each place of (C, H, W) is active: the mean over its channels, whichever their sign.

    The plain mean says nothing where a stage ends in a norm over channels: it is zero everywhere.
    """
    return np.abs(feature_map).mean(0)


def strongest(feature_map: Floats, count: int) -> list[int]:
    """The channels (of C, H, W) that vary most over the image, strongest first."""
    spread = feature_map.reshape(len(feature_map), -1).std(1)
    return [int(i) for i in np.argsort(-spread, kind="stable")[:count]]
