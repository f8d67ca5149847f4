"""One opener: every way in which a file holds a picture comes out as the same 8-bit colour."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import picture_files
import pytest
from PIL import Image, ImageCms

from msdkit.errors import DataError
from msdkit.io.pictures import open_picture

LEVELS = [0, 64, 128, 255]
DEEP = np.array([[0, 16448, 32896, 65535]], np.uint16)  # 257 · LEVELS
TWELVE = np.array([[0, 1028, 2056, 4095]], np.uint16)  # 16.06 · LEVELS
UNIT = np.array([[0, 64 / 255, 128 / 255, 1]], np.float32)


def save(values: np.ndarray, **given: Any) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        Image.fromarray(values).save(path, **given)
        return path

    return write


def of_12_bits(path: Path) -> Path:
    data = picture_files.packed_12(TWELVE[0].tolist())
    return picture_files.tiff(path, data, 4, 1, {258: 12})


def white_is_zero(path: Path) -> Path:
    data = (65535 - DEEP).astype("<u2").tobytes()
    return picture_files.tiff(path, data, 4, 1, {258: 16, 262: 0})


def big_endian(path: Path) -> Path:
    Image.frombytes("I;16B", (4, 1), DEEP.astype(">u2").tobytes()).save(path)
    return path


GREY = {
    "png": ("x.png", save(DEEP)),
    "tiff": ("x.tif", save(DEEP)),
    "compressed tiff": ("x.tif", save(DEEP, compression="tiff_lzw")),
    "big-endian tiff": ("x.tif", big_endian),
    "tiff of 12 bits": ("x.tif", of_12_bits),
    "tiff of 12 in 16 bits": ("x.tif", save(TWELVE, tiffinfo={281: 4095})),
    "tiff whose brightest is a statistic": ("x.tif", save(DEEP, tiffinfo={281: 40000})),
    "tiff of 32 bits": ("x.tif", save(DEEP.astype(np.int32), tiffinfo={281: 65535})),
    "tiff where white is zero": ("x.tif", white_is_zero),
    "tiff of floats": ("x.tif", save(UNIT)),
    "pgm": ("x.pgm", lambda path: picture_files.pgm(path, DEEP, 65535)),
    "pgm of 12 bits": ("x.pgm", lambda path: picture_files.pgm(path, TWELVE, 4095)),
    "jpeg 2000": ("x.jp2", save(DEEP)),
    "8 bits": ("x.png", save(np.array([LEVELS], np.uint8))),
}


@pytest.mark.parametrize("kind", GREY)
def test_grey_of_any_depth_keeps_its_brightness(tmp_path: Path, kind: str) -> None:
    name, write = GREY[kind]
    picture = open_picture(write(tmp_path / name))
    assert picture.mode == "RGB"
    assert np.asarray(picture)[0].tolist() == [[level] * 3 for level in LEVELS]


def test_brightness_is_not_stretched_to_what_occurs(tmp_path: Path) -> None:
    save(np.full((2, 2), 257, np.uint16))(tmp_path / "dark.png")
    assert open_picture(tmp_path / "dark.png").getpixel((0, 0)) == (1, 1, 1)


def test_colour_of_16_bits_keeps_its_high_bits(tmp_path: Path) -> None:
    colours = np.array([[[65535, 16448, 0], [0x1234, 0x5678, 0x9ABC]]])
    path = picture_files.png(tmp_path / "x.png", colours, 2)
    assert np.asarray(open_picture(path))[0].tolist() == [[255, 64, 0], [0x12, 0x56, 0x9A]]
    clear = struct.pack(">HHH", *colours[0, 1])
    path = picture_files.png(tmp_path / "clear.png", colours, 2, clear)
    assert np.asarray(open_picture(path))[0].tolist() == [[255, 64, 0], [255, 255, 255]]


def test_clear_becomes_white(tmp_path: Path) -> None:
    red = [[[255, 0, 0, 0], [255, 0, 0, 51]]]  # 51: a fifth of red on white
    half = [[255, 255, 255], [255, 204, 204]]
    rgba = Image.fromarray(np.array(red, np.uint8))
    grey = Image.fromarray(np.array([[[0, 0], [0, 51]]], np.uint8), "LA")
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putdata([0, 1])
    deep = np.array([[0, 51 * 257]], np.uint16)
    write: dict[str, tuple[Callable[[Path], Any], list[list[int]]]] = {
        "rgba.png": (rgba.save, half),
        "rgba.webp": (lambda path: rgba.save(path, lossless=True, exact=True), half),
        "rgba.tif": (rgba.save, half),
        "grey.png": (grey.save, [[255] * 3, [204] * 3]),
        "grey.tif": (grey.save, [[255] * 3, [204] * 3]),
        "index.png": (lambda p: palette.save(p, transparency=0), [[255] * 3, [0, 0, 255]]),
        "shares.png": (
            lambda p: palette.save(p, transparency=b"\xcc\0"),
            [[255, 51, 51], [255] * 3],
        ),
        "first.gif": (lambda p: palette.save(p, transparency=0), [[255] * 3, [0, 0, 255]]),
        "deep.png": (save(deep, transparency=0), [[255] * 3, [51] * 3]),
    }
    for name, (write_to, expected) in write.items():
        write_to(tmp_path / name)
        assert np.asarray(open_picture(tmp_path / name))[0].tolist() == expected, name


def test_premultiplied_grey_is_laid_on_white(tmp_path: Path) -> None:
    tags = {258: 8, 277: 2, 338: 1}  # a fifth of black and a fifth of white, each times its alpha
    path = picture_files.tiff(tmp_path / "x.tif", bytes([0, 51, 51, 51]), 2, 1, tags)
    assert np.asarray(open_picture(path))[0].tolist() == [[204] * 3, [255] * 3]


def test_other_colours_become_rgb(tmp_path: Path) -> None:
    orange = Image.new("RGB", (16, 16), (255, 128, 0))
    orange.convert("CMYK").save(tmp_path / "ink.jpg", quality=100)  # inverted, as Adobe does
    orange.convert("CMYK").save(tmp_path / "ink.tif")
    orange.convert("YCbCr").save(tmp_path / "luma.tif")
    space = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")  # rounds a* and b*
    ImageCms.profileToProfile(orange, space[1], space[0], outputMode="LAB").save(tmp_path / "l.tif")
    orange.quantize().save(tmp_path / "colours.gif")
    for name in ("ink.jpg", "ink.tif", "luma.tif", "l.tif", "colours.gif"):
        found = open_picture(tmp_path / name).getpixel((8, 8))
        assert np.abs(np.subtract(found, (255, 128, 0))).max() <= (8 if name == "l.tif" else 2), (
            name,
            found,
        )
    Image.new("1", (2, 1), 1).save(tmp_path / "bit.png")
    assert open_picture(tmp_path / "bit.png").getpixel((0, 0)) == (255, 255, 255)


def test_the_first_of_several_frames(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for name in ("x.gif", "x.tif", "x.png", "x.webp"):
        given = {"lossless": True} if name.endswith("webp") else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **given)
        assert open_picture(tmp_path / name).getpixel((1, 1)) == (255, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(tmp_path: Path, orientation: int) -> None:
    """EXIF 2.32, tag Orientation: on which side the first row and the first column lie."""
    values = np.array([[0, 50, 100], [150, 200, 250]], np.uint8)
    turned = {
        1: values,
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.T,
        6: np.rot90(values, -1),
        7: values[::-1, ::-1].T,
        8: np.rot90(values),
    }[orientation]
    deep, colour = values.astype(np.uint16) * 257, np.repeat(values[..., None], 3, 2)
    for name, pixels in {"l": values, "i16": deep, "rgb": colour}.items():
        for suffix in (".png", ".tif"):
            exif = Image.Exif()
            exif[0x0112] = orientation
            path = tmp_path / f"{name}{suffix}"
            Image.fromarray(pixels).save(path, exif=exif)
            assert np.asarray(open_picture(path))[..., 0].tolist() == turned.tolist(), path.name


def test_damaged_exif_leaves_the_picture_as_it_lies(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "x.png", exif=b"Exif\0\0garbage")
    assert open_picture(tmp_path / "x.png").size == (3, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, 300]], np.int32), "32-bit whole numbers, or numbers with a sign, without a"),
        (np.array([[0.0, 255.0]], np.float32), r"from 0\.0 to 255\.0; accepted: 0 to 1\.0$"),
        (np.array([[-0.5, 1.0]], np.float32), r"from -0\.5 to 1\.0"),
        (np.array([[np.nan, 1.0]], np.float32), "from nan to nan"),
    ],
)
def test_a_range_that_nothing_states_is_not_guessed(
    tmp_path: Path, values: np.ndarray, message: str
) -> None:
    path = save(values)(tmp_path / "x.tif")
    with pytest.raises(DataError, match=rf"cannot read the picture .*x\.tif: .*{message}"):
        open_picture(path)


def test_values_beyond_the_stated_range_are_an_error(tmp_path: Path) -> None:
    path = save(DEEP, tiffinfo={281: 4095})(tmp_path / "x.tif")
    with pytest.raises(
        DataError, match=r"x\.tif: its values run from 0 to 65535; accepted: 0 to 40"
    ):
        open_picture(path)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("text")
    save(np.zeros((64, 64, 3), np.uint8))(tmp_path / "y.png")
    (tmp_path / "y.png").write_bytes((tmp_path / "y.png").read_bytes()[:60])
    (tmp_path / "z.png").mkdir()
    for name, message in {
        "x.png": "cannot read the picture .*: in none of the formats .*BMP, GIF, JPEG, .*WEBP$",
        "y.png": r"cannot read the picture .*y\.png: ",
        "z.png": r"z\.png is a folder; accepted: the file of one picture$",
        "none.png": r"cannot read the picture .*none\.png: .*No such file",
    }.items():
        with pytest.raises(DataError, match=message):
            open_picture(tmp_path / name)
