"""A real browser, and a real JupyterLab on a copy of the course."""

import pytest
from playwright.sync_api import sync_playwright

from tests.browser import jupyterlab


# Playwright's event loop runs as long as a browser is open, and would be taken for a kernel's by
# the tests of other modules.
@pytest.fixture(scope="module")
def browser():
    """Playwright's Chromium; a test that wants one is skipped where there is none."""
    if jupyterlab.CHROMIUM is None:
        pytest.skip(f"no browser: none of {', '.join(jupyterlab.BROWSERS)} is installed")
    with sync_playwright() as playwright, jupyterlab.launch(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A JupyterLab of our own, on a copy of the course."""
    with jupyterlab.Server(tmp_path_factory.mktemp("lab")) as server:
        yield server
