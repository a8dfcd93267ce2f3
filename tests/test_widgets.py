"""`helpers.widgets`: an event changes picture and numbers, the latest value wins, errors show."""

import asyncio
import base64
import gc
import io
import math

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from jupyter_client.manager import start_new_kernel
from PIL import Image

from helpers import data, diagnostics, layers, training, widgets
from helpers.widgets.batch_explorer import measure_batch
from helpers.widgets.canvas import Canvas, encode_png, shrink
from helpers.widgets.init_explorer import measure_init
from helpers.widgets.init_picture import InitPicture
from helpers.widgets.panel import View


@pytest.fixture(autouse=True)
def one_thread():
    """As in the lessons: at this size a second thread costs more than it brings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_split(count=200):
    generator = torch.Generator().manual_seed(2)
    contexts = torch.randint(27, (count, 3), generator=generator)
    return data.Split(contexts, torch.randint(27, (count,), generator=generator))


def recorded_run(split):
    generator = torch.Generator().manual_seed(3)
    net = layers.name_mlp(27, hidden_size=12, batchnorm=True, generator=generator)
    with diagnostics.record_batches(net.batchnorm1, batch_sizes=(4, 32)) as recorder:
        training.fit(net, split, 30, generator=generator, progress=False)
    return net, recorder.record()


def running_statistics_panel():
    split = make_split()
    return widgets.running_statistics_panel(*recorded_run(split), split, split)


def init_explorer(**settings):
    return widgets.init_explorer(make_split(), **({"width": 20} | settings))


# A panel, and a move of each of its controls.
PANELS = {
    "init_explorer": (
        init_explorer,
        {
            "gain": 0.5,
            "scale": 10.0,
            "depth": 12,
            "width": 50,
            "activation": "relu",
            "batchnorm": True,
        },
    ),
    "init_explorer, all views": (
        lambda: init_explorer(views=("activations", "gradients", "weights", "updates")),
        {"gain": 3.0, "learning_rate": 1.0},
    ),
    "batch_explorer": (widgets.batch_explorer, {"value": 5.0, "batch_size": 2}),
    "running_statistics_panel": (
        running_statistics_panel,
        {"momentum": 0.001, "batch_size": 4, "corrected": True},
    ),
}
MOVES = [
    pytest.param(make, name, value, id=f"{panel}: {name}")
    for panel, (make, moves) in PANELS.items()
    for name, value in moves.items()
]
EVERY_PANEL = pytest.mark.parametrize("make", [make for make, _ in PANELS.values()], ids=PANELS)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


# Every panel


@pytest.mark.parametrize(("make", "name", "value"), MOVES)
def test_moving_a_control_changes_the_picture_and_reset_brings_it_back(make, name, value):
    panel = make()
    before = (panel.image.value, panel.readout.value, panel.view.summary)
    panel.controls[name].value = value
    assert panel.error is None
    assert panel.image.value != before[0]
    assert panel.view.summary != before[2] or name == "learning_rate"
    panel.reset()
    assert (panel.image.value, panel.readout.value, panel.view.summary) == before


@EVERY_PANEL
def test_a_panel_is_one_bundle_of_summary_picture_and_live_view(make):
    panel = make()
    bundle = panel.bundle()
    assert set(bundle) == {
        "text/plain",
        "image/png",
        "application/vnd.jupyter.widget-view+json",
    }
    assert "\n" not in bundle["text/plain"]
    picture = base64.b64decode(bundle["image/png"])
    assert pixels(picture).shape == pixels(panel.image.value).shape
    assert len(picture) <= 60_000
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == panel.box.model_id


@EVERY_PANEL
def test_a_panel_leaves_no_figure_and_no_style_behind(make):
    style, figures = dict(plt.rcParams), plt.get_fignums()
    panel = make()
    panel.redraw()
    assert plt.get_fignums() == figures
    assert dict(plt.rcParams) == style


@EVERY_PANEL
def test_every_slider_starts_where_it_can_stand(make):
    # Otherwise a front end moves it, and what it shows is not what was asked for.
    for control in make().controls.values():
        if isinstance(control, ipywidgets.FloatSlider | ipywidgets.FloatLogSlider):
            logarithmic = isinstance(control, ipywidgets.FloatLogSlider)
            value = math.log10(control.value) if logarithmic else control.value
            steps = (value - control.min) / control.step
            assert steps == pytest.approx(round(steps), abs=1e-6)


@EVERY_PANEL
def test_every_control_has_a_name_and_follows_the_hand(make):
    panel = make()
    for control in panel.controls.values():
        assert control.description
        assert getattr(control, "continuous_update", True)
        assert not isinstance(control, ipywidgets.Output)


def test_fifty_moves_keep_nothing():
    panel = init_explorer()

    def objects_after(moves):
        for number in range(moves):
            panel.controls["gain"].value = 1.0 + number % 5 / 10
        gc.collect()
        return len(gc.get_objects())

    objects_after(10)
    before = objects_after(10)
    assert objects_after(50) - before < 20  # less than one per move


# Errors


def one_slider_panel(show):
    return widgets.Panel({"x": ipywidgets.FloatSlider(value=1.0, max=10.0)}, show)


def draw_nothing(x):
    return View(b"png %g" % x, f"<b>{x}</b>", f"x is {x}")


def test_an_error_is_shown_and_kept_until_a_picture_succeeds():
    def show(x):
        if x > 5:
            raise ValueError("x < 5 & nothing else")
        return draw_nothing(x)

    panel = one_slider_panel(show)
    panel.controls["x"].value = 6.0
    assert isinstance(panel.error, ValueError)
    assert "ValueError: x &lt; 5 &amp; nothing else" in panel.readout.value
    assert panel.image.value == b"png 1"
    panel.controls["x"].value = 2.0
    assert panel.error is None
    assert panel.readout.value == "<b>2.0</b>"
    assert panel.image.value == b"png 2"


def test_an_error_in_the_first_picture_is_raised():
    with pytest.raises(ZeroDivisionError):
        one_slider_panel(lambda x: 1 / 0)


# The latest value wins


def test_moves_that_arrive_together_share_one_picture_of_the_latest_value():
    shown = []

    def show(x):
        shown.append(x)
        return draw_nothing(x)

    panel = one_slider_panel(show)

    async def drag():
        for value in (2.0, 3.0, 4.0):
            panel.controls["x"].value = value
        assert shown == [1.0]  # nothing is drawn while moves come in
        await asyncio.sleep(0.1)
        panel.controls["x"].value = 5.0
        await asyncio.sleep(0.1)

    asyncio.run(drag())
    assert shown == [1.0, 4.0, 5.0]
    assert panel.image.value == b"png 5"


def test_a_redraw_on_demand_replaces_the_one_that_was_pending():
    shown = []

    def show(x):
        shown.append(x)
        return draw_nothing(x)

    panel = one_slider_panel(show)

    async def drag():
        panel.controls["x"].value = 2.0
        panel.redraw()
        await asyncio.sleep(0.1)

    asyncio.run(drag())
    assert shown == [1.0, 2.0]


IN_A_KERNEL = """
from helpers import widgets
panel = widgets.batch_explorer()
count, show = 0, panel._show
def counted(**values):
    global count
    count += 1
    return show(**values)
