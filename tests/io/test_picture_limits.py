"""Which formats are opened at all, and how large a picture may be."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from memory import asks_at_most
from PIL import Image

from msdkit.errors import ConfigError, DataError
from msdkit.io.pictures import MAX_PIXELS, allow_pixels, max_pixels, open_picture
from msdkit.processors.image import Patches


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_PIXELS, "")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


def saved(kind: str) -> Callable[[Path], object]:
    return lambda path: Image.new("RGB", (4, 4), "red").save(path, kind)


REFUSED = {
    "eps": saved("EPS"),  # PIL would call Ghostscript
    "tga": saved("TGA"),
    "pcx": saved("PCX"),
    "ico": saved("ICO"),
    "pdf": saved("PDF"),
    "wmf": lambda path: path.write_bytes(b"\xd7\xcd\xc6\x9a\0\0" + bytes(60)),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_people_do_not_keep_pictures_in_is_refused_by_any_name(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[object] = []
    monkeypatch.setattr("subprocess.Popen", called.append)
    monkeypatch.setattr("subprocess.check_call", called.append)
    REFUSED[kind](tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x\.png: in none of the formats .*JPEG.*PNG"):
        open_picture(tmp_path / "x.png")
    assert not called


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF"])
def test_what_people_keep_pictures_in_is_opened_by_any_name(tmp_path: Path, kind: str) -> None:
    saved(kind)(tmp_path / "x.dat")
    red, green, blue = open_picture(tmp_path / "x.dat").getpixel((1, 1))
    assert red > 250
    assert green < 5
    assert blue < 5


def claiming(path: Path, width: int, height: int) -> Path:
    """A PNG of a few bytes that says it is large."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(100))),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


@pytest.mark.parametrize("size", [(8001, 8000), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_a_picture_that_claims_to_be_huge_is_not_decoded(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path = claiming(tmp_path / "x.png", *size)
    message = r"x\.png: it has more than 64,000,000 pixels; make it smaller, or raise max_pixels"
    with asks_at_most(1 << 22), pytest.raises(DataError, match=message):
        open_picture(path)


def test_the_limit_may_be_lowered_and_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(tmp_path / "x.png")
    allow_pixels(99)
    with pytest.raises(DataError, match="more than 99 pixels"):
        Patches(size=8, patch=4)(tmp_path / "x.png")
    allow_pixels(100)
    assert Patches(size=8, patch=4)(tmp_path / "x.png").shape == (4, 48)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # PIL refuses twice its limit
    assert open_picture(tmp_path / "x.png").size == (10, 10)


@pytest.mark.parametrize("given", ["0", "-5", "many", "1e6"])
def test_a_limit_that_is_none(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(MAX_PIXELS, given)
    with pytest.raises(ConfigError, match=rf"MSDKIT_MAX_PIXELS={given}: expected a whole number"):
        max_pixels()
