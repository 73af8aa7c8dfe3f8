"""Terminal previews in half-block characters."""

import numpy as np
import pytest

from backbone_cli.view.reduce import principal
from backbone_cli.view.terminal import arrange, half_blocks, preview


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (200, 50), (30, 60)])
def test_preview_fits_the_window(photos, columns, lines):
    components = [principal([feature_map])[0] for feature_map in photos[0].maps.values()]
    text = preview(photos[0], components, columns, lines)
    shown = text.plain.splitlines()
    assert len(shown) <= lines and max(map(len, shown)) <= columns
    assert "a/one" in shown[0] and "late" in text.plain


@pytest.mark.parametrize("count", [2, 6, 41])
def test_tiles_fit_and_keep_their_aspect_ratio(count):
    across, (width, height) = arrange(count, 1.0, 120, 40)
    assert height == 2 * round(width / 2) and width >= 2
    assert across * (width + 2) - 2 <= 120


def test_character_shows_two_pixels():
    picture = np.array([[[255, 0, 0]], [[0, 0, 255]]], np.uint8)
    (line,) = half_blocks(picture)
    style = line.spans[0].style
    assert line.plain == "▀"
    assert tuple(style.color.triplet) == (255, 0, 0) and tuple(style.bgcolor.triplet) == (0, 0, 255)
