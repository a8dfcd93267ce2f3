"""A real browser, and a real JupyterLab on a copy of the course."""

import pytest
from playwright.sync_api import sync_playwright

from tests.browser import jupyterlab


@pytest.fixture(scope="session")
def browser():
    """Playwright's Chromium; a test that wants one is skipped where there is none."""
    if jupyterlab.CHROMIUM is None:
        pytest.skip(f"no browser: none of {', '.join(jupyterlab.BROWSERS)} is installed")
    with sync_playwright() as playwright, jupyterlab.launch(playwright) as browser:
        yield browser


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A JupyterLab of our own, on a copy of the course."""
    with jupyterlab.Server(tmp_path_factory.mktemp("lab")) as server:
        yield server
