"""`diagnostics.record_scalars` and `widgets.live_view`: three numbers while a network trains."""

import importlib.util
import math
import sys
import types

import pytest
import torch
from torch.nn.functional import cross_entropy

from helpers import diagnostics, layers, training, widgets
from helpers.data import Split

torch.set_num_threads(1)
module = sys.modules["helpers.widgets.live_view"]  # the name is the function's in the package


def make_net(**settings):
    settings = {"hidden_size": 12, "depth": 2, **settings}
    return layers.name_mlp(27, generator=torch.Generator().manual_seed(1), **settings)


def make_split(count=64):
    draw = torch.Generator().manual_seed(2)
    contexts = torch.randint(27, (count, 3), generator=draw)
    return Split(contexts, torch.randint(27, (count,), generator=draw))


def fit(net, steps, on_step=None):
    generator = torch.Generator().manual_seed(3)
    options = {"generator": generator, "progress": False, "on_step": on_step}
    return training.fit(net, make_split(), steps, **options)


def test_the_numbers_are_those_of_the_whole_run_recorder():
    with diagnostics.record_scalars(net := make_net(), every=5) as scalars:
        history = fit(net, 20, scalars.on_step)
    with diagnostics.record_run(net := make_net(), every=5, activations_every=5) as recorder:
        fit(net, 20, recorder.on_step)
    run = recorder.record()
    assert scalars.steps == run.steps.tolist() == [0, 5, 10, 15]
    assert scalars.loss[2] == pytest.approx(history.losses[6:11].mean().item())
    torch.testing.assert_close(torch.tensor(scalars.saturated), run.saturated.mean(1))
    torch.testing.assert_close(torch.tensor(scalars.update_ratio), run.update_ratio[:, 1:].mean(1))


def test_watching_does_not_change_the_training():
    with diagnostics.record_scalars(net := make_net(), every=3) as scalars:
        watched = fit(net, 30, scalars.on_step)
    assert torch.equal(watched.losses, fit(make_net(), 30).losses)


def test_hooks_are_gone_and_the_file_closed_also_when_something_raises(monkeypatch):
    closed = []
    writer = types.SimpleNamespace(close=lambda: closed.append(True))
    monkeypatch.setattr("helpers.diagnostics.scalars._summary_writer", lambda: lambda _dir: writer)
    net = make_net()
    watching = diagnostics.record_scalars(net, log_dir="unused")
    with pytest.raises(RuntimeError, match="inside"), watching:
        raise RuntimeError("inside")
    assert closed == [True]
    assert not any(module._forward_hooks for module in net.modules())


def test_without_tensorboard_log_dir_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if not installed
    watching = diagnostics.record_scalars(make_net(), log_dir=str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="pip install tensorboard"), watching:
        pass
    assert list(tmp_path.iterdir()) == []


def test_log_dir_gets_the_same_scalars(monkeypatch):
    written = []
    fake = types.ModuleType("torch.utils.tensorboard")

    class SummaryWriter:
        def __init__(self, log_dir):
            self.log_dir = log_dir

        def add_scalar(self, name, value, step):
            written.append((self.log_dir, name, value, step))

        def close(self):
            written.append("closed")

    fake.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    with diagnostics.record_scalars(net := make_net(), every=10, log_dir="runs") as scalars:
        fit(net, 20, scalars.on_step)
    assert written.pop() == "closed"
    assert written == [
        ("runs", name, getattr(scalars, name)[look], step)
        for look, step in enumerate([0, 10])
        for name in ("loss", "saturated", "update_ratio")
    ]


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed"
)
def test_tensorboard_writes_an_event_file(tmp_path):
    with diagnostics.record_scalars(net := make_net(), log_dir=str(tmp_path)) as scalars:
        fit(net, 20, scalars.on_step)
    assert any("tfevents" in path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("every", [0, -1])
def test_a_useless_interval_is_an_error(every):
    watching = diagnostics.record_scalars(make_net(), every=every)
    with pytest.raises(ValueError, match="must be >= 1"), watching:
        pass


def test_the_view_is_shown_once_and_its_last_picture_stays(monkeypatch):
    shown = []
    for name in ("display", "update_display"):
        monkeypatch.setattr(module, name, lambda bundle, **_: shown.append(bundle))
    net = make_net()
    with widgets.live_view(net, 40) as live:
        fit(net, 40, live.on_step)
    first, last = shown
    assert first["text/plain"] == last["text/plain"]  # nbval compares the text
    assert first["image/png"] != last["image/png"]
    assert live.scalars.steps == [0, 20]


def test_values_outside_the_axes_are_drawn_at_their_edge():
    picture = module.LivePicture(100)
    scalars = types.SimpleNamespace(
        steps=[0, 20], loss=[27.0, 3.0], saturated=[0.7, 0.6], update_ratio=[-math.inf, -2.0]
    )
    picture.draw(scalars)
    loss, _, ratio = picture._lines
    assert list(loss.get_ydata()) == [5.0, 3.0]
    assert list(ratio.get_ydata()) == [-5.0, -2.0]


def test_the_recorder_watches_the_mode_it_is_given():
    net = make_net(batchnorm=True).eval()
    split = make_split()
    with diagnostics.record_scalars(net):
        cross_entropy(net(split.contexts), split.targets)
    assert not net.training
