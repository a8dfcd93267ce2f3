"""Slider panels. Each is a function that returns a `Panel`; naming it in a cell shows it.

    init_explorer(splits.train)

A panel is live where a kernel runs and a picture where none does.
"""

from helpers.widgets.batch_explorer import batch_explorer
from helpers.widgets.four_views import show_four_views
from helpers.widgets.init_explorer import init_explorer
from helpers.widgets.live_view import LiveView, live_view
from helpers.widgets.panel import Panel
from helpers.widgets.running_statistics import running_statistics_panel

__all__ = [
    "LiveView",
    "Panel",
    "batch_explorer",
    "init_explorer",
    "live_view",
    "running_statistics_panel",
    "show_four_views",
]
