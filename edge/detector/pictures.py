"""PNG files: the images that are kept, and heat maps.

Written here and not by Pillow because zlib, called with all of an image at once, does not hold up the other threads meanwhile.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.detector.sources.base import Pixels

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FASTEST = 1
_UP = 2
"""The filter of a PNG's rows that takes from each byte the one above: it helps with photographs, and numpy does it at once."""

_MOST_HEAT_PIXELS = 128
"""Longer side of a heat map; what it shows is coarser than that."""

_COLOURS = np.array([[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]], np.float32)
"""From cold to hot: few steps of a scale that is read the same way without colours."""


def png(image: Pixels) -> bytes:
    """An image as a PNG file, without loss.

    Args:
        image: uint8 of shape (height, width, 3).
    """
    height, width = image.shape[:2]
    rows = np.empty((height, 1 + width * 3), np.uint8)
    rows[:, 0] = _UP
    flat = image.reshape(height, width * 3)
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = zlib.compress(rows.data, _FASTEST)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")


def heat_map(scores: NDArray[np.float32], threshold: float) -> bytes:
    """A map of scores as a small picture: black where there is nothing, orange at the threshold, pale from twice as much on.

    Args:
        scores: Shape (height, width).
        threshold: A score above it rejects a part.

    Returns:
        A PNG file.
    """
    scale = 2 * threshold if threshold > 0 else max(float(scores.max()), 1e-9)
    heat = np.clip(np.nan_to_num(scores.astype(np.float32), nan=scale, posinf=scale, neginf=0) / scale, 0, 1)
    height, width = heat.shape
    shrink = max(height, width) / _MOST_HEAT_PIXELS
    if shrink > 1:
        size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        heat = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
    place = np.linspace(0, 1, len(_COLOURS))
    return png(np.stack([np.interp(heat, place, _COLOURS[:, channel]) for channel in range(3)], axis=-1).astype(np.uint8))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
