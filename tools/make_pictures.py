"""Generate docs/pictures from the photos and small models in the repository: `make pictures`.

The screenshots of the page need Chromium. The models have random weights; a trained model's maps show more.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from backbone_cli.cli import run

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs/pictures"
MAX_BYTES = 300_000
"""Larger pictures are reduced to a palette."""
PHOTOS = "fixtures/photos"
SWIN, RESNET, DINO = (f"fixtures/models/{name}-micro" for name in ("swin", "resnet", "dinov2"))


def backbone(*args: str | Path) -> None:
    if run(list(map(str, args))):
        raise SystemExit(f"backbone {' '.join(map(str, args))} failed")


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    hopper, harbour = f"{PHOTOS}/grace_hopper.jpg", f"{PHOTOS}/drawn/harbour.jpg"
    backbone("view", hopper, "-m", SWIN, "--out-indices", "0,2,3", "-o", PICTURES / "sheet.png")
    size = ("--image-size", "288x432")
    backbone(
        "view", harbour, "-m", RESNET, "--out-indices", "1,3", *size, "--theme", "light", "-o", PICTURES / "wide.png"
    )
    backbone("compare", SWIN, DINO, PHOTOS, "-o", PICTURES / "compare.png")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        backbone("view", PHOTOS, "-m", SWIN, "-o", page)
        take_screenshots(page.as_uri())
    for path in PICTURES.glob("*.png"):
        if path.stat().st_size > MAX_BYTES:
            with Image.open(path) as picture:
                small = picture.convert("RGB").quantize(256)
            small.save(path, optimize=True)


def take_screenshots(address: str) -> None:
    """The page on a desktop and on a phone, with a patch selected."""
    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        desktop = browser.new_page(viewport={"width": 1180, "height": 760}, color_scheme="light")
        select_patch(desktop, address, photo=0, stage="stage2", at=(0.42, 0.55))
        desktop.screenshot(path=PICTURES / "page.png")
        phone = browser.new_page(viewport={"width": 390, "height": 760}, color_scheme="dark")
        select_patch(phone, address, photo=2, stage="stage2", at=(0.48, 0.3))
        phone.locator(".photo").nth(2).scroll_into_view_if_needed()
        phone.screenshot(path=PICTURES / "phone.png")
        browser.close()


def select_patch(page: Page, address: str, photo: int, stage: str, at: tuple[float, float]) -> None:
    page.goto(address)
    page.get_by_role("radio", name=stage).check()
    canvas = page.locator(".photo").nth(photo).locator("canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    canvas.click(position={"x": at[0] * box["width"], "y": at[1] * box["height"]})
    page.mouse.move(0, 0)


if __name__ == "__main__":
    main()
