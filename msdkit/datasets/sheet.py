"""Cards of examples (picture, text, label) drawn on one sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msdkit.io.files import whole
from msdkit.io.owned import check_replaceable
from msdkit.io.pictures import open_picture

Card = tuple[Mapping[str, Any], str]  # raw modalities, label in words
WIDTH, PICTURE, PAD, GAP, LINE = 320, 208, 24, 20, 27
_LINES, _LINES_ALONE = 3, 9  # of text below a picture, and on a card without one
_PAPER, _CARD, _EDGE, _INK = "#f4f5f7", "#ffffff", "#dfe3e8", "#1f2933"
_COLOURS = ("#0072b2", "#b35c00", "#00795a", "#a3476f", "#5b5b9f", "#8a6d00", "#3a7ca5", "#9c3d3d")


def check_sheet(path: Path) -> None:
    """ConfigError for a file that is there and is no sheet of ours."""
    check_replaceable(path, b"Software\0msdkit", "--sheet")


def draw_sheet(
    cards: Sequence[Card], kinds: Mapping[str, str], labels: Sequence[str], path: Path, columns: int
) -> Path:
    """Write the cards as a PNG, row by row; each class has its colour."""
    from PIL import Image, ImageDraw

    check_sheet(path)
    pictured = "image" in kinds.values()
    height = _card_height(pictured)
    columns = max(1, min(columns, len(cards)))
    rows = -(-len(cards) // columns)
    size = (GAP + columns * (WIDTH + GAP), GAP + rows * (height + GAP))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (raw, label) in enumerate(cards):
        left = GAP + index % columns * (WIDTH + GAP)
        top = GAP + index // columns * (height + GAP)
        box = (left, top, left + WIDTH, top + height)
        draw.rounded_rectangle(box, 12, fill=_CARD, outline=_EDGE, width=2)
        colour = _COLOURS[labels.index(label) % len(_COLOURS)] if label in labels else _INK
        _draw_card(sheet, draw, (left, top), raw, kinds, label, colour)
    _save(sheet, path)
    return path


def _card_height(pictured: bool) -> int:
    body = PICTURE + PAD + _LINES * LINE if pictured else _LINES_ALONE * LINE
    return PAD + body + PAD + 34 + PAD


def _draw_card(
    sheet: Any,
    draw: Any,
    corner: tuple[int, int],
    raw: Mapping[str, Any],
    kinds: Mapping[str, str],
    label: str,
    colour: str,
) -> None:
    left, top = corner[0] + PAD, corner[1] + PAD
    inner = WIDTH - 2 * PAD
    images = [raw[name] for name, kind in kinds.items() if kind == "image"]
    room = _LINES_ALONE
    if images:
        picture = _picture(images[0])
        offset = ((inner - picture.width) // 2, (PICTURE - picture.height) // 2)
        sheet.paste(picture, (left + offset[0], top + offset[1]))
        top, room = top + PICTURE + PAD, _LINES
    for line in _wrap(_words(raw, kinds), inner, room):
        draw.text((left, top), line, fill=_INK, font=_font(20))
        top += LINE
    bottom = corner[1] + _card_height(bool(images)) - PAD
    _pill(draw, (left, bottom - 34), label, colour, inner)


def _words(raw: Mapping[str, Any], kinds: Mapping[str, str]) -> str:
    """Texts as they are; of anything but text and pictures, what it is."""
    parts = []
    for name, kind in kinds.items():
        if kind == "text":
            parts.append(raw[name])
        elif kind == "array":
            parts.append(f"{name}: {raw[name].dtype} {list(raw[name].shape)}")
        elif kind == "features":
            parts.append(f"{name}: {raw[name]}")
    return "\n".join(parts)


def _wrap(text: str, width: int, lines: int) -> list[str]:
    """The text in at most so many lines of `width` pixels; a cut text ends in an ellipsis."""
    font, wrapped = _font(20), []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            joined = f"{line} {word}".strip()
            if line and font.getlength(joined) > width:
                wrapped.append(line)
                joined = word
            line = joined
        wrapped.append(line)
    cut = len(wrapped) > lines
    wrapped = wrapped[:lines]
    last = len(wrapped) - 1
    return [_fit(line, width, 20, cut and i == last) for i, line in enumerate(wrapped)]


def _fit(line: str, width: int, size: int, cut: bool = False) -> str:
    font = _font(size)
    while line and font.getlength(line + "…" * cut) > width:
        line, cut = line[:-1], True
    return line.rstrip() + "…" * cut


def _pill(draw: Any, corner: tuple[int, int], label: str, colour: str, width: int) -> None:
    text = _fit(label, width - 28, 18)
    right = corner[0] + 28 + _font(18).getlength(text)
    draw.rounded_rectangle((*corner, right, corner[1] + 34), 17, fill=colour)
    draw.text((corner[0] + 14, corner[1] + 17), text, fill="#ffffff", font=_font(18), anchor="lm")


def _picture(path: str) -> Any:
    from PIL import Image

    picture = open_picture(path)
    scale = PICTURE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _save(sheet: Any, path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    about = PngInfo()
    about.add_text("Software", "msdkit")
    with whole(path) as partial:
        sheet.save(partial, "PNG", pnginfo=about)
