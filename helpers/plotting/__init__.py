"""Pictures of records that were measured elsewhere, all in one style.

Every function is draw_something(record, ax=None) -> ax: it draws on the axes it is given, or on
a new figure, and never runs a model.
"""

from helpers.plotting.curves import draw_learning_curves, draw_seed_bands, draw_update_ratio
from helpers.plotting.layers import (
    draw_activation_std,
    draw_activations,
    draw_grad_data,
    draw_gradient_std,
    draw_gradients,
    draw_histogram,
    draw_running_against_calibrated,
)
from helpers.plotting.maps import draw_counts, draw_run_map, draw_saturation_map
from helpers.plotting.style import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    INK,
    LABEL_GAP,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    add_depth_bar,
    depth_colours,
    label_line_ends,
    use_style,
)

__all__ = [
    "BLUE",
    "COLOURS",
    "GREEN",
    "GREY",
    "INK",
    "LABEL_GAP",
    "ORANGE",
    "PURPLE",
    "SKY",
    "STYLE",
    "add_depth_bar",
    "depth_colours",
    "draw_activation_std",
    "draw_activations",
    "draw_counts",
    "draw_grad_data",
    "draw_gradient_std",
    "draw_gradients",
    "draw_histogram",
    "draw_learning_curves",
    "draw_run_map",
    "draw_running_against_calibrated",
    "draw_saturation_map",
    "draw_seed_bands",
    "draw_update_ratio",
    "label_line_ends",
    "use_style",
]
