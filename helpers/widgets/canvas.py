"""Figures redrawn fast enough to follow a slider."""

import io
import struct
import zlib
from collections.abc import Hashable, Iterable
from contextlib import AbstractContextManager

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from helpers import plotting


def course_style() -> AbstractContextManager:
    """The course's style inside a block, whatever the notebook's is: also for titles."""
    return matplotlib.rc_context(plotting.STYLE)


class Canvas:
    """A figure whose axes are drawn once and whose moving artists are drawn on top each time.

    Drawing axes, ticks and labels takes most of a figure's time. So they are drawn once into
    a background, which is put back before each new picture ("blitting"). The figure is not
    pyplot's: nothing has to be closed, and no backend is chosen.
    """

    def __init__(self, width: float, height: float):
        with course_style():
            self.figure = Figure(figsize=(width, height), dpi=100)
        self._canvas = FigureCanvasAgg(self.figure)
        self._backgrounds = {}

    def subplots(self, rows: int = 1, columns: int = 1, **options) -> list[Axes]:
        """New axes, row by row."""
        with course_style():
            return list(self.figure.subplots(rows, columns, squeeze=False, **options).flat)

    def png(self, artists: Iterable[Artist], axes: Hashable = None) -> bytes:
        """The picture as PNG bytes: the background with `artists`, which are `animated`.

        `axes` names the state of the axes' limits and labels; there is one background for
        each state.
        """
        with course_style():
            if axes not in self._backgrounds:
                self._canvas.draw()  # leaves animated artists out
                self.figure.set_layout_engine("none")  # one layout for all backgrounds
                self._backgrounds[axes] = self._canvas.copy_from_bbox(self.figure.bbox)
            self._canvas.restore_region(self._backgrounds[axes])
            for artist in artists:
                artist.draw(self._canvas.renderer)
        return encode_png(np.asarray(self._canvas.buffer_rgba())[..., :3])


def encode_png(pixels: np.ndarray) -> bytes:
    """A PNG file of `pixels` uint8 (height, width, 3), quickly.

    Of PNG's filters the one that subtracts the row above suits plots, whose rows repeat.
    Libraries try all five on each row, which takes several times as long as the rest.
    """
    height, width, _ = pixels.shape
    rows = pixels.reshape(height, 3 * width)
    filtered = np.full((height, 1 + 3 * width), 2, np.uint8)  # each row begins with its filter
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(filtered, 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def shrink(png: bytes) -> bytes:
    """The same picture with 128 colours and in fewer bytes, for a file that keeps it."""
    file = io.BytesIO()
    Image.open(io.BytesIO(png)).quantize(128).save(file, "png", optimize=True)
    return file.getvalue()
