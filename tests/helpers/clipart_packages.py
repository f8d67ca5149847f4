"""Tiny openclipart packages as `msdkit.hub.packages.package` leaves them, for tests."""

from __future__ import annotations

from pathlib import Path

COLOURS = {"navy": 0, "ruby": 1, "amber": 2, "jade": 3, "teal": 4, "plum": 5, "sand": 6, "coal": 7}
THINGS = {  # title's noun: (folder, tags)
    "dog": ("animals", ("animal", "mammal")),
    "pigeon": ("animals/birds", ("animal", "birds")),
    "banner": ("signs_and_symbols/flags", ("flag", "Europe", "sign")),
    "apple": ("food/fruit", ("food", "fruit")),
    "lorry": ("transportation", ("vehicles", "unsorted")),
}
RDF = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg"><title>no title of ours</title>
<metadata><rdf:RDF><cc:Work rdf:about="">
<dc:title>{title}</dc:title><dc:description>{description}</dc:description>
<dc:subject><rdf:Bag>{tags}</rdf:Bag></dc:subject>
<dc:publisher><cc:Agent><dc:title>Open Clip Art Library</dc:title></cc:Agent></dc:publisher>
<dc:creator><cc:Agent><dc:title>{author}</dc:title></cc:Agent></dc:creator>
</cc:Work></rdf:RDF></metadata><path d="</svg>
"""


def write_fake_clipart(cache: Path) -> None:
    """Every thing in every colour, each pair by an author of its own, and what is left out: equal,
    blank and untagged pictures, stars, and an SVG whose PNG Debian stores as a link."""
    for place, (noun, (folder, tags)) in enumerate(THINGS.items()):
        for colour, tone in COLOURS.items():
            name, said = f"{folder}/{noun}_{colour}", f"A {noun}."
            write_svg(cache, name, f"{colour} {noun}", tags, f"Author {colour} {noun}", said)
            write_png(cache, name, 3 + place, tone)
    write_svg(cache, "animals/again", "Same dog", ("animal",), "Zoe")
    write_png(cache, "animals/again", 3, 0)
    write_svg(cache, "animals/blank", "Blank dog", ("animal",), "Zoe")
    write_png(cache, "animals/blank", 0, 0)
    write_svg(cache, "unsorted/untagged", "Untagged", (), "Zoe")
    write_png(cache, "unsorted/untagged", 9, 0)
    write_svg(cache, "shapes/stars/star", "gramastar", ("shapes",), "Zoe")
    write_png(cache, "shapes/stars/star", 10, 0)
    write_svg(cache, "animals/link", "A link", ("animal",), "Zoe")


def write_svg(
    cache: Path, name: str, title: str, tags: tuple[str, ...], author: str, description: str = ""
) -> Path:
    """One file of openclipart-svg; as many of the real ones, it is not well-formed."""
    path = svg_folder(cache) / f"{name}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    items = "".join(f"<rdf:li>{tag}</rdf:li>" for tag in tags)
    text = RDF.format(title=title, description=description, tags=items, author=author)
    path.write_text(text, encoding="utf-8")
    return path


def write_png(cache: Path, name: str, corners: int, tone: int) -> Path:
    """One file of openclipart-png: a polygon on nothing; without corners, nothing."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    if corners:
        fill = (30 * tone, 200 - 20 * tone, 40 + 25 * corners, 255)
        radius = 8 + tone
        ImageDraw.Draw(picture).regular_polygon((30, 20, radius), corners, rotation=9, fill=fill)
    path = png_folder(cache) / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def svg_folder(cache: Path) -> Path:
    """Where the package of drawings keeps them."""
    return cache / "packages/openclipart-svg-0.18+dfsg-19/usr/share/openclipart/svg"


def png_folder(cache: Path) -> Path:
    """Where the package of pictures keeps them."""
    return cache / "packages/openclipart-png-0.18+dfsg-19/usr/share/openclipart/png"
