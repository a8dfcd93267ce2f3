"""One example among its batch: batchnorm ties every example to all the others."""

from dataclasses import dataclass

import ipywidgets
import torch
from matplotlib.collections import LineCollection

from helpers import plotting
from helpers.layers import BatchNorm1d
from helpers.widgets.canvas import Canvas, course_style
from helpers.widgets.panel import Panel, View, table

REACH = 6.0  # values and normalized values are shown from -REACH to REACH
MAX_BATCH = 32


@dataclass(frozen=True)
class BatchState:
    """One unit's values over a batch of n, and what batchnorm makes of them."""

    values: torch.Tensor  # (n,)
    normalized: torch.Tensor  # (n,)
    mean: float
    std: float  # biased (divided by n), the one that batchnorm normalizes with


def batch_explorer(
    values: torch.Tensor | None = None, batch_size: int = 8, seed: int = 2147483647
) -> Panel:
    """A panel in which one example's value is dragged and its batch mates move too.

    `values` (at least 2, of which at most 32 are used) are one unit's pre-activations; by
    default they are drawn from a standard normal. The first is the one that is dragged.

    Raises ValueError for fewer than two values.
    """
    if values is None:
        values = torch.randn(MAX_BATCH, generator=torch.Generator().manual_seed(seed))
    if len(values) < 2:
        raise ValueError(f"batch_explorer: a batch needs two values, got {len(values)}")
    values = values.detach()[:MAX_BATCH].float()
    picture = BatchPicture()

    def show(value: float, batch_size: int) -> View:
        before = measure_batch(values[:batch_size])
        now = measure_batch(torch.cat([torch.tensor([value]), values[1:batch_size]]))
        return View(picture.draw(before, now), _numbers(before, now), _summary(before, now))

    slim = ipywidgets.Layout(width="360px")
    start = round(min(max(values[0].item(), -REACH), REACH), 1)  # where the slider can stand
    controls = {
        "value": ipywidgets.FloatSlider(
            value=start, min=-REACH, max=REACH, step=0.1, description="value", layout=slim
        ),
        "batch_size": ipywidgets.IntSlider(
            value=batch_size, min=2, max=len(values), description="batch size", layout=slim
        ),
    }
    return Panel(controls, show)


def measure_batch(values: torch.Tensor) -> BatchState:
    """What batchnorm in training mode makes of one unit's values (n,)."""
    normalized = BatchNorm1d(1)(values[:, None]).detach()[:, 0]
    return BatchState(values, normalized, values.mean().item(), values.std(unbiased=False).item())


class BatchPicture:
    """Values on the left, normalized on the right, a line for each example."""

    def __init__(self):
        self._canvas = Canvas(6.4, 4.0)
        (ax,) = self._canvas.subplots()
        with course_style():
            ax.set(xlim=(-0.35, 1.15), ylim=(-REACH - 0.3, REACH + 0.3), ylabel="value of one unit")
            ax.set_xticks([0, 1], ["pre-activation", "normalized"])
            ax.grid(False, axis="x")
            ax.set_title("One value moves, and everybody's normalized value moves")
            before = LineCollection([], colors=plotting.GREY, alpha=0.5, linewidths=1)
            now = LineCollection([], linewidths=1.5)
            dots = ax.scatter([], [], s=22, zorder=3)
            (mean,) = ax.plot([], [], color=plotting.INK, linewidth=2)
            (spread,) = ax.plot([], [], color=plotting.INK, linewidth=6, alpha=0.25)
            text = ax.text(-0.33, 0, "", va="center", fontsize=9)
        for lines in (before, now):
            ax.add_collection(lines, autolim=False)
        self._artists = [before, now, dots, mean, spread, text]
        for artist in self._artists:
            artist.set_animated(True)

    def draw(self, before: BatchState, now: BatchState) -> bytes:
        lines_before, lines, dots, mean, spread, text = self._artists
        colours = [plotting.ORANGE] + [plotting.BLUE] * (len(now.values) - 1)
        lines_before.set_segments(_segments(before))
        segments = _segments(now)
        lines.set_segments(segments)
        lines.set_color(colours)
        dots.set_offsets([end for segment in segments for end in segment])
        dots.set_color([colour for colour in colours for _end in range(2)])
        mean.set_data([-0.08, 0.04], [now.mean, now.mean])
        spread.set_data([-0.05, -0.05], [now.mean - now.std, now.mean + now.std])
        text.set_text(f"mean {now.mean:.2f}\nstd {now.std:.2f}")
        text.set_y(now.mean)
        return self._canvas.png(self._artists)


def _segments(state: BatchState) -> list[list[tuple[float, float]]]:
    pairs = zip(state.values.tolist(), state.normalized.tolist(), strict=True)
    return [[(0, value), (1, normalized)] for value, normalized in pairs]


def _others_moved(before: BatchState, now: BatchState) -> float:
    """The mean distance that the other examples' normalized values have moved."""
    return (now.normalized - before.normalized)[1:].abs().mean().item()


def _numbers(before: BatchState, now: BatchState) -> str:
    quantities = {
        "mean": lambda state: state.mean,
        "std": lambda state: state.std,
        "its value": lambda state: state.values[0].item(),
        "its normalized value": lambda state: state.normalized[0].item(),
    }
    columns = {
        "": [*quantities, "the others moved by"],
        "at first": [f"{quantity(before):.2f}" for quantity in quantities.values()] + [""],
        "now": [f"{quantity(now):.2f}" for quantity in quantities.values()]
        + [f"{_others_moved(before, now):.2f}"],
    }
    return table(columns)


def _summary(before: BatchState, now: BatchState) -> str:
    return (
        f"batch of {len(now.values)}: one value {now.values[0]:.1f}, mean {now.mean:.2f}, "
        f"std {now.std:.2f}, its normalized value {now.normalized[0]:.2f}; the others moved by "
        f"{_others_moved(before, now):.2f} on average"
    )
