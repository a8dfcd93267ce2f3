"""Running against calibrated statistics: what momentum and batch size do to them."""

import copy
import functools
import math
from dataclasses import dataclass

import ipywidgets
import torch
from torch import nn

from helpers import layers, plotting, training
from helpers.data import Split
from helpers.diagnostics import BatchStatistics, running_statistics
from helpers.widgets.canvas import Canvas, course_style
from helpers.widgets.panel import Panel, View, table

MOMENTA = [10 ** (exponent / 6) for exponent in range(-24, 1)]  # 1e-4 to 1, of the curve
LEAST_PENALTY = 1e-4  # nats: the end of the axis, below what a seed changes


@dataclass(frozen=True)
class RunningState:
    """The running statistics of one setting beside the calibrated ones, H units each."""

    running_mean: torch.Tensor
    running_std: torch.Tensor  # unbiased, as the calibrated one
    calibrated_mean: torch.Tensor
    calibrated_std: torch.Tensor
    start_weight: float  # what is left of the start at mean 0, variance 1
    momentum: float
    penalty: float  # validation loss minus that with calibrated statistics (nats)
    penalties: list[float]  # the same for each of MOMENTA

    @property
    def mean_error(self) -> float:
        """How far the means are off, in calibrated stds, root mean square over units."""
        error = (self.running_mean - self.calibrated_mean) / self.calibrated_std
        return error.square().mean().sqrt().item()

    @property
    def std_error(self) -> float:
        """How far the stds are off, as a fraction, root mean square over units."""
        return (self.running_std / self.calibrated_std - 1).square().mean().sqrt().item()


class RunningStatistics:
    """A trained net whose batchnorm can be given any running statistics of its recorded run."""

    def __init__(
        self, model: nn.Module, statistics: BatchStatistics, train: Split, val: Split, name: str
    ):
        self._statistics = statistics
        self._val = val
        self._net = copy.deepcopy(model)
        layers.calibrate(self._net, train.contexts)
        self._norm = self._net.get_submodule(name)
        self.mean = self._norm.running_mean.clone()  # (H,), calibrated
        self.std = self._norm.running_var.sqrt()  # (H,), calibrated
        self._calibrated_loss = training.evaluate(self._net, val)
        self._penalties = functools.cache(self._measure_penalties)

    def measure(self, momentum: float, batch_size: int, corrected: bool) -> RunningState:
        """One setting's statistics and what they cost."""
        mean, var = running_statistics(self._statistics, batch_size, momentum, corrected)
        return RunningState(
            running_mean=mean,
            running_std=var.sqrt(),
            calibrated_mean=self.mean,
            calibrated_std=self.std,
            start_weight=0.0 if corrected else (1 - momentum) ** self._statistics.steps,
            momentum=momentum,
            penalty=self._penalty(mean, var),
            penalties=self._penalties(batch_size, corrected),
        )

    def _penalty(self, mean: torch.Tensor, var: torch.Tensor) -> float:
        self._norm.running_mean.copy_(mean)
        self._norm.running_var.copy_(var)
        return training.evaluate(self._net, self._val) - self._calibrated_loss

    def _measure_penalties(self, batch_size: int, corrected: bool) -> list[float]:
        settings = ((self._statistics, batch_size, momentum, corrected) for momentum in MOMENTA)
        return [self._penalty(*running_statistics(*setting)) for setting in settings]


