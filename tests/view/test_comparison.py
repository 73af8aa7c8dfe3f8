"""How alike two models' stages are."""

import numpy as np
import pytest

from backbone_cli.view.comparison import Comparison, averaged, linear_cka

rng = np.random.default_rng(0)


def random(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def by_definition(x, y):
    """HSIC of two kernels, centred by the centring matrix."""
    n = len(x)
    centre = np.eye(n) - 1 / n
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    return np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))


@pytest.mark.parametrize(("places", "channels"), [(50, (8, 12)), (10, (40, 30))])
def test_cka_is_what_its_definition_says(places, channels):
    x, y = (random(places, c) for c in channels)
    assert linear_cka(x, y) == pytest.approx(by_definition(x, y), abs=1e-5)


def test_cka_does_not_see_rotation_scale_or_offset():
    x = random(60, 7)
    turned = x @ np.linalg.qr(random(7, 7))[0] * 3 + 5
    assert linear_cka(x, turned) == pytest.approx(1, abs=1e-5)
    assert linear_cka(x, random(60, 2)) < 0.5
    assert linear_cka(x, np.ones((60, 3), np.float32)) == 0


def test_averaging_covers_every_cell_once():
    one = random(3, 7, 5)
    assert averaged(one, (7, 5)) is one
    coarse = averaged(one, (3, 2))
    np.testing.assert_allclose(coarse.mean((1, 2)), one.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(averaged(one[:, :6, :4], (3, 2))[:, 0, 0], one[:, :2, :2].mean((1, 2)), atol=1e-6)


def test_stages_of_one_shape_are_compared_number_by_number():
    found = Comparison(photos=2)
    for _ in range(2):
        a = {"x": random(4, 6, 6), "y": random(4, 3, 3)}
        found.add(a, {"x": a["x"] + np.float32(0.5), "y": random(5, 3, 3)})
    assert set(found.same) == {"x"}
    one = found.same["x"]
    assert one.shape == (4, 6, 6) and one.max == pytest.approx(0.5, abs=1e-5)
    assert one.mean == pytest.approx(0.5, abs=1e-5) and one.std == pytest.approx(1, abs=0.2) and one.cosine > 0.7
    cka = found.cka()
    assert cka.shape == (2, 2) and cka[0, 0] == pytest.approx(1, abs=1e-5)
    assert found.places == 2 * 9 and found.channels == 5


def test_many_photos_are_averaged_down_to_what_memory_can_hold():
    found = Comparison(photos=1024)
    found.add({"x": random(4, 56, 40)}, {"x": random(4, 7, 7)})
    assert found.a["x"][0].shape == found.b["x"][0].shape == (4, 2, 2)
