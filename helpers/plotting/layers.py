"""What a layer holds: histograms of its values, and its numbers layer by layer."""

import math
from collections.abc import Sequence

import torch
from matplotlib.axes import Axes

from helpers.diagnostics import LayerRecord, LayerStatistics, MeanField, WeightStatistics
from helpers.plotting.style import BLUE, GREY, INK, add_depth_bar, depth_colours, new_axes


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
    ax = ax or new_axes()
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


def draw_activations(
    layers: Sequence[LayerRecord],
    ax: Axes | None = None,
    *,
    limits: tuple[float, float] = (-1, 1),
    bins: int = 50,
) -> Axes:
    """The activations of each layer as one histogram, coloured by depth.

    What falls outside `limits` is counted in the end bins, and in the corner.
    """
    ax = _draw_histograms([layer.activation for layer in layers], ax, limits, bins)
    ax.set(xlabel="activation")
    return ax


def draw_gradients(
    layers: Sequence[LayerRecord],
    ax: Axes | None = None,
    *,
    limits: tuple[float, float] | None = None,
    bins: int = 50,
) -> Axes:
    """The gradient at each layer's activations as one histogram, coloured by depth.

    `limits` is by default four times the median layer's std to either side; what falls
    outside is counted in the end bins, and in the corner.
    """
    gradients = [layer.gradient for layer in layers]
    if limits is None:
        reach = 4 * torch.stack([gradient.std() for gradient in gradients]).median().item()
        limits = (-reach, reach)
    ax = _draw_histograms(gradients, ax, limits, bins)
    ax.set(xlabel="gradient at the activation (nats per unit)")
    return ax


def draw_activation_std(
    statistics: Sequence[LayerStatistics],
    ax: Axes | None = None,
    *,
    theory: MeanField | None = None,
) -> Axes:
    """The activation std of each layer as dots, and the theory's as a line."""
    ax = ax or new_axes()
    _draw_depth_profile(ax, [layer.std for layer in statistics])
    if theory is not None:
        _draw_theory(ax, theory.activation_std)
    ax.margins(y=0.15)
    ax.set(xlabel="layer", ylabel="activation std")
    ax.set_ylim(bottom=0)
    return ax


def draw_gradient_std(
    statistics: Sequence[LayerStatistics],
    ax: Axes | None = None,
    *,
    theory: MeanField | None = None,
) -> Axes:
    """The gradient std at each layer as dots on a log scale, and the theory's as a line.

    The theory knows ratios only, so its line is laid through the last layer's dot.
    """
    ax = ax or new_axes()
    stds = [layer.gradient_std for layer in statistics]
    _draw_depth_profile(ax, stds)
    if theory is not None:
        _draw_theory(ax, [stds[-1] * ratio for ratio in theory.gradient_std])
    ax.set(xlabel="layer", ylabel="gradient std (nats per unit)", yscale="log")
    finite = [std for std in stds if 0 < std < math.inf]
    if finite:
        ax.set_ylim(min(finite) / 4, max(finite) * 4)  # or 10% would look like an explosion
    return ax


def draw_grad_data(
    statistics: Sequence[WeightStatistics], ax: Axes | None = None, *, norms: bool = False
) -> Axes:
    """The grad:data ratio of each weight on a log scale, a ratio of stds, or of `norms`."""
    ax = ax or new_axes()
    ratios = [weight.norm_ratio if norms else weight.std_ratio for weight in statistics]
    places = range(len(ratios))
    ax.scatter(ratios, places, color=depth_colours(len(ratios)), s=50, zorder=3)
    ax.set_yticks(places, [weight.name.removesuffix(".weight") for weight in statistics])
    ax.invert_yaxis()
    kind = "norm" if norms else "std"
    ax.set(xlabel=f"grad:data, {kind} of gradient / {kind} of weight", ylabel="weight")
    ax.set_xscale("log")
    return ax


def draw_running_against_calibrated(
    running: torch.Tensor,
    calibrated: torch.Tensor,
    ax: Axes | None = None,
    *,
    statistic: str = "mean",
) -> Axes:
    """One dot per unit: its calibrated `statistic` (H,) across, its running one up."""
    ax = ax or new_axes(4.4, 4.2)
    ax.axline((0, 0), slope=1, color=GREY, linewidth=1)
    ax.scatter(calibrated, running, s=14, color=BLUE, alpha=0.7, linewidths=0)
    ax.set(xlabel=f"calibrated {statistic} of a unit", ylabel=f"running {statistic}")
    return ax


def _draw_histograms(tensors, ax, limits, bins) -> Axes:
    ax = ax or new_axes()
    low, high = limits
    edges = torch.linspace(low, high, bins + 1)
    outside = []
    for values, colour in zip(tensors, depth_colours(len(tensors)), strict=True):
        counts = torch.histc(values.clamp(low, high), bins, low, high)
        ax.stairs(counts / values.numel(), edges, color=colour, linewidth=1.5)
        outside.append(1 - ((values >= low) & (values <= high)).float().mean().item())
    ax.set(xlim=limits, ylabel="fraction of values")
    ax.margins(y=0.15)  # room for the line of text
    ax.set_ylim(bottom=0)
    if max(outside) > 0:
        worst = max(range(len(outside)), key=outside.__getitem__)
        text = f"up to {outside[worst]:.1%} outside (layer {worst + 1}), in the end bins"
        ax.text(0.98, 0.95, text, transform=ax.transAxes, ha="right", va="top", fontsize=9)
    add_depth_bar(ax, len(tensors))
    return ax


def _draw_depth_profile(ax: Axes, values: Sequence[float]) -> None:
    numbers = range(1, len(values) + 1)
    ax.scatter(numbers, values, color=depth_colours(len(values)), s=36, zorder=3, label="measured")
    ax.set_xticks(numbers if len(values) <= 10 else [1, *range(5, len(values) + 1, 5)])


def _draw_theory(ax: Axes, values: Sequence[float]) -> None:
    ax.plot(range(1, len(values) + 1), values, "--", color=INK, linewidth=1.2, label="theory")
    ax.legend(frameon=False)
