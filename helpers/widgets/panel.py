"""What every panel is made of: controls, one picture, and the numbers beside it."""

import asyncio
import base64
import gc
import html
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import ipywidgets
from IPython import get_ipython
from IPython.display import display

from helpers.widgets.canvas import shrink

# Events that arrive within this time share one picture. Long enough for a queue of slider
# moves to be taken in (some 0.3 ms each), too short to be felt.
SETTLE_SECONDS = 0.005


class View(NamedTuple):
    """What a panel shows for one setting of its controls."""

    png: bytes
    numbers: str  # HTML
    summary: str  # one line of plain text, rounded to what is the same on every CPU


class Panel:
    """Controls, a picture of what they do, and its numbers.

    `controls` maps each argument of `show` to the widget that sets it; `show(**values)` is a
    plain function that computes and draws. Moving a control shows the new state. While one is
    dragged the latest value wins: inside a running event loop (a kernel's) an event does not
    draw but asks for a picture a moment later, once; by then the values that queued up are
    in. Without a loop, as in a test, it draws at once.

    When its cell is run again, the panel is closed, and what it holds is freed.

    An exception in `show` appears in place of the numbers and is kept as `error`, until a
    picture succeeds. The first picture is drawn on creation, and may raise.
    """

    def __init__(self, controls: dict[str, ipywidgets.Widget], show: Callable[..., View]):
        self.controls = controls
        self.error: Exception | None = None
        self._show = show
        self._defaults = self.values
        self._pending: asyncio.TimerHandle | None = None
        self._lock = threading.Lock()  # a kernel may handle events in a thread of their own
        self.view = show(**self.values)
        self.image = picture(self.view.png)
        self.readout = ipywidgets.HTML(self.view.numbers)
        self.reset_button = ipywidgets.Button(description="Reset", icon="undo")
        self.reset_button.on_click(lambda _button: self.reset())
        wrap = ipywidgets.Layout(display="flex", flex_flow="row wrap", width="100%")
        self.box = ipywidgets.VBox(
            [
                ipywidgets.Box([*controls.values(), self.reset_button], layout=wrap),
                ipywidgets.Box([self.image, self.readout], layout=wrap),
            ]
        )
        for control in controls.values():
            if hasattr(control, "tooltip"):  # ipywidgets 8 would show "null"
                control.tooltip = control.description
            control.observe(self._on_move, names="value")

    @property
    def values(self) -> dict:
        """The present value of each control."""
        return {name: control.value for name, control in self.controls.items()}

    def reset(self) -> None:
        """Put every control back to where it started."""
        for name, value in self._defaults.items():
            self.controls[name].value = value

    def redraw(self) -> None:
        """Show the controls' present values now."""
        with self._lock:
            if self._pending is not None:
                self._pending.cancel()
                self._pending = None
            try:
                self.view = self._show(**self.values)
            except Exception as error:
                self.error = error
                message = html.escape(f"{type(error).__name__}: {error}")
                self.readout.value = (
                    f'<pre class="panel-error" style="color:#B00020">{message}</pre>'
                )
                return
            self.error = None
            self.readout.value = self.view.numbers  # first, as a picture takes longer to appear
            self.image.value = self.view.png

    def _on_move(self, _change) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.redraw()
            return
        if self._pending is None:
            self._pending = loop.call_later(SETTLE_SECONDS, self.redraw)

    def bundle(self) -> dict[str, object]:
        """The live panel, its picture for pages without a kernel, and its summary, by MIME type."""
        return bundle(self.view.summary, self.view.png, self.box)

    def close(self) -> None:
        """Free what the panel holds; nothing moves any more."""
        self._show = None
        for widget in _family(self.box):
            widget.close()

    def _ipython_display_(self) -> None:
        _close_earlier(self)
        display(self.bundle(), raw=True)


# The panels on the page, by cell: the message that ran the cell, and what it showed.
_shown: dict[str, tuple[str, list[Panel]]] = {}


def _close_earlier(panel: Panel) -> None:
    """Close what an earlier run of this cell showed, where the front end says which cell it is."""
    shell = get_ipython()
    message = shell.get_parent() if hasattr(shell, "get_parent") else {}
    if cell := message.get("metadata", {}).get("cellId"):
        run, panels = _shown.get(cell, ("", []))
        if run != message["header"]["msg_id"]:
            for earlier in panels:
                earlier.close()
            if panels:
                gc.collect()  # what a figure is made of refers to itself
            panels = []
        _shown[cell] = (message["header"]["msg_id"], [*panels, panel])


def _family(widget: ipywidgets.Widget) -> Iterator[ipywidgets.Widget]:
    """The widget, its children and theirs, with their styles and layouts."""
    for child in getattr(widget, "children", ()):
        yield from _family(child)
    yield from (getattr(widget, name) for name in ("style", "layout") if hasattr(widget, name))
    yield widget


def picture(png: bytes) -> ipywidgets.Image:
    """The widget that shows a PNG; without max_width and align_self front ends stretch it."""
    layout = ipywidgets.Layout(max_width="100%", align_self="flex-start")
    return ipywidgets.Image(value=png, format="png", layout=layout)


def still(text: str, png: bytes) -> dict[str, object]:
    """A picture and a line of text, by MIME type."""
    return {"text/plain": text, "image/png": base64.b64encode(shrink(png)).decode()}


def bundle(text: str, png: bytes, widget: ipywidgets.Widget) -> dict[str, object]:
    """A live widget, its picture for pages without a kernel, and a line of text, by MIME type."""
    return still(text, png) | {
        "application/vnd.jupyter.widget-view+json": {
            "version_major": 2,
            "version_minor": 0,
            "model_id": widget.model_id,
        },
    }


def table(columns: dict[str, list[str]]) -> str:
    """An HTML table of numbers; the keys are the columns' titles."""
    head = "".join(f"<th>{title}</th>" for title in columns)
    rows = [
        "".join(f"<td>{cell}</td>" for cell in row) for row in zip(*columns.values(), strict=True)
    ]
    return (
        '<table style="line-height:1.25; text-align:right; border-spacing:10px 0">'
        f"<tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
    )