panel._show = counted
panel
"""


@pytest.fixture
def client():
    """A client of a kernel, which runs in the course's folder."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(data.WORLD_FILE.parents[1]))
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_in_a_kernel_dragging_queues_nothing_and_ends_on_the_last_value(client):
    messages = []

    def run(code):
        messages.clear()
        reply = client.execute_interactive(code, timeout=60, output_hook=messages.append)
        assert reply["content"]["status"] == "ok", reply["content"]

    run(IN_A_KERNEL)
    (shown,) = [m for m in messages if m["msg_type"] == "display_data"]
    assert "application/vnd.jupyter.widget-view+json" in shown["content"]["data"]
    sliders = [
        m["content"]["comm_id"]
        for m in messages
        if m["msg_type"] == "comm_open"
        and m["content"]["data"]["state"].get("description") == "value"
    ]
    for number in range(60):
        update = {"method": "update", "state": {"value": number / 10}, "buffer_paths": []}
        client.shell_channel.send(
            client.session.msg("comm_msg", {"comm_id": sliders[0], "data": update})
        )
    run("import asyncio; await asyncio.sleep(1)")
    run("print(panel.values['value'], panel.view.summary, count, panel.error, sep='|')")
    (line,) = [m["content"]["text"] for m in messages if m["msg_type"] == "stream"]
    value, summary, count, error = line.strip().split("|")
    assert value == "5.9"
    assert "one value 5.9" in summary
    assert int(count) < 30
    assert error == "None"


def run_cell(client, cell, code):
    """What the code prints, run as a front end runs the cell of that name."""
    content = {"code": code, "silent": False, "store_history": True}
    message = client.session.msg("execute_request", content, metadata={"cellId": cell})
    client.shell_channel.send(message)
    printed = ""
    while True:
        answer = client.get_iopub_msg(timeout=60)
        if answer["parent_header"].get("msg_id") == message["header"]["msg_id"]:
            assert answer["msg_type"] != "error", answer["content"]
            printed += answer["content"].get("text", "")
            if answer["content"].get("execution_state") == "idle":
                return printed


