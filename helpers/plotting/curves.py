"""Quantities over the steps of a run."""

from collections.abc import Mapping
from itertools import cycle

import torch
from matplotlib.axes import Axes

from helpers.diagnostics import RunRecord
from helpers.plotting.style import COLOURS, INK, depth_colours, label_line_ends, new_axes
from helpers.training import History


def draw_learning_curves(
    histories: Mapping[str, History],
    ax: Axes | None = None,
    *,
    width: int = 200,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Minibatch losses (nats) over steps, averaged over windows of `width`, named at the end."""
    ax = ax or new_axes()
    for (name, history), colour in zip(histories.items(), cycle(COLOURS), strict=False):
        means = history.smoothed(width)
        steps = (torch.arange(len(means)) + 0.5) * width
        ax.plot(steps, means, color=colour, label=name)
    ax.set(xlabel="step", ylabel=f"loss (nats, mean of {width} steps)", ylim=limits)
    ax.locator_params(axis="x", nbins=5)
    label_line_ends(ax)
    return ax


def draw_update_ratio(record: RunRecord, ax: Axes | None = None, *, width: int = 20) -> Axes:
    """Each weight's log10 update:data over steps, averaged over `width` recorded steps.

    Lines are coloured by depth and named at the end. The dashed line at -3 is the rule of
    thumb: an update a thousandth of the size of the weight.
    """
    ax = ax or new_axes()
    width = min(width, len(record.steps))
    whole = len(record.steps) // width * width
    means = record.update_ratio[:whole].view(-1, width, len(record.weights)).mean(1)
    steps = record.steps[:whole].view(-1, width).double().mean(1)
    colours = depth_colours(len(record.weights))
    for values, colour, name in zip(means.T, colours, record.weights, strict=True):
        ax.plot(steps, values, color=colour, linewidth=1.5, label=name.removesuffix(".weight"))
    ax.axhline(-3, color=INK, linestyle="--", linewidth=1)
    ax.set(xlabel="step", ylabel="log10 update:data")
    finite = means[torch.isfinite(means)]
    if len(finite):
        ax.set_ylim(min(-3.5, finite.min().item() - 0.2), max(-1.0, finite.max().item() + 0.2))
    label_line_ends(ax)
    return ax


def draw_seed_bands(
    curves: Mapping[str, torch.Tensor],
    ax: Axes | None = None,
    *,
    width: int,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Learning curves of many seeds: their mean, a band from lowest to highest, named at the end.

    `curves` maps a name to losses in nats (seeds, points), each the mean of `width` steps.
    """
    ax = ax or new_axes(6.4, 3.4)
    for (name, losses), colour in zip(curves.items(), cycle(COLOURS), strict=False):
        steps = (torch.arange(losses.shape[1]) + 0.5) * width
        ax.fill_between(steps, losses.amin(0), losses.amax(0), color=colour, alpha=0.25, lw=0)
        ax.plot(steps, losses.mean(0), color=colour, label=f"{name} (n={len(losses)})")
    ax.set(xlabel="step", ylabel=f"loss (nats, mean of {width} steps)", ylim=limits)
    ax.locator_params(axis="x", nbins=5)
    label_line_ends(ax)
    return ax
