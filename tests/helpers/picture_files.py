"""Pictures in the formats that PIL reads and does not write, by the words of their standards."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def tiff(path: Path, data: bytes, width: int, height: int, tags: Mapping[int, int]) -> Path:
    """An uncompressed grey TIFF 6.0, little-endian, in one strip; tags of one number each."""
    usual = {256: width, 257: height, 259: 1, 262: 1, 277: 1, 278: height, 279: len(data)}
    entries = {**usual, 273: 8 + 2 + 12 * len({273, *usual, *tags}) + 4, **tags}
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    body = b"".join(struct.pack("<HHII", n, 4, 1, v) for n, v in sorted(entries.items()))
    path.write_bytes(head + body + bytes(4) + data)
    return path


def packed_12(values: Sequence[int]) -> bytes:
    """Two numbers of 12 bits in three bytes, the high bits first."""
    pairs = zip(values[::2], values[1::2], strict=True)
    return b"".join((a << 12 | b).to_bytes(3, "big") for a, b in pairs)


def png(path: Path, samples: np.ndarray, colour: int, clear: bytes = b"") -> Path:
    """A PNG of 16 bits a sample [H, W(, channels)]; clear: the content of its tRNS."""
    height, width = samples.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in samples)
    parts = [(b"IHDR", head), (b"tRNS", clear), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in parts
            if data or name != b"tRNS"
        )
    )
    return path


def pgm(path: Path, values: np.ndarray, most: int) -> Path:
    """A PGM of two bytes a sample [H, W]."""
    height, width = values.shape
    path.write_bytes(f"P5\n{width} {height}\n{most}\n".encode() + values.astype(">u2").tobytes())
    return path