def test_a_panel_is_freed_when_its_cell_is_run_again(client):
    def widgets_alive():
        """How many are connected to the front end."""
        kinds = "ipywidgets.Widget in type(item).__mro__ and item.comm is not None"
        return int(run_cell(client, "count", f"print(sum({kinds} for item in gc.get_objects()))"))

    run_cell(client, "first", "import gc, ipywidgets, torch\nfrom helpers import widgets")
    show = "widgets.batch_explorer(torch.linspace(-1, 1, 8))"
    run_cell(client, "panel", show)
    one_panel = widgets_alive()
    for _ in range(3):
        run_cell(client, "panel", show)
        assert widgets_alive() == one_panel > 0
    run_cell(client, "another", f"{show}._ipython_display_()\n{show}")
    assert widgets_alive() == 3 * one_panel


# What the panels measure and draw


def test_the_init_explorer_shows_theory_and_the_numbers_of_each_layer():
    panel = init_explorer(depth=3)
    assert panel.readout.value.count("<tr>") == 1 + 3
    assert "saturated" in panel.readout.value
    panel.controls["activation"].value = "linear"
    assert "saturated" not in panel.readout.value


def test_the_init_explorer_survives_vanishing_and_exploding_nets():
    panel = init_explorer(depth=20)
    for activation in layers.ACTIVATIONS:
        for gain, scale in ((0.1, 0.01), (4.0, 100.0)):
            panel.controls["activation"].value = activation
            panel.controls["gain"].value = gain
            panel.controls["scale"].value = scale
            assert panel.error is None


def test_gain_and_scale_multiply_and_the_seed_stays():
    split = make_split()
    one = measure_init(split, gain=2.0, scale=0.5, width=20)
    other = measure_init(split, gain=1.0, scale=1.0, width=20)
    for a, b in zip(one.layers, other.layers, strict=True):
        assert torch.equal(a.activation, b.activation)


def test_depth_and_back_gives_the_same_picture():
    """Backgrounds are kept for each state of the axes."""
    split, picture = make_split(), InitPicture(("activations", "spread", "gradients"))
    shallow = measure_init(split, depth=2, width=20)
    first = picture.draw(shallow)
    picture.draw(measure_init(split, depth=20, width=20, activation="relu"))
    assert picture.draw(shallow) == first


def test_an_unknown_view_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match="activations, spread"):
        init_explorer(views=("weight",))


def test_one_value_moves_everybodys_normalized_value():
    before = measure_batch(torch.tensor([1.0, 0.0, -1.0, 2.0]))
    after = measure_batch(torch.tensor([6.0, 0.0, -1.0, 2.0]))
    assert (before.normalized[1:] != after.normalized[1:]).all()
    for state in (before, after):
        assert state.mean == pytest.approx(state.values.mean().item())
        assert state.normalized.mean().item() == pytest.approx(0, abs=1e-6)
        assert state.normalized.std(unbiased=False).item() == pytest.approx(1, abs=1e-4)


def test_a_batch_of_one_value_is_an_error():
    with pytest.raises(ValueError, match="two values"):
        widgets.batch_explorer(torch.ones(1))


def test_the_running_statistics_panel_leaves_the_model_alone():
    split = make_split()
    net, statistics = recorded_run(split)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    panel = widgets.running_statistics_panel(net, statistics, split, split)
    panel.controls["momentum"].value = 0.001
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


# Canvas


def test_the_fast_encoder_writes_the_png_that_pillow_reads():
    generator = np.random.default_rng(1)
    image = generator.integers(0, 256, (7, 5, 3), dtype=np.uint8)
    assert np.array_equal(pixels(encode_png(image)), image)


def test_a_shrunk_picture_looks_the_same():
    generator = np.random.default_rng(1)
    image = np.repeat(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8), 20, axis=0)
    assert np.array_equal(pixels(shrink(encode_png(image))), image)


def test_a_moving_artist_leaves_no_trail():
    canvas = Canvas(2, 1)
    (ax,) = canvas.subplots()
    (line,) = ax.plot([0, 1], [0, 1], animated=True)
    first = canvas.png([line])
    line.set_ydata([1, 0])
    moved = canvas.png([line])
    line.set_ydata([0, 1])
    assert moved != first
    assert canvas.png([line]) == first
