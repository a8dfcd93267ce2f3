"""Sick networks for lesson 05: each has one fault, and the views show which. SPOILERS BELOW.

    case = patient(3)
    examination = examine(case.model, case.learning_rate)
    examination.findings        # the numbers, to be read beside HEALTHY

A patient is an untrained model and a learning rate. Curing it means giving back a model and a
learning rate whose findings are all in the healthy ranges.
"""

import copy
import functools
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from helpers import data, diagnostics, layers, training

NAMES = (
    "a bias in front of batchnorm",
    "batchnorm left in eval mode",
    "batchnorm's statistics detached",
    "hidden gain too large",
    "hidden gain too small",
    "learning rate too large",
    "learning rate too small",
    "momentum in the other convention",
    "output layer not scaled down",
    "units that all start alike",
)

# From lowest to highest over healthy nets of 8 seeds, and some room: tests/test_clinic.py.
HEALTHY = {
    "loss before training": (3.2, 3.5),
    "loss after training": (2.5, 2.9),
    "highest saturated fraction": (0.0, 0.3),
    "std of the last activations": (0.55, 0.75),
    "log10 update:data": (-3.0, -1.9),
    "parameters without gradient": (0, 0),
    "std behind batchnorm": (0.98, 1.02),
    "gradient sums before batchnorm": (0.0, 0.01),
    "running means off by (stds)": (0.0, 0.03),
}
STEPS = 200
EXAMPLES = 1000  # of the training set, for the look before training
CALIBRATION_EXAMPLES = 5000
IDLE = 1e-7  # a gradient below this everywhere is rounding


@dataclass(frozen=True)
class Patient:
    """An untrained network as it is brought in."""

    complaint: str
    model: nn.Sequential
    learning_rate: float


@dataclass(frozen=True)
class Examination:
    """One look before training, one at the whole run, and their numbers by name."""

    before: diagnostics.Recording  # linear, batchnorm and tanh outputs; see `tanhs`
    run: diagnostics.RunRecord
    findings: dict[str, float]  # those of HEALTHY; the last three with batchnorm only

    @property
    def tanhs(self) -> list[diagnostics.LayerRecord]:
        """The activations before training."""
        return [layer for layer in self.before.layers if layer.name.startswith("tanh")]

    @property
    def unhealthy(self) -> list[str]:
        """The names of the findings that are not in the healthy range."""
        return [
            name
            for name, value in self.findings.items()
            if not HEALTHY[name][0] <= value <= HEALTHY[name][1]  # nan is not healthy
        ]


def patient(number: int, seed: int = 2147483647) -> Patient:
    """A new patient, 1 to 8: five layers of 100 units, from 5 on with batchnorm.

    Raises ValueError for a number that does not exist.
    """
    if number not in _CASES:
        raise ValueError(f"patient: there are patients 1 to {len(_CASES)}, not {number!r}")
    complaint, disturb = _CASES[number]
    model, learning_rate = healthy(batchnorm=number > 4, seed=seed)
    with torch.no_grad():
        learning_rate = disturb(model, learning_rate) or learning_rate
    return Patient(complaint, model, learning_rate)


def healthy(batchnorm: bool = False, seed: int = 2147483647) -> tuple[nn.Sequential, float]:
    """The network that every patient should be, and its learning rate."""
    generator = torch.Generator().manual_seed(seed)
    settings = {"hidden_size": 100, "depth": 5, "hidden_bias_scale": 0.0, "batchnorm": batchnorm}
    return layers.name_mlp(27, generator=generator, **settings), 0.1


def train(
    model: nn.Module, learning_rate: float, split: data.Split, steps: int, seed: int, on_step
) -> None:
    """The clinic's loop: SGD on batches of 32, in the mode in which it gets the model."""
    generator = torch.Generator().manual_seed(seed)
    parameters = list(model.parameters())
    for step in range(steps):
        batch = torch.randint(len(split), (32,), generator=generator)
        loss = cross_entropy(model(split.contexts[batch]), split.targets[batch])
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=learning_rate)
        on_step(training.Step(step, learning_rate, loss.item(), gradients))


