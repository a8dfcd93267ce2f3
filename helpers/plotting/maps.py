"""Tables and whole runs as maps of colour."""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes

from helpers.diagnostics import RunRecord
from helpers.plotting.style import new_axes


def draw_counts(counts: torch.Tensor, symbols: Sequence[str], ax: Axes | None = None) -> Axes:
    """A table of pair counts (V, V) as a map: row = letter before, column = letter after."""
    ax = ax or new_axes(5.4, 5.0)
    image = ax.imshow(torch.log10(1 + counts.float()).numpy(), cmap="viridis")
    ax.set_xticks(range(len(symbols)), symbols)
    ax.set_yticks(range(len(symbols)), symbols)
    ax.tick_params(labelsize=8, length=0)
    ax.grid(False)
    ax.set(xlabel="next symbol", ylabel="symbol before")
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label="log10(1 + count)")
    return ax


def draw_saturation_map(
    activations: torch.Tensor, ax: Axes | None = None, *, threshold: float = 0.97
) -> Axes:
    """Where |activation| > threshold: activations (examples, units), saturated cells dark."""
    ax = ax or new_axes(8.0, 2.4)
    saturated = (activations.detach().abs() > threshold).numpy()
    ax.imshow(saturated, cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    ax.grid(False)
    ax.set(xlabel="hidden unit", ylabel="example")
    return ax


def draw_run_map(
    record: RunRecord, ax: Axes | None = None, *, layer: int | None = None, limits=(1e-4, 2)
) -> Axes:
    """A whole run at a glance: steps across, |activation| up on a log scale.

    The colour is the share of a minibatch's values per unit of log10 |activation|; each
    column reaches to the next sampled step. `layer` (counted from 0) is shown, or all layers
    together. What lies outside `limits` is counted in the corner.
    """
    ax = ax or new_axes(7.0, 3.2)
    counts = record.counts.sum(1) if layer is None else record.counts[:, layer]  # (M, bins + 2)
    shares = counts.double() / counts.sum(1, keepdim=True)
    edges = record.bin_edges
    densities = shares[:, 1:-1] / edges.log10().diff()  # (M, bins)
    starts = record.sampled_steps
    width = starts[-1] - starts[-2] if len(starts) > 1 else 1
    starts = torch.cat([starts, starts[-1:] + width])  # and the last one's end
    colours = densities.T.clamp(min=1e-3).numpy()  # (bins, M)
    mesh = ax.pcolormesh(starts.numpy(), edges.numpy(), colours, norm="log", rasterized=True)
    ax.set(yscale="log", ylim=limits, xlabel="step", ylabel="|activation| (log scale)")
    ax.grid(False)
    ax.figure.colorbar(mesh, ax=ax, label="share per factor of 10")
    middles = (edges[:-1] * edges[1:]).sqrt()
    inside = shares[:, 1:-1][:, (middles > limits[0]) & (middles < limits[1])].sum(1)
    outside = 1 - inside.mean().item()
    if outside > 5e-4:
        text = f"{outside:.1%} outside"
        ax.text(1, 1.02, text, transform=ax.transAxes, ha="right", va="bottom", fontsize=9)
    return ax
