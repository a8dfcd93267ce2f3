"""`helpers.plotting`: what every picture owes its reader, read back from the axes."""

import inspect
import itertools
import re

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from helpers import plotting
from helpers.diagnostics import LayerRecord, LayerStatistics, RunRecord, WeightStatistics
from helpers.training import History

matplotlib.use("Agg")


def history(*losses, steps=1000):
    """Losses that run straight from the first value to the last."""
    return History(torch.linspace(*losses, steps), torch.full((steps,), 0.1))


ACTIVATIONS = torch.tensor([[0.99, -0.99, 0.5, 0.97], [0.2, -0.1, -1.0, 0.9]])
DRAWINGS = {
    "draw_counts": lambda **ax: plotting.draw_counts(torch.eye(3), [".", "a", "b"], **ax),
    "draw_histogram": lambda **ax: plotting.draw_histogram(ACTIVATIONS, limits=(-1, 1), **ax),
    "draw_saturation_map": lambda **ax: plotting.draw_saturation_map(ACTIVATIONS, **ax),
    "draw_learning_curves": lambda **ax: plotting.draw_learning_curves(
        {"naive": history(4, 2)}, **ax
    ),
}


def layer_records(*stds):
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randn(50, 8, generator=generator) * std for std in stds]
    return [LayerRecord(f"tanh{i}", "Tanh", x.tanh(), x) for i, x in enumerate(draws, 1)]


STATISTICS = [
    LayerStatistics(f"tanh{i}", "Tanh", 0.0, std, 0.1, torch.nan, 0.0, std / 10)
    for i, std in enumerate([0.7, 0.6, 0.5], 1)
]
WEIGHTS = [
    WeightStatistics("linear1.weight", 0.3, 9.0, 0.03, 0.3, 0.1, 0.05),
    WeightStatistics("output.weight", 0.1, 7.0, 0.01, 0.2, 0.1, 0.03),
]


