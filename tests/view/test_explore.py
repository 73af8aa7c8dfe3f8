"""The page: what is inside, and what it does in a real browser."""

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
needs_browser = pytest.mark.skipif(BROWSER is None, reason="there is no chromium here to show the page in")


def inside(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_it_is_one_file_that_asks_for_nothing(photos):
    text = page(photos, "some/model", STRIDES, "auto", LIMIT)
    assert text == page(photos, "some/model", STRIDES, "auto", LIMIT)
    assert not re.search(r"https?://", text) and "{{" not in text
    assert "default-src 'none'" in text
    assert len(re.findall("</script>", text)) == 2  # no name of a photo ends the data


def test_what_is_inside(photos):
    data = inside(page(photos, "some/model", STRIDES, "auto", LIMIT))
    assert [photo["name"] for photo in data["photos"]] == ["a/one", "two </script> & <b>"]
    early, late = data["stages"]
    assert (early["name"], early["channels"], early["stride"], early["dims"]) == ("early", 5, 4, 5)
    both = np.concatenate([photo.maps["late"].reshape(40, -1).T for photo in photos])
    assert late["kept"] == strongest_channels(both.T[:, :, None], 40)
    assert late["maps"][0]["grid"] == [3, 6]


def test_vectors_keep_their_likeness_in_a_byte_a_number():
    patches = np.random.default_rng(0).standard_normal((300, 64)).astype(np.float32)
    numbers, scales, error = quantised_vectors(patches, 64)
    assert numbers.dtype == np.int8 and error < 0.01
    restored = unit(numbers * scales)
    exact = unit(patches) @ unit(patches).T
    assert np.abs(restored @ restored.T - exact).max() == pytest.approx(error, abs=1e-6)
    # Fewer numbers are exact where the features have no more directions than those.
    flat = patches[:, :4] @ np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)
    numbers, _, error = quantised_vectors(flat, 16)
    assert numbers.shape == (300, 16) and error < 0.02


def test_the_size_is_kept(photos):
    whole = page(photos, "m", STRIDES, "auto", LIMIT)
    room = len(whole.encode()) - 1000
    smaller = page(photos, "m", STRIDES, "auto", room)
    assert len(smaller.encode()) <= room
    assert inside(smaller)["stages"][1]["dims"] == len(inside(smaller)["stages"][1]["kept"]) < 40
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
def opened(browser, photos, tmp_path):
    """Opens the page from its file, in a window of this width; whatever goes wrong in it fails the test."""
    file = tmp_path / "page.html"
    file.write_text(page(photos, "some/model", STRIDES, "auto", LIMIT), encoding="utf-8")
    troubles = []

    def open_page(width=1280, scheme="light"):
        tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        tab.on("console", lambda message: troubles.append(message.text))
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("request", lambda request: request.url.startswith(("file:", "data:")) or troubles.append(request.url))
        tab.goto(file.as_uri())
        tab.wait_for_selector(".photo")
        return tab

    yield open_page
    assert not troubles


def pixels(tab, selector):
    return tab.evaluate("s => document.querySelector(s).toDataURL()", selector)


@needs_browser
def test_a_click_shows_how_alike_all_patches_are(opened, photos):
    tab = opened()
    before = pixels(tab, ".photo .pair canvas:last-child"), pixels(tab, ".photo:last-child .strip canvas")
    canvas = tab.locator(".photo").first.locator("canvas").first
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 0.3, "y": box["height"] * 0.9})
    after = pixels(tab, ".photo .pair canvas:last-child"), pixels(tab, ".photo:last-child .strip canvas")
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert "row 3, column 2 of a/one" in tab.inner_text("#status")
    # At every stage and in both photos, it is the cosine of the features that are behind the pictures.
    for index, (stage, cell) in enumerate({"early": (10, 7), "late": (2, 1)}.items()):
        units = [unit(photo.maps[stage].reshape(len(photo.maps[stage]), -1).T) for photo in photos]
        query = units[0].reshape(*photos[0].maps[stage].shape[1:], -1)[cell]
        found = tab.evaluate("stage => likenessNow(stage).all.map((one) => Array.from(one))", index)
        for one, all_units in zip(found, units, strict=True):
            np.testing.assert_allclose(one, all_units @ query, atol=0.02)


@needs_browser
def test_the_keyboard_is_enough(opened):
    tab = opened()
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
    assert "early: 5 x 12 x 24, stride 4" in tab.inner_text("#stage-about")
    assert tab.locator("#tiles canvas").count() == 5


@needs_browser
def test_what_is_shown_can_be_downloaded(opened, tmp_path):
    from PIL import Image

    tab = opened()
    tab.get_by_role("radio", name="Activation").check()
    with tab.expect_download() as download:
        tab.click("#download")
    assert download.value.suggested_filename == "late-activation.png"
    download.value.save_as(tmp_path / "shown.png")
    with Image.open(tmp_path / "shown.png") as shown:
        assert shown.width > 1280 and len(shown.convert("RGB").getcolors(1 << 24)) > 100


@needs_browser
def test_it_fits_a_phone_and_follows_the_system(opened):
    tab = opened(width=390, scheme="dark")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = tab.evaluate(ground)
    tab.emulate_media(color_scheme="light")
    assert tab.evaluate(ground) != dark
