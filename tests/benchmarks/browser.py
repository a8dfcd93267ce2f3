"""From a key pressed on a slider to the new picture, as the page sees it in a real JupyterLab."""

import tempfile
from pathlib import Path

import nbformat
from playwright.sync_api import sync_playwright

from notebooks import build
from tests.browser import jupyterlab

PANEL = """\
from helpers import data, widgets
widgets.init_explorer(data.build_splits(data.load_names()).train)"""
WATCH = """([slider, image]) => {
    let pressed;
    window.milliseconds = [];
    slider.addEventListener("keydown", () => { pressed = performance.now(); }, true);
    image.addEventListener("load", () => milliseconds.push(performance.now() - pressed));
}"""


def milliseconds(events: int) -> list[float]:
    """The time of each event, in order; empty where there is no browser."""
    if jupyterlab.CHROMIUM is None:
        return []
    cells = [nbformat.v4.new_code_cell(source) for source in (build.BOOTSTRAP, PANEL)]
    with (
        tempfile.TemporaryDirectory() as folder,
        jupyterlab.Server(Path(folder)) as server,
        sync_playwright() as playwright,
        jupyterlab.launch(playwright) as browser,
    ):
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=build.METADATA)
        nbformat.write(notebook, server.course / "panel.ipynb")
        opened = server.open(browser, "panel.ipynb")
        opened.command("notebook:run-all-cells")
        (panel,) = opened.panels()
        slider = panel.sliders["gain"]
        elements = [slider.element_handle(), panel.image.element_handle()]
        opened.page.evaluate(WATCH, elements)
        for number in range(events):
            key = "ArrowLeft" if number % 40 < 20 else "ArrowRight"
            panel.after(lambda key=key: slider.press(key))
        return opened.page.evaluate("milliseconds")