def run_record(steps=100):
    """Two weights whose update ratios are -3 and -2 throughout; activations all in one bin."""
    bin_edges = torch.tensor([1e-4, 1e-3, 1e-2, 0.1, 1.0])
    counts = torch.zeros(steps // 10, 1, 6)
    counts[..., 4] = 8.0
    return RunRecord(
        weights=["linear1.weight", "output.weight"],
        layers=["tanh1"],
        steps=torch.arange(steps),
        losses=torch.linspace(3, 2, steps),
        update_ratio=torch.tensor([-3.0, -2.0]).expand(steps, 2),
        sampled_steps=torch.arange(0, steps, 10),
        counts=counts,
        saturated=torch.zeros(steps // 10, 1),
        bin_edges=bin_edges,
    )


DRAWINGS |= {
    "draw_activations": lambda **ax: plotting.draw_activations(layer_records(0.5, 2), **ax),
    "draw_gradients": lambda **ax: plotting.draw_gradients(layer_records(0.5, 2), **ax),
    "draw_activation_std": lambda **ax: plotting.draw_activation_std(STATISTICS, **ax),
    "draw_gradient_std": lambda **ax: plotting.draw_gradient_std(STATISTICS, **ax),
    "draw_grad_data": lambda **ax: plotting.draw_grad_data(WEIGHTS, **ax),
    "draw_running_against_calibrated": lambda **ax: plotting.draw_running_against_calibrated(
        torch.arange(3.0), torch.arange(3.0) + 0.1, **ax
    ),
    "draw_seed_bands": lambda **ax: plotting.draw_seed_bands(
        {"kaiming": torch.rand(8, 5)}, width=250, **ax
    ),
    "draw_update_ratio": lambda **ax: plotting.draw_update_ratio(run_record(), **ax),
    "draw_run_map": lambda **ax: plotting.draw_run_map(run_record(), **ax),
}
EVERY_DRAWING = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)


@pytest.fixture(autouse=True)
def course_style():
    """The course's style during a test; afterwards it is undone and every figure is closed."""
    with matplotlib.rc_context():
        plotting.use_style()
        yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


# What holds for every draw_*


def test_every_draw_function_is_tested_here():
    public = {name for name, _ in inspect.getmembers(plotting, inspect.isfunction)}
    assert {name for name in public if name.startswith("draw_")} == set(DRAWINGS)


@EVERY_DRAWING
def test_a_drawing_is_on_the_axes_it_was_given(draw, ax):
    assert draw(ax=ax) is ax
    assert len(plt.get_fignums()) == 1
    assert ax.has_data()


@EVERY_DRAWING
def test_a_drawing_without_axes_makes_one_figure(draw):
    drawn = draw()
    assert plt.get_fignums() == [drawn.figure.number]


@EVERY_DRAWING
def test_a_drawing_names_what_its_axes_show(draw, ax):
    ax.set_xlabel("pre-activation")  # of a histogram, whose quantity only the caller knows
    draw(ax=ax)
    assert ax.get_ylabel()
    assert ax.get_xlabel()
    assert (ax.get_xlabel() == "pre-activation") == (draw is DRAWINGS["draw_histogram"])


@EVERY_DRAWING
def test_a_drawing_leaves_the_style_and_its_neighbours_alone(draw):
    left, right = plt.subplots(1, 2)[1]
    style = dict(plt.rcParams)
    draw(ax=left)
    assert dict(plt.rcParams) == style
    assert not right.has_data()


@EVERY_DRAWING
def test_a_drawing_renders_without_a_warning(draw, ax):
    draw(ax=ax)
    ax.figure.canvas.draw()


# draw_counts


def test_counts_are_shown_on_a_log_scale_that_the_colour_bar_names(ax):
    counts = torch.tensor([[0, 9], [99, 999]])
    plotting.draw_counts(counts, [".", "a"], ax)
    np.testing.assert_allclose(ax.images[0].get_array(), [[0, 1], [2, 3]], atol=1e-6)
    assert ax.images[0].colorbar.ax.get_ylabel() == "log10(1 + count)"


def test_counts_have_the_symbol_before_down_and_the_next_across(ax):
    plotting.draw_counts(torch.eye(2), [".", "a"], ax)
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("symbol before", "next symbol")
    for axis in (ax.xaxis, ax.yaxis):
        assert [label.get_text() for label in axis.get_ticklabels()] == [".", "a"]


# draw_histogram


def bar_heights(ax):
    return ax.patches[0].get_data().values


def shown_text(ax):
    return " ".join(text.get_text() for text in ax.texts)


@pytest.mark.parametrize("bins", [1, 10, 60])
def test_a_histograms_fractions_sum_to_one_with_what_is_out_of_range(ax, bins):
    values = torch.cat([torch.linspace(-1, 1, 90), torch.tensor([5.0] * 7 + [-torch.inf] * 3)])
    plotting.draw_histogram(values, ax, limits=(-1, 1), bins=bins)
    assert bar_heights(ax).sum() == pytest.approx(1)
    assert len(bar_heights(ax)) == bins


def test_a_histogram_puts_what_is_out_of_range_into_the_end_bins_and_says_how_much(ax):
    values = torch.tensor([-50.0, 0.5, 0.5, 70.0, 80.0, 1e30, 0.5, 0.5])
    plotting.draw_histogram(values, ax, limits=(0, 1), bins=4)
    np.testing.assert_allclose(bar_heights(ax), [1 / 8, 0, 4 / 8, 3 / 8])
    assert re.search(r"50\.?0*% outside", shown_text(ax))


def test_a_histogram_of_values_within_its_limits_has_no_note(ax):
    plotting.draw_histogram(torch.tensor([0.0, 0.5, 1.0]), ax, limits=(0, 1))
    assert shown_text(ax) == ""


def test_a_histogram_shows_the_limits_it_was_given(ax):
    plotting.draw_histogram(torch.zeros(3), ax, limits=(-20, 20))
    assert ax.get_xlim() == (-20, 20)
    assert "fraction" in ax.get_ylabel()


def test_a_histogram_takes_any_shape_and_values_with_a_graph(ax):
    values = torch.rand(4, 5, 6, requires_grad=True) * 1
    plotting.draw_histogram(values, ax, limits=(0, 1))
    assert bar_heights(ax).sum() == pytest.approx(1)


def test_a_histogram_counts_values_that_are_not_numbers_as_outside(ax):
    values = torch.tensor([0.5, 0.5, 0.5, torch.nan])
    plotting.draw_histogram(values, ax, limits=(0, 1))
    assert re.search(r"25\.?0*% outside", shown_text(ax))


# draw_saturation_map


def test_a_saturation_map_is_dark_exactly_beyond_the_threshold(ax):
    plotting.draw_saturation_map(ACTIVATIONS, ax)
    dark = np.asarray(ax.images[0].get_array(), dtype=bool)
    assert dark.tolist() == [[True, True, False, False], [False, False, True, False]]
    assert ax.images[0].cmap.name == "Greys"
    assert ax.images[0].get_clim() == (0, 1)


def test_a_saturation_map_of_free_units_is_all_light(ax):
    plotting.draw_saturation_map(torch.zeros(3, 4), ax)
    assert not ax.images[0].get_array().any()
    assert ax.images[0].get_clim() == (0, 1)


def test_a_saturation_map_has_examples_down_and_units_across(ax):
    plotting.draw_saturation_map(torch.zeros(3, 7), ax)
    assert ax.images[0].get_array().shape == (3, 7)
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("example", "hidden unit")


# draw_learning_curves


def test_learning_curves_are_window_means_at_the_windows_middles(ax):
    run = history(4, 2, steps=1000)
    plotting.draw_learning_curves({"naive": run}, ax, width=250)
    (line,) = ax.get_lines()
    np.testing.assert_allclose(line.get_xdata(), [125, 375, 625, 875])
    np.testing.assert_allclose(line.get_ydata(), run.smoothed(250))


def test_learning_curves_say_their_unit_and_how_they_were_averaged(ax):
    plotting.draw_learning_curves({"naive": history(4, 2)}, ax, width=250)
    assert ax.get_xlabel() == "step"
    assert "nats" in ax.get_ylabel()
    assert "250 steps" in ax.get_ylabel()


@pytest.mark.parametrize("count", [1, 3, 6, 8])
def test_every_history_is_drawn_and_named(ax, count):
    histories = {f"run {number}": history(4, 2 + number / 10) for number in range(count)}
    plotting.draw_learning_curves(histories, ax)
    assert [line.get_label() for line in ax.get_lines()] == list(histories)
    assert sorted(text.get_text() for text in ax.texts) == sorted(histories)


def test_the_first_curve_is_grey_and_no_two_of_six_share_a_colour(ax):
    plotting.draw_learning_curves({str(number): history(4, 2) for number in range(6)}, ax)
    colours = [line.get_color() for line in ax.get_lines()]
    assert colours[0] == plotting.GREY
    assert len(set(colours)) == 6


def test_a_history_shorter_than_a_window_is_no_error(ax):
    short, long = history(4, 3, steps=10), history(4, 2, steps=1000)
    plotting.draw_learning_curves({"interrupted": short, "whole": long}, ax, width=200)
    assert "whole" in shown_text(ax)


# The pictures of layers and runs


def test_layers_in_one_histogram_each_sum_to_one_and_say_what_is_outside(ax):
    plotting.draw_activations(layer_records(0.5, 2), ax, limits=(-0.5, 0.5))
    for stairs in ax.patches:
        assert stairs.get_data().values.sum() == pytest.approx(1)
    assert "outside (layer 2)" in shown_text(ax)


def test_layers_are_coloured_by_depth(ax):
    plotting.draw_activations(layer_records(0.5, 1, 2), ax)
    colours = [tuple(stairs.get_edgecolor()) for stairs in ax.patches]
    assert colours == [pytest.approx(colour) for colour in plotting.depth_colours(3)]


def test_a_depth_profile_has_layer_numbers_across_and_its_statistic_up(ax):
    plotting.draw_activation_std(STATISTICS, ax)
    np.testing.assert_allclose(
        ax.collections[0].get_offsets(), [[1, 0.7], [2, 0.6], [3, 0.5]], rtol=1e-6
    )


@pytest.mark.parametrize(("norms", "expected"), [(False, [0.1, 0.1]), (True, [0.05, 0.03])])
def test_grad_data_shows_the_ratio_of_stds_or_of_norms(ax, norms, expected):
    plotting.draw_grad_data(WEIGHTS, ax, norms=norms)
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 0], expected)
    assert ("norm" in ax.get_xlabel()) == norms
    assert ax.get_xscale() == "log"


