"""A view that moves while a network trains."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from IPython.display import display, update_display
from torch import nn

from helpers import plotting
from helpers.diagnostics import ScalarRecorder, record_scalars
from helpers.training import Step
from helpers.widgets.canvas import Canvas, course_style
from helpers.widgets.panel import bundle, picture, still

DRAWING_SHARE = 0.03  # of the time since the start that may go into pictures
TEXT = "live view: loss, saturated fraction and update:data over steps"


class LiveView:
    """A picture of a run that redraws itself while it goes on; `scalars` holds its numbers."""

    def __init__(self, scalars: ScalarRecorder, steps: int):
        self.scalars = scalars
        self._picture = LivePicture(steps)
        self.image = picture(self._picture.draw(scalars))
        self._started = time.perf_counter()
        self._drawing = 0.0  # seconds
        self._latest = 0.01  # seconds for one picture, a guess at first

    def on_step(self, step: Step) -> None:
        """For `training.fit(..., on_step=live.on_step)`: measures, and draws if it is cheap."""
        if self.scalars.on_step(step):
            elapsed = time.perf_counter() - self._started
            if self._drawing + self._latest <= DRAWING_SHARE * elapsed:
                self.redraw()

    def redraw(self) -> None:
        """Show the run so far, now."""
        start = time.perf_counter()
        self.image.value = self._picture.draw(self.scalars)
        self._latest = time.perf_counter() - start
        self._drawing += self._latest


@contextmanager
def live_view(
    model: nn.Module, steps: int, every: int = 20, log_dir: str | None = None
) -> Iterator[LiveView]:
    """Shows loss, saturated fraction and log10 update:data of `model` while it trains.

        with live_view(model, steps) as live:
            fit(model, split, steps, generator=generator, on_step=live.on_step)

    Every `every`-th step is looked at. Pictures are drawn as often as a small share of the
    time allows, so a fast training is not slowed down; the last one stays, as a plain picture.
    With `log_dir` the numbers also go to TensorBoard (see `diagnostics.record_scalars`).
    """
    with record_scalars(model, every, log_dir) as scalars:
        live = LiveView(scalars, steps)
        identity = f"live-view-{live.image.model_id}"
        display(bundle(TEXT, live.image.value, live.image), raw=True, display_id=identity)
        try:
            yield live
        finally:
            live.redraw()
            update_display(still(TEXT, live.image.value), raw=True, display_id=identity)
            live.image.close()


class LivePicture:
    """Three quantities over steps, kept and redrawn: `draw(scalars)` returns PNG bytes."""

    _PANELS = (
        ("loss", "Loss (nats)", (1.5, 5.0)),
        ("saturated", "Saturated fraction", (0.0, 1.0)),
        ("update_ratio", "log10 update:data", (-5.0, 0.0)),
    )

    def __init__(self, steps: int):
        self._canvas = Canvas(10.2, 2.8)
        axes = self._canvas.subplots(1, 3)
        self._lines = []
        with course_style():
            for ax, (_, title, limits) in zip(axes, self._PANELS, strict=True):
                ax.set(title=title, xlabel="step", xlim=(0, steps), ylim=limits)
                (line,) = ax.plot([], [], color=plotting.BLUE, linewidth=1.5, animated=True)
                self._lines.append(line)
            axes[2].axhline(-3, color=plotting.INK, linestyle="--", linewidth=1)

    def draw(self, scalars: ScalarRecorder) -> bytes:
        for line, (name, _, (low, high)) in zip(self._lines, self._PANELS, strict=True):
            # What lies outside the axis is drawn at its edge, so that it is not lost.
            values = [min(max(value, low), high) for value in getattr(scalars, name)]
            line.set_data(scalars.steps, values)
        return self._canvas.png(self._lines)
