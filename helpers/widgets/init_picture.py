"""What the init explorer measures, and its picture."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from helpers import plotting
from helpers.diagnostics import LayerRecord, LayerStatistics, MeanField, WeightStatistics
from helpers.widgets.canvas import Canvas, course_style

MAX_DEPTH = 20
BINS = 50
# The range of the histograms; what falls outside is counted in the end bins.
REACH = {"tanh": 1.0, "relu": 4.0, "linear": 4.0}


@dataclass(frozen=True)
class InitRecord:
    """An untrained net on one batch, and what theory says of a very wide one."""

    activation: str
    layers: list[LayerRecord]
    statistics: list[LayerStatistics]
    weights: list[WeightStatistics]  # hidden layers first, then the output layer
    learning_rate: float
    theory: MeanField

    @property
    def relative_gradients(self) -> list[float]:
        """Each layer's gradient std over the last layer's; nan where that is 0."""
        stds = [layer.gradient_std for layer in self.statistics]
        return [std / stds[-1] if stds[-1] else math.nan for std in stds]

    @property
    def share_name(self) -> str:
        """What `shares` count: "saturated" for tanh, "zero" for ReLU, "" for a linear net."""
        return {"tanh": "saturated", "relu": "zero", "linear": ""}[self.activation]

    @property
    def shares(self) -> list[float]:
        """Each layer's saturated or zero fraction (0-1); nan in a linear net."""
        zero = self.activation == "relu"
        return [layer.zero if zero else layer.saturated for layer in self.statistics]

    @property
    def share_text(self) -> str:
        """For example "saturated 24% in layer 1, 5% in layer 5"."""
        if not self.share_name:
            return ""
        shares = self.shares
        return (
            f"{self.share_name} {shares[0]:.0%} in layer 1, {shares[-1]:.0%} in layer {len(shares)}"
        )


class InitPicture:
    """The picture of an `InitRecord`, kept and redrawn: `draw(record)` returns PNG bytes."""

    def __init__(self, views: Sequence[str]):
        unknown = [view for view in views if view not in _VIEWS]
        if unknown or not views:
            raise ValueError(f"views {list(views)}: choose from {', '.join(_VIEWS)}")
        rows = 2 if len(views) > 3 else 1
        columns = math.ceil(len(views) / rows)
        self._canvas = Canvas(3.4 * columns, 3.1 * rows)
        axes = self._canvas.subplots(rows, columns)
        with course_style():
            self._views = [_VIEWS[view](ax) for view, ax in zip(views, axes, strict=False)]

    def draw(self, record: InitRecord) -> bytes:
        # Three ranges of depth, so that five layers fill the axis and twenty fit.
        depth_range = next(limit for limit in (5, 10, MAX_DEPTH) if len(record.layers) <= limit)
        for view in self._views:
            view.set_range(record.activation, depth_range)
        artists = [artist for view in self._views for artist in view.move(record)]
        return self._canvas.png(artists, axes=(record.activation, depth_range))


class _Histograms:
    """The activations' distribution, one line per layer, on a log scale: one full bin and
    a fiftieth in each are both readable."""

    def __init__(self, ax: Axes):
        ax.set_yticks([-3, -2, -1, 0], ["0.001", "0.01", "0.1", "1"])
        ax.set(ylim=(-3.2, 0.55), title="Activations", xlabel="activation (dark: layer 1)")
        ax.set_ylabel("fraction per bin (log scale)")
        self._ax = ax
        self._lines = LineCollection([], linewidths=1.5, animated=True)
        ax.add_collection(self._lines, autolim=False)
        self._text = ax.text(
            0.5, 0.98, "", transform=ax.transAxes, ha="center", va="top", fontsize=9, animated=True
        )

    def set_range(self, activation: str, depth_range: int) -> None:
        self._ax.set_xlim(-REACH[activation], REACH[activation])

    def move(self, record: InitRecord):
        reach = REACH[record.activation]
        centres = (torch.arange(BINS) + 0.5) * (2 * reach / BINS) - reach
        lines, outside = [], []
        for layer in record.layers:
            counts = torch.histc(layer.activation.clamp(-reach, reach), BINS, -reach, reach)
            heights = (counts / layer.activation.numel()).clamp(min=1e-9).log10()
            lines.append(torch.stack([centres, heights], 1).numpy())
            outside.append((layer.activation.abs() > reach).float().mean().item())
        self._lines.set_segments(lines)
        self._lines.set_color(plotting.depth_colours(len(lines)))
        text = record.share_text
        if max(outside) > 0.005:
            text += f"\nup to {max(outside):.0%} outside, in the end bins"
        self._text.set_text(text.strip())
        return self._lines, self._text