def test_seed_bands_reach_from_the_lowest_to_the_highest_and_give_n(ax):
    losses = torch.tensor([[3.0, 2.0], [4.0, 1.0], [5.0, 3.0]])
    plotting.draw_seed_bands({"kaiming": losses}, ax, width=100)
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), [4, 2])
    band = ax.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (1, 5)
    assert shown_text(ax) == "kaiming (n=3)"


def test_update_ratios_are_means_over_steps_beside_the_line_at_minus_three(ax):
    plotting.draw_update_ratio(run_record(), ax, width=20)
    first, second, rule = ax.get_lines()
    np.testing.assert_allclose(first.get_ydata(), [-3] * 5)
    np.testing.assert_allclose(second.get_ydata(), [-2] * 5)
    assert list(rule.get_ydata()) == [-3, -3]


def test_a_run_map_shows_densities_that_integrate_to_one_per_slice(ax):
    record = run_record()
    plotting.draw_run_map(record, ax)
    densities = np.asarray(ax.collections[0].get_array())
    widths = record.bin_edges.log10().diff().numpy()[:, None]
    np.testing.assert_allclose((densities * widths).sum(0), 1, atol=0.02)  # floor of the log scale


# label_line_ends


def label_boxes(ax):
    ax.figure.canvas.draw()
    return sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.y0)


