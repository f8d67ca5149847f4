"""Clip art of the Open Clip Art Library: what its authors wrote about it, and its pictures."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msdkit.errors import DataError
from msdkit.hub.packages import package
from msdkit.io.pictures import open_picture

PACKAGES = ("openclipart-png", "openclipart-svg")
PIXELS = 96
_INSIDE = "usr/share/openclipart"
_LARGEST = 2**24  # pixels: a few pictures are larger, and would take longer than all others
_SERIES = 8  # a title on more of an author's pictures names their series and no picture
_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_NOISE = re.compile(r"HASH\(0x\w*\)|https?://\S+|\S+@\S+\.\w+|^clipart by .*? - ", re.I)


@dataclass(frozen=True)
class Clip:
    """One picture and what its SVG's RDF says: `name` is its path without the suffix, `series` the
    title as written, `title` and `description` what is left of them for a reader."""

    name: str
    series: str
    title: str
    description: str
    author: str
    tags: tuple[str, ...]


def read_clips() -> list[Clip]:
    """Tagged pictures with a text, by name. Debian stores equal files as links, which `package`
    leaves out, so equal pictures come once; a parametric series of 1,378 stars is left out."""
    drawn = package("openclipart-png") / _INSIDE / "png"
    root = package("openclipart-svg") / _INSIDE / "svg"
    found = []
    for path in sorted(root.rglob("*.svg")):
        name = path.relative_to(root).with_suffix("").as_posix()
        if (drawn / f"{name}.png").is_file() and not name.startswith("shapes/stars/"):
            found.append(read_clip(path, name))
    if not found:
        raise DataError(f"{root} holds no SVG with a picture in {drawn}")
    return [clip for clip in _named_alone(found) if clip.tags and clip.title]


def read_clip(path: Path, name: str) -> Clip:
    """Read by patterns, not as XML: many files are not well-formed, and none can do harm."""
    text = path.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"<metadata.*?</metadata>", text, re.DOTALL)
    rdf = found[0] if found else ""
    work = re.split(r"<dc:(?:publisher|creator|rights|contributor)", rdf)[0]
    author = _element("title", _element("creator", rdf, plain=False))
    tags = re.findall(r"<rdf:li>(.*?)</rdf:li>", _element("subject", rdf, plain=False), re.DOTALL)
    title, description = _element("title", work), _element("description", rdf)
    lowered = {_plain(tag).lower() for tag in tags} - {""}
    return Clip(name, title, title, description, author, tuple(sorted(lowered)))


def _element(tag: str, text: str, plain: bool = True) -> str:
    found = re.search(rf"<dc:{tag}>(.*?)</dc:{tag}>", text, re.DOTALL)
    return "" if not found else _plain(found[1]) if plain else found[1]


def _plain(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<.*?>", " ", text)).split())


def _named_alone(clips: list[Clip]) -> Iterator[Clip]:
    """Titles without noise, and where they name a whole series or nothing, the file's name.
    Descriptions are kept where they are a picture's own."""
    titles = Counter((clip.author, clip.title) for clip in clips)
    descriptions = Counter(clip.description for clip in clips)
    for clip in clips:
        own = titles[clip.author, clip.title] <= _SERIES
        title = " ".join(_NOISE.sub("", clip.title).split()) if own else ""
        said = clip.description if descriptions[clip.description] <= _SERIES else ""
        said = " ".join(_NOISE.sub("", said).split())
        said = "" if said.lower() == title.lower() else said
        yield replace(clip, title=title or file_title(clip), description=said)


def file_title(clip: Clip) -> str:
    """The words of the file's name without the author's (which uploads carry, often cut off) and a
    number: `onelette_gerald_g._01` -> `onelette`."""
    stem, author = _slug(clip.name.rpartition("/")[2]), _slug(clip.author)
    stem = re.sub(r"_\d+[a-z]?$", "", stem)
    for length in range(len(author), 3, -1):
        stem = stem.removesuffix(f"_{author[:length]}".rstrip("_"))
    return stem.replace("_", " ")


def _slug(text: str) -> str:
    return re.sub(r"[\W_]+", "_", text.lower()).strip("_")


def draw(name: str) -> Any:
    """The picture on a white square of 96 x 96 pixels, without empty edges; None where there is
    nothing to see, or far too much."""
    from PIL import Image, ImageChops

    path = package("openclipart-png") / _INSIDE / "png" / f"{name}.png"
    if _size(path) > _LARGEST:
        return None
    picture = open_picture(path)
    box = ImageChops.invert(picture).getbbox()
    if box is None:
        return None
    picture = picture.crop(box)
    side = max(picture.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)


def _size(path: Path) -> int:
    """Pixels of a PNG, read from its head alone: a picture may be larger than memory."""
    with path.open("rb") as file:
        head = file.read(24)
    if len(head) < 24 or not head.startswith(_HEAD):
        raise DataError(f"{path} cannot be read: not a PNG")
    return int.from_bytes(head[16:20], "big") * int.from_bytes(head[20:24], "big")
