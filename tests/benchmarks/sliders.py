"""From a slider's event to the new picture: the init explorer against `interact`'s way.

A third row is what the page sees of an event in a real JupyterLab, where there is a browser.

`interact` makes a new figure for every event and encodes it as the notebook's inline backend
does. Both paths measure the same net and show the same three axes; their events take turns,
so that a busy machine slows both.
"""

import asyncio
import io
import time

import matplotlib
import matplotlib.pyplot as plt
import torch

from helpers import data, plotting, widgets
from helpers.widgets.init_explorer import measure_init
from tests.benchmarks import browser

EXAMPLES = 1000
GAINS = torch.linspace(0.5, 3, 26).tolist()


def rows(quick: bool) -> list[dict]:
    """Median and 95th percentile (µs) of each of these ways."""
    split = data.build_splits(data.load_names()).train
    panel = widgets.init_explorer(split, examples=EXAMPLES)
    batch = data.Split(split.contexts[:EXAMPLES], split.targets[:EXAMPLES])
    gains = GAINS[:10] if quick else GAINS * 4
    times = {"slider_event": [], "slider_interact_baseline": []}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the lessons
    try:
        with matplotlib.rc_context():
            plotting.use_style()
            _draw_anew(batch, 1.0)  # fonts are looked up once
            for gain in gains:
                panel.controls["gain"].value = 4.0  # so that each event changes something
                times["slider_event"].append(_seconds(_move, panel, gain))
                times["slider_interact_baseline"].append(_seconds(_draw_anew, batch, gain))
    finally:
        torch.set_num_threads(threads)
    if panel.error is not None:
        raise panel.error
    if in_page := browser.milliseconds(20 if quick else 60):
        times["slider_in_browser"] = [milliseconds / 1000 for milliseconds in in_page]
    return [_row(name, seconds) for name, seconds in times.items()]


def _move(panel: widgets.Panel, gain: float) -> None:
    """One event as in a kernel: inside an event loop, with the time that waits for more."""
    picture = panel.image.value

    async def until_drawn():
        panel.controls["gain"].value = gain
        while panel.image.value is picture:
            await asyncio.sleep(0)

    asyncio.run(until_drawn())


def _draw_anew(batch: data.Split, gain: float) -> bytes:
    record = measure_init(batch, gain=gain)
    figure, axes = plt.subplots(1, 3, figsize=(10.2, 3.1))
    edges = torch.linspace(-1, 1, 51)
    for layer, colour in zip(record.layers, plotting.depth_colours(5), strict=True):
        counts = torch.histc(layer.activation, 50, -1, 1)
        axes[0].stairs(counts / layer.activation.numel(), edges, color=colour)
    axes[0].set(title="Activations", xlabel="activation", ylabel="fraction per bin")
    plotting.draw_activation_std(record.statistics, axes[1], theory=record.theory)
    plotting.draw_gradient_std(record.statistics, axes[2], theory=record.theory)
    file = io.BytesIO()
    figure.canvas.print_figure(file, format="png", bbox_inches="tight")
    plt.close(figure)
    return file.getvalue()


def _seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def _row(name: str, seconds: list[float]) -> dict:
    ordered = sorted(seconds)
    median, p95 = ordered[len(ordered) // 2], ordered[int(0.95 * len(ordered))]
    return {"name": name, "us": median * 1e6, "us_p95": p95 * 1e6}