@pytest.mark.parametrize("heights", [(1, 1, 1), (0, 0.01, 9), (5, 4.9, 4.8, 1, 1.1, 1.05)])
def test_labels_of_line_ends_do_not_overlap(ax, heights):
    for number, height in enumerate(heights):
        ax.plot([0, 1], [10, height], label=f"line {number}")
    plotting.label_line_ends(ax)
    boxes = label_boxes(ax)
    assert len(boxes) == len(heights)
    for lower, upper in itertools.pairwise(boxes):
        assert lower.y1 <= upper.y0 + 1  # one pixel of white space may be shared


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_label_stands_at_the_height_of_its_line_end_in_its_colour(ax, scale):
    ends = {"low": 2.0, "middle": 20.0, "high": 80.0}
    for name, end in ends.items():
        ax.plot([0, 1], [1, end], label=name)
    ax.set(yscale=scale, ylim=(1, 100))
    plotting.label_line_ends(ax)
    ax.figure.canvas.draw()
    for text, line in zip(ax.texts, ax.get_lines(), strict=True):
        box = text.get_window_extent()
        end = ax.transData.transform((1, ends[text.get_text()]))
        assert (box.y0 + box.y1) / 2 == pytest.approx(end[1], abs=4)
        assert box.x0 > end[0]
        assert text.get_color() == line.get_color()


def test_labels_keep_the_order_of_the_line_ends(ax):
    for name, end in {"top": 3.02, "bottom": 3.0, "middle": 3.01}.items():
        ax.plot([0, 1], [9, end], label=name)
    plotting.label_line_ends(ax)
    by_height = sorted(ax.texts, key=lambda text: text.get_window_extent().y0)
    assert [text.get_text() for text in by_height] == ["bottom", "middle", "top"]


def test_lines_without_a_name_get_no_label(ax):
    ax.plot([0, 1], [0, 1], label="named")
    ax.axhline(0.5)
    plotting.label_line_ends(ax)
    assert [text.get_text() for text in ax.texts] == ["named"]


# use_style


def test_the_style_is_a_hundred_dots_per_inch_with_colours_from_one_list():
    assert plt.rcParams["figure.dpi"] == plt.rcParams["savefig.dpi"] == 100
    assert plt.rcParams["axes.prop_cycle"].by_key()["color"] == plotting.COLOURS
