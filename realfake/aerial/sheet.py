"""One picture to look at: scenes of every domain, a row each, with their boxes."""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageDraw

from realfake.aerial.domains import DOMAINS
from realfake.generators.procedural import Scene, render

LINE, TEXT, GUTTER = (255, 240, 0), (255, 255, 255), 6


def contact_sheet(
    path: Path | str,
    domains: Iterable[str] = tuple(DOMAINS),
    *,
    columns: int = 4,
    seed: int = 0,
    pixels: int = 256,
    gap: float = 0.0,
    boxes: bool = True,
) -> None:
    """Write a PNG of the first ``columns`` scenes of each domain, one row a domain, with boxes unless told not to."""
    names = list(domains)
    step = pixels + GUTTER
    sheet = Image.new("RGB", (columns * step + GUTTER, len(names) * (step + 12) + GUTTER), (24, 24, 24))
    for row, name in enumerate(names):
        top = row * (step + 12) + GUTTER
        ImageDraw.Draw(sheet).text((GUTTER, top), f"{name}: stands for {DOMAINS[name].stands_for}", fill=TEXT)
        for column in range(columns):
            scene = render(name, column, seed, pixels=pixels, gap=gap)
            image = _boxed(scene) if boxes else Image.fromarray(scene.image)
            sheet.paste(image, (column * step + GUTTER, top + 12))
    sheet.save(path)


def _boxed(scene: Scene) -> Image.Image:
    """Return the image with a one-pixel frame just outside every box."""
    image = Image.fromarray(scene.image)
    brush = ImageDraw.Draw(image)
    for x, y, width, height in scene.boxes.tolist():
        brush.rectangle((x - 1, y - 1, x + width, y + height), outline=LINE)
    return image
