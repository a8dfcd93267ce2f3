"""Pictures of records that were measured elsewhere, all in one style.

Every function is draw_something(record, ax=None) -> ax: it draws on the axes it is given, or on
a new figure, and never runs a model.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes

from helpers.training import History

# Okabe & Ito's palette: told apart with every common colour vision, and in grey print.
BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"
GREY, INK = "#8C8C8C", "#222222"
COLOURS = [GREY, ORANGE, BLUE, GREEN, PURPLE, SKY]  # "before" first, in grey

LABEL_GAP = 0.065  # of the axes' height, between two labels at line ends


def use_style() -> None:
    """The course's matplotlib style, set for this process: 100 dpi, light, no box."""
    plt.rcParams.update(
        {
            "figure.dpi": 100,
            "savefig.dpi": 100,
            "figure.figsize": (7.0, 3.6),
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.titlesize": 12,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E6E6E6",
            "axes.prop_cycle": plt.cycler(color=COLOURS),
            "lines.linewidth": 2.0,
            "image.cmap": "viridis",
        }
    )


def draw_counts(counts: torch.Tensor, symbols: Sequence[str], ax: Axes | None = None) -> Axes:
    """A table of pair counts (V, V) as a map: row = letter before, column = letter after."""
    ax = ax or _new_axes(5.4, 5.0)
    image = ax.imshow(torch.log10(1 + counts.float()), cmap="viridis")
    ax.set_xticks(range(len(symbols)), symbols)
    ax.set_yticks(range(len(symbols)), symbols)
    ax.tick_params(labelsize=8, length=0)
    ax.grid(False)
    ax.set(xlabel="next symbol", ylabel="symbol before")
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label="log10(1 + count)")
    return ax


def draw_histogram(
    values: torch.Tensor,
    ax: Axes | None = None,
    *,
    limits: tuple[float, float],
    bins: int = 60,
    colour: str = BLUE,
) -> Axes:
    """The distribution of `values`, any shape, as fractions per bin within `limits`.

    What falls outside is not drawn but counted, in the corner: a fixed range must not hide
    an explosion.
    """
    ax = ax or _new_axes()
    flat = values.detach().flatten().float()
    low, high = limits
    counts = torch.histc(flat.clamp(low, high), bins, low, high)
    inside = (flat >= low) & (flat <= high)
    edges = torch.linspace(low, high, bins + 1)
    ax.stairs(counts / len(flat), edges, fill=True, color=colour, alpha=0.85)
    ax.set(xlim=limits, ylabel="fraction of values")
    ax.set_ylim(bottom=0)
    outside = 1 - inside.float().mean().item()
    if outside > 0:
        text = f"{outside:.2%} outside,\nin the end bins"
        ax.text(0.98, 0.95, text, transform=ax.transAxes, ha="right", va="top", fontsize=9)
    return ax


def draw_saturation_map(
    activations: torch.Tensor, ax: Axes | None = None, *, threshold: float = 0.97
) -> Axes:
    """Where |activation| > threshold: activations (examples, units), saturated cells dark."""
    ax = ax or _new_axes(8.0, 2.4)
    saturated = activations.detach().abs() > threshold
    ax.imshow(saturated, cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    ax.grid(False)
    ax.set(xlabel="hidden unit", ylabel="example")
    return ax


def draw_learning_curves(
    histories: Mapping[str, History],
    ax: Axes | None = None,
    *,
    width: int = 200,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Minibatch losses (nats) over steps, averaged over windows of `width`, named at the end."""
    ax = ax or _new_axes()
    for (name, history), colour in zip(histories.items(), COLOURS, strict=False):
        means = history.smoothed(width)
        steps = (torch.arange(len(means)) + 0.5) * width
        ax.plot(steps, means, color=colour, label=name)
    ax.set(xlabel="step", ylabel=f"loss (nats, mean of {width} steps)", ylim=limits)
    label_line_ends(ax)
    return ax


def label_line_ends(ax: Axes) -> None:
    """Each named line's name beside its last point, moved apart where two would overlap.

    Call it when the axis limits are final.
    """
    low, high = ax.get_ylim()
    lines = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
    height = -1.0
    for line in sorted(lines, key=lambda line: line.get_ydata()[-1]):
        end = (line.get_ydata()[-1] - low) / (high - low)
        height = max(end, height + LABEL_GAP)
        ax.annotate(
            line.get_label(),
            xy=(1.0, height),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=line.get_color(),
            annotation_clip=False,
        )


def _new_axes(width: float = 7.0, height: float = 3.6) -> Axes:
    return plt.subplots(figsize=(width, height))[1]
