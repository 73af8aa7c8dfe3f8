"""The similarity of two models' stages."""

import numpy as np
import pytest

from backbone_cli.view.comparison import Comparison, average_down, linear_cka

rng = np.random.default_rng(0)


def random(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def cka_by_definition(x, y):
    """Normalized HSIC of two linear kernels, centred by the centring matrix."""
    n = len(x)
    centre = np.eye(n) - 1 / n
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    return np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))


@pytest.mark.parametrize(("positions", "channels"), [(50, (8, 12)), (10, (40, 30))])
def test_cka_equals_its_definition(positions, channels):
    x, y = (random(positions, c) for c in channels)
    assert linear_cka(x, y) == pytest.approx(cka_by_definition(x, y), abs=1e-5)


def test_cka_is_invariant_to_rotation_scale_and_offset():
    x = random(60, 7)
    transformed = x @ np.linalg.qr(random(7, 7))[0] * 3 + 5
    assert linear_cka(x, transformed) == pytest.approx(1, abs=1e-5)
    assert linear_cka(x, random(60, 2)) < 0.5
    assert linear_cka(x, np.ones((60, 3), np.float32)) == 0


def test_average_down_covers_every_cell_once():
    feature_map = random(3, 7, 5)
    assert average_down(feature_map, (7, 5)) is feature_map
    coarse = average_down(feature_map, (3, 2))
    np.testing.assert_allclose(coarse.mean((1, 2)), feature_map.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(
        average_down(feature_map[:, :6, :4], (3, 2))[:, 0, 0], feature_map[:, :2, :2].mean((1, 2)), atol=1e-6
    )


def test_stages_of_the_same_shape_are_compared_by_value():
    comparison = Comparison(photos=2)
    for _ in range(2):
        a = {"x": random(4, 6, 6), "y": random(4, 3, 3)}
        comparison.add(a, {"x": a["x"] + np.float32(0.5), "y": random(5, 3, 3)})
    assert set(comparison.same) == {"x"}
    x = comparison.same["x"]
    assert x.shape == (4, 6, 6) and x.max == pytest.approx(0.5, abs=1e-5)
    assert x.mean == pytest.approx(0.5, abs=1e-5) and x.std == pytest.approx(1, abs=0.2) and x.cosine > 0.7
    cka = comparison.cka()
    assert cka.shape == (2, 2) and cka[0, 0] == pytest.approx(1, abs=1e-5)
    assert comparison.positions == 2 * 9 and comparison.channels == 5


def test_maps_of_many_photos_are_averaged_down():
    comparison = Comparison(photos=1024)
    comparison.add({"x": random(4, 56, 40)}, {"x": random(4, 7, 7)})
    assert comparison.a["x"][0].shape == comparison.b["x"][0].shape == (4, 2, 2)