def examine(model: nn.Module, learning_rate: float, seed: int = 0) -> Examination:
    """What the views show of a model before and during STEPS steps on the world corpus.

    A copy is trained; the model itself is not touched.
    """
    splits = _splits()
    model = copy.deepcopy(model)
    contexts, targets = splits.train.contexts[:EXAMPLES], splits.train.targets[:EXAMPLES]
    kinds = (*diagnostics.NONLINEARITIES, *diagnostics.LINEARS, *layers.BATCHNORMS)
    with diagnostics.record(model, kinds) as before:
        loss = cross_entropy(model(contexts), targets)
        loss.backward()
        idle = sum(p.numel() for p in model.parameters() if p.grad.abs().max() < IDLE)
    with diagnostics.record_run(model) as recorder:
        train(model, learning_rate, splits.train, STEPS, seed, recorder.on_step)
    run = recorder.record()
    tanhs = [s for s in diagnostics.layer_statistics(before) if s.name.startswith("tanh")]
    findings = {
        "loss before training": loss.item(),
        "loss after training": run.losses[-100:].mean().item(),
        "highest saturated fraction": max(layer.saturated for layer in tanhs),
        "std of the last activations": tanhs[-1].std,
        "log10 update:data": run.update_ratio[-100:, 1:].mean().item(),  # not the embedding's
        "parameters without gradient": idle,
    }
    if has_batchnorm(model):
        findings |= _batchnorm_findings(before, model, splits)
    return Examination(before, run, findings)


def has_batchnorm(model: nn.Module) -> bool:
    """Whether any layer is a batchnorm."""
    return any(isinstance(module, layers.BATCHNORMS) for module in model.modules())


def _batchnorm_findings(before, model, splits) -> dict[str, float]:
    stds, sums = [], []
    for layer, following in zip(before.layers, before.layers[1:], strict=False):
        if following.name.startswith("batchnorm"):
            stds.append(following.activation.std())
            gradient = layer.gradient  # (N, H), at the pre-activations
            sums.append(gradient.sum(0).abs().mean() / gradient.abs().sum(0).mean())
    stds = torch.stack(stds)
    norms = [module for module in model.modules() if isinstance(module, layers.BATCHNORMS)]
    running = torch.stack([norm.running_mean.clone() for norm in norms])  # (layers, H)
    layers.calibrate(model, splits.train.contexts[:CALIBRATION_EXAMPLES])
    means = torch.stack([norm.running_mean for norm in norms])
    scales = torch.stack([norm.running_var for norm in norms]).sqrt()
    return {
        "std behind batchnorm": stds[(stds - 1).abs().argmax()].item(),
        "gradient sums before batchnorm": max(sums).item(),
        "running means off by (stds)": ((running - means).abs() / scales).mean().item(),
    }


@functools.cache
def _splits() -> data.Splits:
    return data.build_splits(data.load_names("world"))


# The cases. Each function changes a healthy model in place or returns another learning rate.


class _BatchNorm1d(layers.BatchNorm1d):
    def forward(self, x):
        if not self.training:
            return super().forward(x)
        mean, var = x.detach().mean(0), x.detach().var(0, unbiased=False)
        self._track(mean, var * len(x) / (len(x) - 1))
        return (x - mean) * (self.weight / torch.sqrt(var + self.eps)) + self.bias


_BatchNorm1d.__name__ = "BatchNorm1d"  # a patient does not wear its diagnosis


def _case_a(model, learning_rate):
    return learning_rate / 100


def _case_b(model, learning_rate):
    for number in range(1, 6):
        model.get_submodule(f"linear{number}").weight.mul_(3 / layers.TANH_GAIN)


def _case_c(model, learning_rate):
    model.output.weight.mul_(100)


def _case_d(model, learning_rate):
    return learning_rate * 100


def _case_e(model, learning_rate):
    for number in range(1, 6):
        model.get_submodule(f"batchnorm{number}").momentum = 0.999


def _case_f(model, learning_rate):
    model.eval()


def _case_g(model, learning_rate):
    for number in range(1, 6):
        model.get_submodule(f"linear{number}").bias = nn.Parameter(torch.zeros(100))


def _case_h(model, learning_rate):
    for number in range(1, 6):
        setattr(model, f"batchnorm{number}", _BatchNorm1d(100))


_CASES = {
    1: ("It runs without an error. Its owner gave up waiting.", _case_a),
    2: ("The first loss is right, yet it learns less than its neighbours.", _case_b),
    3: (
        "The first loss frightened its owner. Later it looked better.",
        _case_c,
    ),
    4: ("The first loss is right. The next ones are not.", _case_d),
    5: (
        "Minibatch losses fall. The validation loss jumps up and down.",
        _case_e,
    ),
    6: ("Batchnorm was put in to make it tolerant. Nothing changed.", _case_f),
    7: ("It learns as well as its neighbours, and is larger than they are.", _case_g),
    8: (
        "Every forward pass is right. Finite differences disagree.",
        _case_h,
    ),
}
