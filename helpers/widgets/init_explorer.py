"""The init explorer: what gain, depth and activation do to a net that has not trained yet."""

from collections.abc import Sequence

import ipywidgets
import torch
from torch.nn.functional import cross_entropy

from helpers import diagnostics, layers
from helpers.data import Split, Vocabulary
from helpers.widgets.init_picture import MAX_DEPTH, InitPicture, InitRecord
from helpers.widgets.panel import Panel, View, table


def init_explorer(
    split: Split,
    views: Sequence[str] = ("activations", "spread", "gradients"),
    examples: int = 1000,
    seed: int = 2147483647,
    **defaults,
) -> Panel:
    """A panel with the net's scales, depth, width, activation and batchnorm on controls.

    It runs the first `examples` of `split` through a new net for each setting. `views` are up
    to four of "activations" (histograms), "spread" (activation std per layer against theory),
    "gradients" (gradient std per layer against theory), "weights" (grad:data) and "updates"
    (log10 update:data of one step). `defaults` set where the controls start: gain, scale,
    depth, width, activation, batchnorm, learning_rate.

    Raises ValueError for a view that does not exist.
    """
    picture = InitPicture(views)
    batch = Split(split.contexts[:examples], split.targets[:examples])
    controls = _controls("updates" in views, **defaults)

    def show(**values) -> View:
        record = measure_init(batch, seed=seed, **values)
        return View(picture.draw(record), _numbers(record), _summary(record, values))

    return Panel(controls, show)


def measure_init(
    batch: Split,
    gain: float = layers.TANH_GAIN,
    scale: float = 1.0,
    depth: int = 5,
    width: int = 100,
    activation: str = "tanh",
    batchnorm: bool = False,
    learning_rate: float = 0.1,
    seed: int = 2147483647,
) -> InitRecord:
    """What one forward and backward pass shows of a new names net.

    Hidden weights have std scale * gain / sqrt(fan_in). The seed is the same for every
    setting, so that a slider changes the setting and not the luck.
    """
    net = layers.name_mlp(
        len(Vocabulary()),
        block_size=batch.contexts.shape[1],
        hidden_size=width,
        depth=depth,
        hidden_gain=gain * scale,
        hidden_bias_scale=0.0,
        batchnorm=batchnorm,
        activation=activation,
        generator=torch.Generator().manual_seed(seed),
    )
    with diagnostics.record(net) as recording:
        cross_entropy(net(batch.contexts), batch.targets).backward()
    return InitRecord(
        activation=activation,
        layers=recording.layers,
        statistics=diagnostics.layer_statistics(recording),
        weights=diagnostics.weight_statistics(recording)[1:],  # without the embedding
        learning_rate=learning_rate,
        theory=diagnostics.mean_field(gain * scale, depth, activation, batchnorm),
    )


def _controls(
    with_learning_rate: bool,
    gain: float = layers.TANH_GAIN,
    scale: float = 1.0,
    depth: int = 5,
    width: int = 100,
    activation: str = "tanh",
    batchnorm: bool = False,
    learning_rate: float = 0.1,
) -> dict[str, ipywidgets.Widget]:
    slim = ipywidgets.Layout(width="300px")
    controls = {
        "gain": ipywidgets.FloatSlider(
            value=gain, min=0.1, max=4, step=1 / 30, description="gain", layout=slim
        ),
        "scale": ipywidgets.FloatLogSlider(
            value=scale, min=-2, max=2, step=0.05, description="init scale ×", layout=slim
        ),
        "depth": ipywidgets.IntSlider(
            value=depth, min=1, max=MAX_DEPTH, description="depth", layout=slim
        ),
        "width": ipywidgets.IntSlider(
            value=width, min=10, max=200, step=10, description="width", layout=slim
        ),
        "activation": ipywidgets.ToggleButtons(
            options=[*layers.ACTIVATIONS],
            value=activation,
            description="activation",
            style={"button_width": "64px"},
            layout={
                "display": "flex",
                "grid_gap": "6px",
                "width": "300px",
            },  # the name beside the buttons
        ),
        "batchnorm": ipywidgets.Checkbox(
            value=batchnorm, description="batchnorm", indent=False, layout={"width": "110px"}
        ),
    }
    if with_learning_rate:
        controls["learning_rate"] = ipywidgets.FloatLogSlider(
            value=learning_rate, min=-3, max=1, step=0.1, description="learning rate", layout=slim
        )
        controls["learning_rate"].style.description_width = "90px"
    return controls


def _numbers(record: InitRecord) -> str:
    """The table beside the picture: a row for each layer."""
    columns = {
        "layer": [str(number + 1) for number in range(len(record.layers))],
        "std": [f"{layer.std:.3g}" for layer in record.statistics],
        record.share_name: [f"{share:.0%}" for share in record.shares],
        "gradient std / last": [f"{ratio:.3g}" for ratio in record.relative_gradients],
    }
    columns.pop("", None)  # a linear net neither saturates nor is zero
    return table(columns)


def _summary(record: InitRecord, values: dict) -> str:
    first, last = record.statistics[0].std, record.statistics[-1].std
    return (
        f"gain {values['gain']:.2f}, init scale {values['scale']:.2g}, depth {values['depth']}, "
        f"width {values['width']}, {values['activation']}, "
        f"batchnorm {'on' if values['batchnorm'] else 'off'}: activation std {first:.2g} in "
        f"layer 1, {last:.2g} in layer {len(record.layers)}; {record.share_text}"
    ).removesuffix("; ")
