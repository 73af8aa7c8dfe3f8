"""Sheets, heat maps and the drawing functions."""

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageDraw

from backbone_cli.view.colours import ramp, three_to_rgb
from backbone_cli.view.drawing import THEMES, blank_page, draw_text, fill_cells, shortened
from backbone_cli.view.matrix import matrix
from backbone_cli.view.reduce import principal
from backbone_cli.view.sheet import SheetLayout, sheets, stack_pages

from .conftest import STRIDES


def draw(photos, theme="dark"):
    return sheets(photos, "some/model", STRIDES, THEMES[theme])


def test_one_reproducible_sheet_per_photo(photos):
    pages = draw(photos)
    assert len(pages) == 2 and pages[0].size == pages[1].size
    assert [page.tobytes() for page in draw(photos)] == [page.tobytes() for page in pages]
    whole = stack_pages(pages, THEMES["dark"])
    assert whole.size == (pages[0].width, 2 * pages[0].height)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_margins_are_empty_and_equally_wide(photos, theme):
    page = np.asarray(draw(photos, theme)[0])
    drawn = (page != np.array(THEMES[theme].background)).any(2)
    columns, rows = np.flatnonzero(drawn.any(0)), np.flatnonzero(drawn.any(1))
    margin = SheetLayout().margin
    assert abs(columns[0] - margin) <= 3 and page.shape[1] - 1 - columns[-1] == margin
    assert margin <= rows[0] <= margin + 8 and page.shape[0] - 1 - rows[-1] >= margin


def test_colours_equal_the_components(photos):
    expected = three_to_rgb(principal([photo.maps["late"] for photo in photos])[0])
    page = draw(photos)[0]
    counts = {colour: count for count, colour in page.getcolors(page.width * page.height)}
    assert all(counts[tuple(colour)] > 500 for colour in expected.reshape(-1, 3).tolist())


def test_many_stages_are_arranged_in_columns(photos):
    photo = photos[0]
    many = dataclasses.replace(photo, maps={f"stage{i}": photo.maps["late"] for i in range(40)})
    (page,) = sheets([many], "m", dict.fromkeys(many.maps, 16), THEMES["dark"])
    (few,) = sheets([photo], "m", STRIDES, THEMES["dark"])
    assert page.width > 4 * few.width and page.height < 4 * few.height


@pytest.mark.parametrize("shape", [(1, 3, 3), (2, 1, 1), (300, 2, 40)])
def test_unusual_maps_and_photos(photos, shape):
    photo = dataclasses.replace(
        photos[0], picture=photos[0].picture[:, :10], maps={"x": np.ones(shape, np.float32)}, name="n" * 500
    )
    (page,) = sheets([photo], "m" * 500, {"x": 1}, THEMES["light"])
    assert page.width < 1500


def test_fill_cells_keeps_edges_sharp():
    cells = np.array([[[0, 0, 0], [255, 0, 0]], [[0, 255, 0], [0, 0, 255]]], np.uint8)
    filled = np.asarray(fill_cells(cells, (7, 5)))
    assert filled.shape == (5, 7, 3)
    assert filled[0, 0].tolist() == [0, 0, 0] and filled[0, 6].tolist() == [255, 0, 0]
    assert filled[4, 0].tolist() == [0, 255, 0] and filled[4, 6].tolist() == [0, 0, 255]
    assert 120 < filled[0, 3, 0] < 135  # half of this pixel lies in each cell
    assert fill_cells(np.zeros((9, 9, 3), np.uint8), (4, 4)).size == (4, 4)


def test_text_is_shortened_to_fit():
    canvas = ImageDraw.Draw(blank_page((400, 40), THEMES["dark"]))
    assert draw_text(canvas, (0, 0), "a long name of a model" * 9, (255, 255, 255), 15, 200) <= 200
    assert shortened("microsoft/swin-tiny", 8) == "micr...tiny"
    assert shortened("swin", 4) == "swin"


def test_matrix_cells_have_the_colours_of_their_values():
    values = np.array([[1.0, 0.0], [0.5, 1.2]], np.float32)
    page = matrix(values, ["stem", "a rather long name"], ["x", "y"], "CKA", ("left", "right"), THEMES["dark"])
    assert isinstance(page, Image.Image)
    colours = {colour for _, colour in page.getcolors(page.width * page.height)}
    assert {tuple(ramp()[i].tolist()) for i in (0, 128, 255)} <= colours