class _Profile:
    """A quantity of each layer: dots coloured by depth, and the theory as a dashed line.

    `values(record)` gives the dots' and the line's heights; `limits` are fixed. With `log`
    both are powers of ten, and so are the labels.
    """

    def __init__(self, ax: Axes, title, values: Callable, limits, *, log=True, note="", line=None):
        ax.set(title=title, xlabel=f"layer {note}".strip())
        self._ax, self._values = ax, values
        self._set_limits(limits, log)
        if line is not None:
            ax.axhline(line, color=plotting.INK, linestyle="--", linewidth=1.2)
        self._dots = ax.scatter([], [], s=30, zorder=3, linewidths=1.3, animated=True)
        (self._line,) = ax.plot([], [], "--", color=plotting.INK, linewidth=1.2, animated=True)

    def set_range(self, activation: str, depth_range: int) -> None:
        step = 1 if depth_range < 10 else depth_range // 5
        self._ax.set(xlim=(0.4, depth_range + 1.6), xticks=[1, *range(step, depth_range + 1, step)])

    def move(self, record: InitRecord):
        measured, theory = self._values(record)
        if self._log:
            measured, theory = _log10(measured), _log10(theory)
        low, high = self._ax.get_ylim()
        heights = [min(max(value, low), high) for value in measured]
        self._dots.set_offsets([*enumerate(heights, start=1)])
        colours = plotting.depth_colours(len(heights))
        self._dots.set_edgecolor(colours)
        self._dots.set_facecolor(  # hollow where the dot belongs outside and is at the edge
            [
                colour if height == value else "none"
                for colour, height, value in zip(colours, heights, measured, strict=True)
            ]
        )
        self._line.set_data(range(1, len(theory) + 1), theory)
        return self._line, self._dots

    def _set_limits(self, limits: tuple[float, float], log: bool) -> None:
        self._log = log
        self._ax.set_ylim(limits)
        if log:
            ticks = range(math.ceil(limits[0]), math.floor(limits[1]) + 1, 2)
            self._ax.set_yticks(ticks, [f"$10^{{{tick}}}$" for tick in ticks])
        else:
            self._ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])


class _Spread(_Profile):
    """The activations' std: tanh keeps it below 1, the others do not."""

    def __init__(self, ax: Axes):
        super().__init__(ax, "Activation std", _spread, (0, 1.05), log=False, note=THEORY_NOTE)

    def set_range(self, activation: str, depth_range: int) -> None:
        super().set_range(activation, depth_range)
        if activation == "tanh":
            self._set_limits((0, 1.05), log=False)
        else:
            self._set_limits((-6, 6), log=True)


def _spread(record: InitRecord):
    return [layer.std for layer in record.statistics], record.theory.activation_std


def _gradients(record: InitRecord):
    return record.relative_gradients, record.theory.gradient_std


def _grad_data(record: InitRecord):
    return [weight.std_ratio for weight in record.weights], []


def _update_data(record: InitRecord):
    return [record.learning_rate * weight.std_ratio for weight in record.weights], []


def _log10(values: Sequence[float]) -> list[float]:
    return [math.log10(value) if value > 0 else -math.inf for value in values]


THEORY_NOTE = "(dashed: theory)"
OUTPUT_NOTE = "(the last is the output)"
_VIEWS: dict[str, Callable[[Axes], _Histograms | _Profile]] = {
    "activations": _Histograms,
    "spread": _Spread,
    "gradients": lambda ax: _Profile(
        ax, "Gradient std, last layer = 1", _gradients, (-7, 5), note=THEORY_NOTE
    ),
    "weights": lambda ax: _Profile(ax, "grad:data", _grad_data, (-7, 3), note=OUTPUT_NOTE),
    "updates": lambda ax: _Profile(
        ax, "update:data (dashed: 1e-3)", _update_data, (-8, 2), note=OUTPUT_NOTE, line=-3
    ),
}
