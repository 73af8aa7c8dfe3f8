"""From C channels to a few numbers per position that can be shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .colours import Floats


def principal(maps: Sequence[Floats], count: int = 3) -> list[Floats]:
    """The first principal components of maps (C, H, W), fitted jointly: each (H, W, count) in 0..1.

    A joint fit makes the colours of several photos comparable. The result is deterministic. A component without
    variation is 0.5 everywhere.
    """
    tokens = np.concatenate([one.reshape(len(one), -1).T for one in maps]).astype(np.float32)
    centred = tokens - tokens.mean(0)
    scaled = normalize_range(centred @ leading_axes(centred, count), axis=0)
    ends = np.cumsum([one[0].size for one in maps])[:-1]
    return [part.reshape(*one.shape[1:], count) for part, one in zip(np.split(scaled, ends), maps, strict=True)]


def leading_axes(rows: Floats, count: int, rounds: int = 24) -> Floats:
    """The directions of largest variance of N rows (N, C), as columns; by subspace iteration, which scales to large C.

    Each is signed so that its largest entry is positive; if there are fewer than `count`, the rest are zero.
    """
    width = rows.shape[1]
    axes = np.random.default_rng(0).standard_normal((width, min(width, count + 5))).astype(np.float32)
    for _ in range(rounds):
        axes, _ = np.linalg.qr(rows.T @ (rows @ axes))
    # Within the subspace, the axes are eigenvectors of the small covariance.
    variances, rotation = np.linalg.eigh((rows @ axes).T @ (rows @ axes))
    axes = (axes @ rotation[:, np.argsort(variances)[::-1]])[:, :count]
    if axes.shape[1] < count:
        axes = np.pad(axes, ((0, 0), (0, count - axes.shape[1])))
    largest = axes[np.abs(axes).argmax(0), np.arange(count)]
    return (axes * np.where(largest < 0, -1, 1)).astype(np.float32)


def normalize_range(values: Floats, axis: int | None = None) -> Floats:
    """Values scaled to 0..1 from the 1st to the 99th percentile; 0.5 if they are all the same."""
    low, high = np.percentile(values, (1, 99), axis=axis)
    span = high - low
    # Differences due to rounding don't count.
    flat = span <= 1e-6 * np.abs(values).max(initial=0)
    scaled = np.where(flat, 0.5, (values - low) / np.where(flat, 1, span))
    return scaled.clip(0, 1).astype(np.float32)


def activation_strength(feature_map: Floats) -> Floats:
    """How active each position of (C, H, W) is: the mean absolute value over channels.

    The plain mean would be zero everywhere if a stage ends in a norm over channels.
    """
    return np.abs(feature_map).mean(0)


def strongest_channels(feature_map: Floats, count: int) -> list[int]:
    """The channels of (C, H, W) that vary most over the image, in descending order."""
    spread = feature_map.reshape(len(feature_map), -1).std(1)
    return [int(i) for i in np.argsort(-spread, kind="stable")[:count]]
