"""The four views of a network in one row, small enough that a lesson can show many."""

import base64
from collections.abc import Sequence

import torch
from IPython.display import display

from helpers import plotting
from helpers.diagnostics import LayerRecord, RunRecord, WeightStatistics
from helpers.widgets.canvas import Canvas, course_style, shrink

LEAST_RATIO = -7.0  # the lowest log10 update:data that has a place; below it means no gradient
GROUP = 10  # steps whose ratios are averaged
BINS = 25


def show_four_views(
    layers: Sequence[LayerRecord],
    weights: Sequence[WeightStatistics],
    run: RunRecord,
    title: str,
) -> None:
    """Displays activations, gradient std and grad:data before training, and update:data in it.

    `layers` are tanh layers; `weights` and the run's weights those behind the embedding, the
    output's last. Colours go by depth, dark to light. Axes are the same for every network; what
    lies outside is drawn at the edge.
    """
    picture = {
        "text/plain": f"{title}: activations, gradient std, grad:data, update:data",
        "image/png": base64.b64encode(shrink(draw(layers, weights, run, title))).decode(),
    }
    display(picture, raw=True)


def draw(layers, weights, run, title: str) -> bytes:
    """The picture as PNG bytes."""
    canvas = Canvas(10.4, 2.4)
    colours = plotting.depth_colours(len(weights))
    places = range(1, len(weights) + 1)
    with course_style():
        histograms, gradients, ratios, updates = canvas.subplots(1, 4)
        for layer, colour in zip(layers, colours, strict=False):
            shares = torch.histc(layer.activation, BINS, -1, 1) / layer.activation.numel()
            histograms.stairs(shares, torch.linspace(-1, 1, BINS + 1), color=colour)
        histograms.set(xlabel="activation", ylabel="fraction per bin", ylim=(0, 0.35))
        histograms.set_title(title)
        stds = torch.stack([layer.gradient.std() for layer in layers]).clamp(1e-6, 1e-2)
        gradients.scatter(places[: len(layers)], stds, color=colours[: len(layers)])
        gradients.set(xlabel="layer", ylabel="gradient std", xticks=places[: len(layers)])
        gradients.set(yscale="log", ylim=(8e-7, 1.2e-2))
        values = torch.tensor([weight.std_ratio for weight in weights]).clamp(1e-5, 10)
        ratios.scatter(places, values, color=colours)
        ratios.set(xlabel="layer", ylabel="grad:data", yscale="log", ylim=(8e-6, 12))
        ratios.set_xticks(places, [*map(str, places[:-1]), "out"])
        whole = len(run.steps) // GROUP * GROUP
        means = run.update_ratio[:whole, -len(weights) :].view(-1, GROUP, len(weights)).mean(1)
        steps = run.steps[:whole].view(-1, GROUP).double().mean(1)
        for line, colour in zip(means.clamp(LEAST_RATIO, 0.4).T, colours, strict=True):
            updates.plot(steps, line, color=colour, linewidth=1.5)
        updates.axhline(-3, color=plotting.INK, linestyle="--", linewidth=1)
        updates.set(xlabel="step", ylabel="log10 update:data", ylim=(LEAST_RATIO - 0.2, 0.5))
    return canvas.png([])
