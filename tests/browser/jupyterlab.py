"""A JupyterLab server on a copy of the course, and a notebook opened in it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

from playwright.sync_api import Browser, Locator, Page, Playwright

COURSE = Path(__file__).parents[2]
PARTS = ("helpers", "data", "notebooks")
TOKEN = "only-here"
MILLISECONDS = 180_000  # the longest wait for a condition, on a slow machine
# Without this, a pop-up asks whether to show news.
SETTINGS = {"@jupyterlab/apputils-extension/notification": {"fetchNews": "false"}}

WIDGET = "application/vnd.jupyter.widget-view+json"
READY = """() => {
    const notebook = window.jupyterapp?.shell?.currentWidget;
    const kernel = notebook?.context?.sessionContext?.session?.kernel;
    return kernel?.status === "idle" && kernel.connectionStatus === "connected";
}"""

# Of a cell far away there is only a placeholder, until it is scrolled to.
DRAWN = """number => {
    const content = jupyterapp.shell.currentWidget.content;
    const cell = content.widgets[number];
    content.scrollToItem(number, "center");
    cell.node.dataset.number = number;
    return !cell.isPlaceholder();
}"""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update"
)


def launch(playwright: Playwright) -> Browser:
    """The Chromium of this machine."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())


class Server:
    """JupyterLab on a free port, with a token and with settings of its own.

    `folder` receives a copy of the course, and what the server writes. Use it in a `with`
    block; at its end the server is stopped.
    """

    def __init__(self, folder: Path):
        self.course = folder / "course"
        for part in PARTS:
            ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
            shutil.copytree(COURSE / part, self.course / part, ignore=ignore)
        self._folder = folder

    def __enter__(self) -> "Server":
        private = {
            name: str(self._folder / name)
            for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_WORKSPACES_DIR")
        }
        settings = self._folder / "settings"
        for name, values in SETTINGS.items():
            path = settings / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = (self._folder / "server.log").open("w")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                *("--expose-app-in-browser", f"--port={port}", "--ServerApp.port_retries=0"),
                *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={self.course}"),
            ],
            env={**os.environ, **private, "JUPYTERLAB_SETTINGS_DIR": str(settings)},
            cwd=self._folder,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + MILLISECONDS / 1000
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"JupyterLab did not start:\n{Path(self._log.name).read_text()}")
            time.sleep(0.1)
        return self

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api", timeout=5):
                return True
        except (URLError, OSError):
            return False

    def __exit__(self, *_exception) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:  # a kernel that will not end; it does so without a server
            self._process.kill()
            self._process.wait()
        self._log.close()

    def open(self, browser: Browser, path: str) -> "Notebook":
        """The notebook, `path` from the course's folder, with its kernel ready."""
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(MILLISECONDS)
        page.goto(f"{self.url}/doc/tree/{path}?reset&token={TOKEN}")
        page.wait_for_function(READY)
        return Notebook(page)


class Notebook:
    """A notebook in JupyterLab; `page` is Playwright's."""

    def __init__(self, page: Page):
        self.page = page

    def command(self, name: str, **arguments: object) -> None:
        """Run one of JupyterLab's commands, such as "notebook:run-all-cells", to its end."""
        script = "([name, arguments]) => jupyterapp.commands.execute(name, arguments)"
        self.page.evaluate(script, [name, arguments])
        self.page.wait_for_function(READY)

    def cells(self) -> list[dict]:
        """The cells as they would be saved."""
        return self.page.evaluate("jupyterapp.shell.currentWidget.context.model.toJSON().cells")

    def errors(self) -> list[str]:
        """What went wrong: the cells' exceptions, and the widgets that could not be shown."""
        outputs = [output for cell in self.cells() for output in cell.get("outputs", [])]
        raised = [output["evalue"] for output in outputs if output["output_type"] == "error"]
        missing = self.page.get_by_text("Error displaying widget").or_(
            self.page.get_by_text("Loading widget")
        )
        return raised + missing.all_inner_texts()

    def output(self, number: int) -> Locator:
        """What the cell at `number`, from 0, shows; the page is scrolled there to have it drawn."""
        self.page.wait_for_function(DRAWN, arg=number, polling=200)
        return self.page.locator(f"[data-number='{number}'] .jp-OutputArea")

    def panels(self) -> list["Panel"]:
        """The slider panels, from top to bottom: nothing else in the lessons is a live widget."""
        return [Panel(self.output(n)) for n, cell in enumerate(self.cells()) if is_live(cell)]

    def save(self) -> None:
        """Save it and close it, and end its kernel."""
        self.command("docmanager:save")
        if any(map(is_live, self.cells())):
            # The widgets' state is gathered during a save and may be late for that one.
            model = "jupyterapp.shell.currentWidget.context.model"
            self.page.wait_for_function(f"{model}.toJSON().metadata.widgets")
            self.command("docmanager:save")
        session = "jupyterapp.shell.currentWidget.context.sessionContext"
        self.page.evaluate(f"{session}.shutdown()")
        self.page.close()


def is_live(cell: dict) -> bool:
    """Whether the cell shows a widget."""
    return any(WIDGET in output.get("data", {}) for output in cell.get("outputs", []))


class Panel:
    """A slider panel on the page: its box, its sliders by name, its picture, its button."""

    def __init__(self, output: Locator):
        self.box = output.locator(".widget-vbox")
        self.image = self.box.locator("img.widget-image")
        self.image.wait_for()
        self.sliders = {
            slider.locator("label").inner_text(): slider.locator("[role=slider]")
            for slider in self.box.locator(".widget-slider").all()
        }
        self.reset = self.box.get_by_role("button", name="Reset")
        self._page = output.page

    def numbers(self) -> str:
        """The table beside the picture."""
        return self.box.locator(".widget-html").inner_text()

    def after(self, move: Callable[[], None]) -> None:
        """Make a move and wait for the picture that it causes; its address is a new one."""
        before = self.image.get_attribute("src")
        move()
        changed = "([image, before]) => image.src !== before && image.complete"
        self._page.wait_for_function(changed, arg=[self.image.element_handle(), before])

    def press(self, slider: Locator) -> None:
        """Move a slider by one key, away from the end that it stands at."""
        slider.press("ArrowLeft" if _share(slider) > 0.5 else "ArrowRight")

    def drag(self, slider: Locator) -> None:
        """Move a slider with the mouse, to the end that is further away."""
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        track = slider.locator("xpath=ancestor::*[contains(@class, 'noUi-base')]").bounding_box()
        self._page.mouse.move(x, y)
        self._page.mouse.down()
        self._page.mouse.move(track["x"] + track["width"] * (_share(slider) < 0.5), y)
        self._page.mouse.up()


def _share(slider: Locator) -> float:
    """Where a slider stands: 0 at its left end, 1 at its right end."""
    names = ("min", "now", "max")
    low, now, high = (float(slider.get_attribute(f"aria-value{name}")) for name in names)
    return (now - low) / (high - low)
