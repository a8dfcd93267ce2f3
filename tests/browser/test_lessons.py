"""Each lesson in a real JupyterLab: run, moved by keyboard and mouse, saved, opened again."""

from functools import partial

import pytest

from tests.browser.jupyterlab import COURSE, is_live

LESSONS = [path.stem for path in sorted((COURSE / "notebooks").glob("[0-9][0-9]_*.ipynb"))]
SCREENS = COURSE / "build" / "screens"
FOCUSED = """() => {
    const widget = document.activeElement.closest(
        ".widget-slider, .widget-toggle-buttons, .widget-checkbox, .widget-button");
    return widget?.querySelector("label:not([style*=none]), span")?.innerText
        ?? widget?.innerText;
}"""


# One worker takes all tests of a lesson, which share its run.
@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in LESSONS],
)
def lesson(request, browser, server):
    """The lesson, opened, after Run All."""
    notebook = server.open(browser, f"notebooks/{request.param}.ipynb")
    notebook.name = request.param
    notebook.command("notebook:run-all-cells")
    yield notebook
    notebook.page.close()


def test_every_cell_runs_and_every_widget_is_there(lesson):
    assert lesson.errors() == []
    code = [cell for cell in lesson.cells() if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    showing = [cell for cell in code if cell["source"].splitlines()[-1].startswith("widgets.")]
    assert len(lesson.panels()) == len(showing)


def test_every_slider_moves_picture_and_numbers_by_key_and_by_mouse(lesson):
    for panel in lesson.panels():
        assert panel.sliders
        for move in (panel.press, panel.drag):
            numbers = {panel.numbers()}
            for slider in panel.sliders.values():
                panel.after(partial(move, slider))
                numbers.add(panel.numbers())
                panel.after(panel.reset.click)
            assert len(numbers) > 1
    assert lesson.errors() == []


def test_the_tab_key_goes_through_the_controls_in_their_order(lesson):
    for panel in lesson.panels():
        next(iter(panel.sliders.values())).focus()
        reached = []
        while not reached or reached[-1] != "Reset":
            name = lesson.page.evaluate(FOCUSED)
            assert name, f"after {reached} comes something without a name"
            reached += [name] * (name not in reached)
            lesson.page.keyboard.press("Tab")
        assert [name for name in reached if name in panel.sliders] == [*panel.sliders]


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_panels_are_pictured_in_both_themes(lesson, theme):
    lesson.command("apputils:change-theme", theme=f"JupyterLab {theme}")
    SCREENS.mkdir(parents=True, exist_ok=True)
    for number, panel in enumerate(lesson.panels(), 1):
        inside = panel.box.bounding_box()["width"]
        assert panel.image.bounding_box()["width"] <= inside
        panel.box.screenshot(path=SCREENS / f"{lesson.name}-{number}-{theme.lower()}.png")


def test_saved_and_opened_again_it_still_shows_every_picture(lesson, browser, server):
    cells = lesson.cells()
    lesson.save()
    again = server.open(browser, f"notebooks/{lesson.name}.ipynb")
    for number, cell in enumerate(cells):
        output = again.output(number) if is_live(cell) else None
        if output is not None:
            output.locator("img").wait_for()
    assert again.errors() == []
    again.page.close()