def running_statistics_panel(
    model: nn.Module,
    statistics: BatchStatistics,
    train: Split,
    val: Split,
    name: str = "batchnorm1",
    momentum: float = 0.1,
    examples: int = 2000,
) -> Panel:
    """A panel with momentum and batch size on sliders, over one recorded run.

    `statistics` are those of `model`'s batchnorm called `name`, taken by
    `diagnostics.record_batches` while it trained. Calibration is over all of `train`; the
    penalty is measured on the first `examples` of `val`. The model itself is not touched.
    """
    val = Split(val.contexts[:examples], val.targets[:examples])
    run = RunningStatistics(model, statistics, train, val, name)
    picture = RunningPicture(run.mean, run.std)

    def show(momentum: float, batch_size: int, corrected: bool) -> View:
        state = run.measure(momentum, batch_size, corrected)
        summary = (
            f"momentum {momentum:.2g}, batches of {batch_size}, start "
            f"{'divided out' if corrected else 'kept'}: penalty {state.penalty:.3f} nats"
        )
        return View(picture.draw(state), _numbers(state), summary)

    slim = ipywidgets.Layout(width="340px")
    controls = {
        "momentum": ipywidgets.FloatLogSlider(
            value=momentum, min=-4, max=0, step=0.05, description="momentum", layout=slim
        ),
        "batch_size": ipywidgets.SelectionSlider(
            options=statistics.batch_sizes,
            value=statistics.batch_sizes[-1],
            description="batch size",
            layout=slim,
        ),
        "corrected": ipywidgets.Checkbox(description="divide out the start", indent=False),
    }
    return Panel(controls, show)


class RunningPicture:
    """Running against calibrated means and stds, a dot per unit; the penalty over momentum."""

    def __init__(self, calibrated_mean: torch.Tensor, calibrated_std: torch.Tensor):
        self._canvas = Canvas(10.2, 3.4)
        self._axes = self._canvas.subplots(1, 3)
        self._dots, self._texts = [], []
        with course_style():
            calibrated = {"mean": calibrated_mean, "std": calibrated_std}
            for ax, (statistic, values) in zip(self._axes, calibrated.items(), strict=False):
                low, high = values.min().item(), values.max().item()
                margin = (high - low) / 2 + 1e-6
                ax.set(
                    xlim=(low - margin / 5, high + margin / 5), ylim=(low - margin, high + margin)
                )
                ax.axline((0, 0), slope=1, color=plotting.GREY, linewidth=1)
                ax.set(xlabel=f"calibrated {statistic} of a unit", ylabel=f"running {statistic}")
                ax.set_title(f"A unit's {statistic}")
                self._dots.append(ax.scatter([], [], s=12, color=plotting.BLUE, alpha=0.7))
                self._texts.append(ax.text(0.03, 0.97, "", va="top", fontsize=9))
                self._texts[-1].set_transform(ax.transAxes)
            ax = self._axes[2]
            ax.set(xlabel="momentum", ylabel="penalty (nats)", title="Validation penalty")
            ax.set(xscale="log", xlim=(7e-5, 1.4), yscale="log", ylim=(LEAST_PENALTY * 0.8, 2))
            (self._curve,) = ax.plot([], [], color=plotting.BLUE)
            (self._point,) = ax.plot([], [], "o", color=plotting.ORANGE, markersize=9)
        self._artists = [*self._dots, *self._texts, self._curve, self._point]
        for artist in self._artists:
            artist.set_animated(True)

    def draw(self, state: RunningState) -> bytes:
        pairs = [
            (state.calibrated_mean, state.running_mean),
            (state.calibrated_std, state.running_std),
        ]
        for ax, dots, text, (calibrated, running) in zip(
            self._axes, self._dots, self._texts, pairs, strict=False
        ):
            dots.set_offsets(torch.stack([calibrated, running], 1).numpy())
            low, high = ax.get_ylim()
            outside = ((running < low) | (running > high)).sum().item()
            text.set_text(f"{outside} of {len(running)} units outside" if outside else "")
        self._curve.set_data(MOMENTA, [_shown(penalty) for penalty in state.penalties])
        self._point.set_data([state.momentum], [_shown(state.penalty)])
        return self._canvas.png(self._artists)


def _shown(penalty: float) -> float:
    return penalty if math.isnan(penalty) else max(penalty, LEAST_PENALTY)


def _numbers(state: RunningState) -> str:
    return table(
        {
            "": ["penalty", "weight left on the start", "means off by", "stds off by"],
            "now": [
                f"{state.penalty:+.4f} nats",
                f"{state.start_weight:.2g}",
                f"{state.mean_error:.1%} of a std",
                f"{state.std_error:.1%}",
            ],
        }
    )
