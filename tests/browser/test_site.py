"""The web pages, opened from a disk in a browser that has no network."""

import pytest

from notebooks import publish

LESSONS = sorted((publish.COURSE / "notebooks").glob("[0-9][0-9]_*.ipynb"))
NAMES = ["index.html", *(f"{path.stem}.html" for path in LESSONS)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder with the pages."""
    folder = tmp_path_factory.mktemp("site")
    publish.main(["--out", str(folder)])
    return folder


@pytest.fixture(params=["light", "dark"])
def context(browser, request):
    """A browser's context without a network, and what it asked for or complained about."""
    context = browser.new_context(color_scheme=request.param)
    complaints = []

    def refuse(route):
        complaints.append(route.request.url)
        route.abort()

    context.route(lambda url: not url.startswith(("file:", "data:")), refuse)
    context.on("console", lambda message: complaints.append(message.text))
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield context, complaints
    context.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_everything_without_a_network(context, site, name):
    context, complaints = context
    page = context.new_page()
    page.goto((site / name).as_uri())
    page.wait_for_load_state("networkidle")
    assert complaints == []
    images = page.locator("img").evaluate_all("images => images.map(i => i.naturalWidth)")
    assert images
    assert all(images)
    sizes = "all => all.map(m => m.getBoundingClientRect()).map(b => b.width * b.height)"
    formulas = page.locator("math").evaluate_all(sizes)
    assert all(formulas)
    assert formulas or name == "index.html"
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_solution_unfolds_without_scripts(browser, site):
    page = browser.new_page(java_script_enabled=False)
    page.goto((site / "01_naive_training.html").as_uri())
    fold = page.locator("details", has_text="Solution").first
    code = fold.locator(".highlight")
    assert not code.is_visible()
    fold.locator("summary").click()
    assert code.is_visible()
    page.close()
