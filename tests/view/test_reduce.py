"""Principal components, activation and channels, and their colours."""

import numpy as np
import pytest

from backbone_cli.view.colours import oklab_to_bytes, ramp, three_to_rgb
from backbone_cli.view.reduce import activation_strength, leading_axes, normalize_range, principal, strongest_channels


def test_leading_axes_equal_an_exact_decomposition():
    maps = np.random.default_rng(0).standard_normal((20, 16, 16)).astype(np.float32)
    maps *= np.linspace(4, 0.5, 20, dtype=np.float32)[:, None, None]
    tokens = maps.reshape(20, -1).T
    centred = tokens - tokens.mean(0)
    exact = np.linalg.svd(centred, full_matrices=False)[2][:3].T
    axes = leading_axes(centred, 3)
    np.testing.assert_allclose(np.abs((exact * axes).sum(0)), 1, atol=1e-4)


def test_components_of_several_photos_share_their_axes():
    first, second = np.random.default_rng(0).standard_normal((2, 6, 8, 8)).astype(np.float32)
    together = principal([first, second])
    assert [components.shape for components in together] == [(8, 8, 3), (8, 8, 3)]
    # The same patch has the same colour in both photos.
    second[:, 0, 0] = first[:, 7, 7]
    components, others = principal([first, second])
    np.testing.assert_allclose(components[7, 7], others[0, 0], atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 4, 4), (8, 1, 1)])
def test_missing_components_are_one_half(shape):
    (components,) = principal([np.random.default_rng(0).standard_normal(shape).astype(np.float32)])
    assert components.shape == (*shape[1:], 3) and (components[..., min(shape[0], 2)] == 0.5).all()


def test_normalize_range_clips_outliers_and_ignores_rounding():
    normalized = normalize_range(np.append(np.linspace(2, 3, 1000, dtype=np.float32), 1000))
    assert normalized.min() == 0 and normalized.max() == 1 and 0.4 < normalized[500] < 0.6
    flat = np.full((4, 4), 7, np.float32)
    flat[0, 0] += 1e-6
    assert (normalize_range(flat) == 0.5).all()


def test_activation_strength_is_not_cancelled_by_signs():
    normed = np.array([[[3.0, 0.5]], [[-3.0, -0.5]]], np.float32)
    assert activation_strength(normed).tolist() == [[3.0, 0.5]]
    assert strongest_channels(normed * [[[1]], [[2]]], 2) == [1, 0]


def test_ramp_rises_evenly_in_lightness():
    red, green, blue = ((ramp() / 255) ** 2.2).T
    lightness = (0.2126 * red + 0.7152 * green + 0.0722 * blue) ** (1 / 3)
    steps = np.diff(lightness.reshape(16, 16).mean(1))
    assert steps.min() > 0 and steps.max() < 2.2 * steps.mean()


def test_first_component_is_lightness_and_others_are_hue():
    (dark, light) = three_to_rgb(np.array([[[0, 0.5, 0.5], [1, 0.5, 0.5]]], np.float32))[0].astype(int)
    assert np.ptp(dark) <= 1 and np.ptp(light) <= 1 and light[0] > dark[0] + 100
    assert oklab_to_bytes(np.array([1, 0, 0], np.float32)).tolist() == [255, 255, 255]
