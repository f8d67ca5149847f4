"""Pictures as everything here sees them: upright, in 8-bit colour, on white."""

from __future__ import annotations

import io
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from msdkit.errors import ConfigError, DataError

# how the names of pictures end, where a folder is searched for them
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2", ".pgm", ".ppm"}
)
# What people keep pictures in, and PIL decodes by itself: for EPS it calls Ghostscript. MPO: phones
# write several JPEGs into one file
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS, LIMIT = "MSDKIT_MAX_PIXELS", 64_000_000  # of which 250 to 500 MB of memory are taken
BITS, PHOTOMETRIC, MOST = 258, 262, 281  # TIFF's BitsPerSample, its colours and MaxSampleValue
WHITE_IS_ZERO = 0


def open_picture(path: str | Path) -> Any:
    """The picture of a file as a PIL image in RGB, 8 bits a channel, upright as its EXIF says.

    The first of several frames. What is transparent becomes white; colour profiles are ignored.
    Grey of more than 8 bits is scaled from the range that the format states, not from the values
    that occur: 0 to 2^bits − 1, floats 0 to 1. TIFF's MaxSampleValue counts as a range where it is
    one less than a power of two (12 bits in 16: 4095), and else as the statistic that it is by the
    standard. 32-bit whole numbers and those with a sign need it.

    Raises DataError, which names the file, if it is a folder, no picture in one of `FORMATS`,
    damaged, beyond its range, or larger than `max_pixels()`, which is told before it is decoded.
    """
    from PIL import Image, UnidentifiedImageError

    if Path(path).is_dir():
        raise DataError(f"{path} is a folder; accepted: the file of one picture")
    try:
        with _Bounded(io.FileIO(path)) as stream, _opened(stream) as file:
            if file.width * file.height > max_pixels():
                raise Image.DecompressionBombError
            file.load()
            return _rgb(file)
    except Image.DecompressionBombError as error:
        raise DataError(
            f"cannot read the picture {path}: it has more than {max_pixels():,} pixels; make it "
            f"smaller, or raise max_pixels in the config ({MAX_PIXELS} where there is none)"
        ) from error
    except UnidentifiedImageError as error:  # its own words hold the stream
        raise DataError(
            f"cannot read the picture {path}: in none of the formats {', '.join(_formats())}"
        ) from error
    except Exception as error:  # PIL's decoders raise OSError, SyntaxError, struct.error and others
        raise DataError(f"cannot read the picture {path}: {error}") from error


def max_pixels() -> int:
    """How many pixels a picture may have: `$MSDKIT_MAX_PIXELS`, else 64 million."""
    given = os.environ.get(MAX_PIXELS) or str(LIMIT)
    if not given.isdecimal() or not int(given):
        raise ConfigError(f"{MAX_PIXELS}={given}: expected a whole number from 1")
    return int(given)


def allow_pixels(most: int) -> None:
    """Set the limit of this process and of those that it starts."""
    os.environ[MAX_PIXELS] = str(most)


class _Bounded(io.BufferedReader):
    """A file that makes room for no more bytes than it has, whatever is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        """At most what is left."""
        if size is not None and size > 0:
            size = min(size, max(os.fstat(self.fileno()).st_size - self.tell(), 0))
        return super().read(size)


@cache
def _formats() -> list[str]:
    """Those of `FORMATS` that the installed PIL can read."""
    from PIL import Image

    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _opened(stream: Any) -> Any:
    """A picture that is not decoded yet.

    From a stream: of a file that it opens itself PIL maps what is not compressed, and mixes up the
    rows of a grey TIFF that lies on its side (findings/pillow-mixes-rows-of-turned-tiffs.sh).
    """
    from PIL import Image

    if Image.MAX_IMAGE_PIXELS is not None:  # PIL's own limit
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels())
    return Image.open(stream, formats=_formats())


def _rgb(file: Any) -> Any:
    from PIL import Image

    picture = _upright(file)
    if file.mode[0] in "IF":  # I, I;16, I;16B, F
        return Image.fromarray(_grey(np.asarray(picture), file)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    clear = picture.info.get("transparency")
    if isinstance(clear, tuple) and max(clear) > 255:  # of 16 bits, where PIL kept 8
        picture.info["transparency"] = tuple(value >> 8 for value in clear)
    picture = picture.convert("LA" if picture.mode == "La" else "RGBA").convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _upright(file: Any) -> Any:
    """Turned as its EXIF says; as it lies where that is damaged."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(file)
    except Exception:  # the pixels were read before
        return file.copy()


def _grey(values: np.ndarray, file: Any) -> np.ndarray:
    """[H, W] of more than 8 bits -> uint8 [H, W]; ValueError where values leave their range"""
    top, low, high = _top(file), values.min(), values.max()
    if not (low >= 0 and high <= top):
        raise ValueError(f"its values run from {low} to {high}; accepted: 0 to {top}")
    grey = np.rint(values.astype(np.float32) * np.float32(255 / top)).astype(np.uint8)
    if _tags(file).get(PHOTOMETRIC) == WHITE_IS_ZERO:  # PIL inverts 8 bits alone
        grey = 255 - grey
    if "transparency" in file.info:
        grey[values == file.info["transparency"]] = 255
    return grey


def _top(file: Any) -> float:
    """The value that stands for white; ValueError where nothing states it."""
    stated = int(np.ravel(_tags(file).get(MOST, 0))[0])
    if stated > 255 and (stated & (stated + 1)) == 0:
        return stated
    if file.mode == "F":
        return 1.0
    if file.mode == "I" and file.format not in ("PNG", "PPM"):  # these hold 16 bits
        raise ValueError(
            "32-bit whole numbers, or numbers with a sign, without a range; accepted: 8 to 16 bits "
            "without sign, floats from 0 to 1, or a TIFF with MaxSampleValue 2^bits - 1"
        )
    return 2 ** int(np.ravel(_tags(file).get(BITS, 16))[0]) - 1


def _tags(file: Any) -> Any:
    """The tags of a TIFF, by number."""
    return getattr(file, "tag_v2", {})
