"""The one style of every picture: colours, labels at line ends, layers coloured by depth."""

import functools

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap

# Okabe & Ito's palette: told apart with every common colour vision, and in grey print.
BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"
GREY, INK = "#8C8C8C", "#222222"
COLOURS = [GREY, ORANGE, BLUE, GREEN, PURPLE, SKY]  # "before" first, in grey

LABEL_GAP = 0.065  # of the axes' height, between two labels at line ends

STYLE = {
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


def use_style() -> None:
    """The course's matplotlib style, set for this process: 100 dpi, light, no box."""
    plt.rcParams.update(STYLE)


@functools.cache
def depth_colours(count: int) -> tuple[tuple[float, float, float, float], ...]:
    """A colour for each of `count` layers, first to last: viridis without its faint yellow end."""
    viridis = plt.get_cmap("viridis")
    return tuple(viridis(0.88 * i / max(count - 1, 1)) for i in range(count))


def add_depth_bar(ax: Axes, count: int) -> None:
    """The colour bar that says which layer, counted from 1, has which colour."""
    norm = BoundaryNorm([i + 0.5 for i in range(count + 1)], count)
    mappable = ScalarMappable(norm, ListedColormap(depth_colours(count)))
    ticks = range(1, count + 1, 1 if count <= 10 else 5)
    bar = ax.figure.colorbar(mappable, ax=ax, ticks=ticks, label="layer")
    bar.ax.minorticks_off()


def label_line_ends(ax: Axes) -> None:
    """Each named line's name beside its last point, moved apart where two would overlap.

    Call it when the axis limits are final.
    """
    scale = ax.yaxis.get_transform()  # of a log scale: the logarithm
    low, high = scale.transform(ax.get_ylim())
    named = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
    lines = [line for line in named if len(line.get_ydata())]
    height = -1.0
    for line in sorted(lines, key=lambda line: line.get_ydata()[-1]):
        end = (scale.transform(line.get_ydata()[-1:])[0] - low) / (high - low)
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


def new_axes(width: float = 7.0, height: float = 3.6) -> Axes:
    """The axes of a new figure of that size in inches."""
    return plt.subplots(figsize=(width, height))[1]
