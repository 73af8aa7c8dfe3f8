"""The page: the data in it, and how it works in a real browser."""

import json
import re
import shutil

import numpy as np
import pytest

from backbone_cli.errors import UsageError
from backbone_cli.view.explore import page, quantised_vectors, unit
from backbone_cli.view.reduce import strongest_channels

from .conftest import STRIDES

LIMIT = 20_000_000

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
needs_browser = pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")


def page_data(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_page_is_one_reproducible_file_without_requests(photos):
    text = page(photos, "some/model", STRIDES, "auto", LIMIT)
    assert text == page(photos, "some/model", STRIDES, "auto", LIMIT)
    assert not re.search(r"https?://", text) and "{{" not in text
    assert "default-src 'none'" in text
    assert len(re.findall("</script>", text)) == 2  # no photo's name closes the data element


def test_page_data_of_photos_and_stages(photos):
    data = page_data(page(photos, "some/model", STRIDES, "auto", LIMIT))
    assert [photo["name"] for photo in data["photos"]] == ["a/one", "two </script> & <b>"]
    early, late = data["stages"]
    assert (early["name"], early["channels"], early["stride"], early["dims"]) == ("early", 5, 4, 5)
    both = np.concatenate([photo.maps["late"].reshape(40, -1).T for photo in photos])
    assert late["kept"] == strongest_channels(both.T[:, :, None], 40)
    assert late["maps"][0]["grid"] == [3, 6]


def test_quantised_vectors_keep_their_similarity():
    patches = np.random.default_rng(0).standard_normal((300, 64)).astype(np.float32)
    numbers, scales, error = quantised_vectors(patches, 64)
    assert numbers.dtype == np.int8 and error < 0.01
    restored = unit(numbers * scales)
    exact = unit(patches) @ unit(patches).T
    assert np.abs(restored @ restored.T - exact).max() == pytest.approx(error, abs=1e-6)
    # Fewer dimensions suffice if the features span only a few directions.
    low_rank = patches[:, :4] @ np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)
    numbers, _, error = quantised_vectors(low_rank, 16)
    assert numbers.shape == (300, 16) and error < 0.02


def test_size_limit_is_respected(photos):
    whole = page(photos, "m", STRIDES, "auto", LIMIT)
    limit = len(whole.encode()) - 1000
    smaller = page(photos, "m", STRIDES, "auto", limit)
    assert len(smaller.encode()) <= limit
    assert page_data(smaller)["stages"][1]["dims"] == len(page_data(smaller)["stages"][1]["kept"]) < 40
    assert "late keep their leading directions" in smaller
    with pytest.raises(UsageError, match="--max-size"):
        page(photos, "m", STRIDES, "auto", 10_000)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, photos, tmp_path):
    """A function that opens the page in a window of this width; console messages, errors and requests fail the test."""
    file = tmp_path / "page.html"
    file.write_text(page(photos, "some/model", STRIDES, "auto", LIMIT), encoding="utf-8")
    problems = []

    def open_tab(width=1280, scheme="light"):
        tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda request: request.url.startswith(("file:", "data:")) or problems.append(request.url))
        tab.goto(file.as_uri())
        tab.wait_for_selector(".photo")
        return tab

    yield open_tab
    assert not problems


def pixels(tab, selector):
    return tab.evaluate("s => document.querySelector(s).toDataURL()", selector)


@needs_browser
def test_click_shows_the_similarity_of_all_patches(open_page, photos):
    tab = open_page()
    before = pixels(tab, ".photo .pair canvas:last-child"), pixels(tab, ".photo:last-child .strip canvas")
    canvas = tab.locator(".photo").first.locator("canvas").first
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 0.3, "y": box["height"] * 0.9})
    after = pixels(tab, ".photo .pair canvas:last-child"), pixels(tab, ".photo:last-child .strip canvas")
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert "row 3, column 2 of a/one" in tab.inner_text("#status")
    # At every stage and in both photos, it is the cosine similarity of the features.
    for index, (stage, cell) in enumerate({"early": (10, 7), "late": (2, 1)}.items()):
        units = [unit(photo.maps[stage].reshape(len(photo.maps[stage]), -1).T) for photo in photos]
        query = units[0].reshape(*photos[0].maps[stage].shape[1:], -1)[cell]
        shown = tab.evaluate("stage => similarity(stage).all.map((one) => Array.from(one))", index)
        for similarities, all_units in zip(shown, units, strict=True):
            np.testing.assert_allclose(similarities, all_units @ query, atol=0.02)


@needs_browser
def test_page_works_with_the_keyboard(open_page):
    tab = open_page()
    tab.locator(".photo canvas").first.focus()
    tab.keyboard.press("Enter")
    assert "row 2, column 4 of a/one" in tab.inner_text("#status")
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowDown")
    assert "row 3, column 3 of a/one" in tab.inner_text("#status")
    tab.keyboard.press("]")
    assert tab.get_by_role("radio", name="Channels").is_checked() and "25 to 40 of 40" in tab.inner_text("#page")
    tab.keyboard.press("[")
    assert "1 to 24 of 40" in tab.inner_text("#page")
    tab.get_by_role("radio", name="late").focus()
    tab.keyboard.press("ArrowLeft")
    assert "early: 5 x 12 x 24, stride 4" in tab.inner_text("#stage-info")
    assert tab.locator("#tiles canvas").count() == 5


@needs_browser
def test_picture_can_be_downloaded(open_page, tmp_path):
    from PIL import Image

    tab = open_page()
    tab.get_by_role("radio", name="Activation").check()
    with tab.expect_download() as download:
        tab.click("#download")
    assert download.value.suggested_filename == "late-activation.png"
    download.value.save_as(tmp_path / "shown.png")
    with Image.open(tmp_path / "shown.png") as shown:
        assert shown.width > 1280 and len(shown.convert("RGB").getcolors(1 << 24)) > 100


@needs_browser
def test_page_fits_a_phone_and_follows_the_system_theme(open_page):
    tab = open_page(width=390, scheme="dark")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    background = "getComputedStyle(document.body).backgroundColor"
    dark = tab.evaluate(background)
    tab.emulate_media(color_scheme="light")
    assert tab.evaluate(background) != dark
