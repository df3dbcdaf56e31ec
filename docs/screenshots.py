"""Takes the screenshots of every page: `make screenshots`.

Starts the app on the cache in use, opens each page in Chromium, light and dark and at the
width of a phone, and writes docs/screenshots/PAGE-THEME.png.
"""

from __future__ import annotations

import io
import os
import shutil
import sys

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from docs.app import FLAGS, ROOT, served, settled

TO = ROOT / "docs" / "screenshots"
# Page -> the query of its address; on Inspect, samples that show something.
PAGES = {
    "overview": "",
    "inspect": "inspect?benchmark=reading&sample=1",
    "inspect-settings": "inspect?benchmark=spatial&sample=2&k=8&kernel=matern&step=4",
    "inspect-scene": "inspect?source=Build+a+scene",
    "inspect-upload": "inspect?source=Upload",
    "shift": "shift",
    "flips": "flips",
    "results": "results",
    "compare": "compare",
    "compare-amortised": "compare?compare-view=Exact+or+amortised",
    "inspect-amortised": "inspect?benchmark=reading&sample=3&view=Exact+or+amortised",
    "references": "references",
    "runs": "runs?performance=true",
}
VIEWS = {"light": (1280, "light"), "dark": (1280, "dark"), "phone": (390, "light")}


def shoot(page: Page, address: str, name: str, width: int) -> bytes:
    """A page, whole, once nothing on it moves any more."""
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(address)
    page.locator("h1").wait_for()
    settled(page, 2000)
    if name == "inspect-settings":
        page.get_by_text("Settings", exact=True).click()
    if name == "inspect-scene":
        question = page.get_by_label("Question")
        question.fill("what color is the ball?")
        question.press("Enter")
        page.locator(".r2-answer").nth(3).wait_for()
    if name == "inspect-upload":
        page.get_by_text("No picture at hand?").click()
    settled(page, 2000)
    main = page.locator("[data-testid=stMain]")
    height = main.evaluate("element => element.scrollHeight")
    page.set_viewport_size({"width": width, "height": height})
    settled(page, 2000)
    return page.screenshot()


def small(picture: bytes) -> Image.Image:
    """With 256 colours: the page's own flat ones as they are, the scenes' shades near them."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    frequent = [c for _, c in sorted(image.getcolors(image.width * image.height), reverse=True)]
    flat = np.array(frequent[:128], np.uint8)
    pixels = np.asarray(image)
    code = np.array([65536, 256, 1])
    shades = pixels[~np.isin(pixels @ code, flat @ code)]
    others = Image.fromarray(shades[None]).quantize(128, Image.Quantize.FASTOCTREE)
    palette = Image.new("P", (1, 1))
    palette.putpalette(flat.flatten().tolist() + (others.getpalette() or []))
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


def main() -> None:
    """Take them all; the model's name may be given, e.g. mini-1."""
    model = f"&model={sys.argv[1]}" if len(sys.argv) > 1 else ""
    TO.mkdir(parents=True, exist_ok=True)
    with served(os.environ) as (address, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(FLAGS)
        )
        for name, path in PAGES.items():
            for view, (width, scheme) in VIEWS.items():
                context = browser.new_context(color_scheme=scheme)
                page = context.new_page()
                page.set_default_timeout(120_000)
                query = path if "?" in path else f"{path}?"
                picture = shoot(page, f"{address}/{query}{model}", name, width)
                context.close()
                small(picture).save(TO / f"{name}-{view}.png", optimize=True)
                print(f"{name}-{view}.png")
        browser.close()


if __name__ == "__main__":
    main()
