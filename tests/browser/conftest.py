"""A real browser, and a real JupyterLab on a copy of the course."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests.browser import jupyterlab

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update"
)


@pytest.fixture(scope="session")
def browser():
    """Playwright's Chromium; a test that wants one is skipped where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A JupyterLab of our own, on a copy of the course."""
    with jupyterlab.Server(tmp_path_factory.mktemp("lab")) as server:
        yield server
