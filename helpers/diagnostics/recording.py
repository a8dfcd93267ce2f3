"""One forward and backward pass, looked at from inside without leaving a trace.

Hooks that cannot leak, and collecting kept apart from drawing, are learned from fastai's
miniai (`activations.py`).
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import nn

from helpers import layers

SATURATION = 0.97  # a tanh activation beyond this passes on less than 6% of its gradient

TANHS = (layers.Tanh, nn.Tanh)
NONLINEARITIES = (*TANHS, nn.ReLU, nn.Identity)  # Identity: the linear net's "activation"
LINEARS = (layers.Linear, nn.Linear)


@dataclass
class LayerRecord:
    """What one module put out, and the gradient of the loss there."""

    name: str  # as in model.named_modules()
    kind: str  # the module's class
    activation: torch.Tensor  # (N, H), the module's output
    gradient: torch.Tensor | None = None  # (N, H), None until a backward pass


@dataclass
class WeightRecord:
    """A weight and the gradient of the loss at it."""

    name: str  # as in model.named_parameters()
    data: torch.Tensor  # (fan_in, fan_out), a copy
    gradient: torch.Tensor  # the same shape


@dataclass
class Recording:
    """What `record` saw of the latest forward pass and its backward pass, in order of depth."""

    layers: list[LayerRecord] = field(default_factory=list)
    weights: list[WeightRecord] = field(default_factory=list)  # empty until a backward pass


class LayerStatistics(NamedTuple):
    """One layer's numbers over all examples and units. std is unbiased, as torch.std."""

    name: str
    kind: str
    mean: float
    std: float
    saturated: float  # fraction 0-1 beyond 0.97 in size; nan unless the layer is a tanh
    zero: float  # fraction 0-1 that is exactly 0; nan unless the layer is a ReLU
    gradient_mean: float  # nan without a backward pass, as below
    gradient_std: float


class WeightStatistics(NamedTuple):
    """One weight's numbers over all its elements. std is unbiased; norms are Euclidean.

    A std does not see what all elements share: a constant weight has std 0, so the ratio of
    stds is infinite there and the ratio of norms is not. Neither ratio knows the learning
    rate, so neither is to be compared with the 1e-3 of update:data.
    """

    name: str
    std: float
    norm: float
    gradient_std: float
    gradient_norm: float
    std_ratio: float  # grad:data, gradient_std / std
    norm_ratio: float  # grad:data, gradient_norm / norm


@contextmanager
def record(model: nn.Module, kinds: tuple[type, ...] = NONLINEARITIES) -> Iterator[Recording]:
    """A `Recording` that every forward and backward pass of `model` inside the block refills.

        with record(model) as recording:
            cross_entropy(model(contexts), targets).backward()
        layer_statistics(recording)

    Modules of the classes `kinds` are recorded (`NONLINEARITIES`, `LINEARS`,
    `layers.BATCHNORMS`, or your own); one that is called twice in a pass keeps its last call.
    Of the parameters, those with two or more dimensions are.

    Looking leaves no trace. After the block hooks, modes, the parameters' `.grad`, buffers
    (batchnorm's running statistics) and torch's global random state are what they were
    before it, also when something raises inside; `.grad` starts empty inside. So do not train
    inside: `record_run` is for that.

    Raises ValueError when the model has no module of these kinds.
    """
    chosen = modules_of_kinds(model, kinds, "record")
    recording = Recording()
    with ExitStack() as undo:
        undo.enter_context(_state_put_back(model))

        def attach(handle):
            undo.callback(handle.remove)

        def start_pass(_module, _inputs):
            recording.layers.clear()
            recording.weights.clear()

        def remember_as(name):
            def remember(module, _inputs, output):
                # A copy: an in-place ReLU after this module would overwrite its output.
                seen = LayerRecord(name, type(module).__name__, output.detach().clone())
                recording.layers[:] = [layer for layer in recording.layers if layer.name != name]
                recording.layers.append(seen)
                if output.requires_grad:
                    attach(output.register_hook(lambda grad: setattr(seen, "gradient", grad)))

            return remember

        order = [name for name, parameter in model.named_parameters() if parameter.ndim >= 2]

        def weigh_as(name, parameter):
            def weigh(gradient):
                others = [weight for weight in recording.weights if weight.name != name]
                seen = WeightRecord(name, parameter.detach().clone(), gradient)
                recording.weights[:] = sorted(
                    [*others, seen], key=lambda weight: order.index(weight.name)
                )

            return weigh

        attach(model.register_forward_pre_hook(start_pass))
        for name, module in chosen.items():
            attach(module.register_forward_hook(remember_as(name)))
        for name, parameter in model.named_parameters():
            if name in order and parameter.requires_grad:
                attach(parameter.register_hook(weigh_as(name, parameter)))
        yield recording


def modules_of_kinds(
    model: nn.Module, kinds: tuple[type, ...], caller: str
) -> dict[str, nn.Module]:
    """The modules of these classes by name. Raises ValueError when there are none."""
    chosen = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    if not chosen:
        wanted = ", ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{caller}: the model has no module of the kinds {wanted}")
    return chosen


@contextmanager
def _state_put_back(model: nn.Module) -> Iterator[None]:
    """Modes, gradients, buffers and the global random state put back at the end."""
    modes = {module: module.training for module in model.modules()}
    gradients = {parameter: parameter.grad for parameter in model.parameters()}
    buffers = {buffer: buffer.clone() for buffer in model.buffers()}
    random_state = torch.get_rng_state()
    try:
        for parameter in gradients:
            parameter.grad = None  # a backward pass would add to the old one in place
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter, gradient in gradients.items():
            parameter.grad = gradient
        with torch.no_grad():
            for buffer, before in buffers.items():
                if not torch.equal(buffer, before):
                    buffer.copy_(before)
        torch.set_rng_state(random_state)


def layer_statistics(recording: Recording) -> list[LayerStatistics]:
    """The numbers of each recorded layer, in order of depth."""
    return [_layer_statistics(layer) for layer in recording.layers]


def weight_statistics(recording: Recording) -> list[WeightStatistics]:
    """The numbers of each weight that got a gradient, in order of depth."""
    return [_weight_statistics(weight) for weight in recording.weights]


def _layer_statistics(layer: LayerRecord) -> LayerStatistics:
    h, grad = layer.activation, layer.gradient
    is_tanh = layer.kind in {kind.__name__ for kind in TANHS}
    return LayerStatistics(
        name=layer.name,
        kind=layer.kind,
        mean=h.mean().item(),
        std=h.std().item(),
        saturated=(h.abs() > SATURATION).float().mean().item() if is_tanh else math.nan,
        zero=(h == 0).float().mean().item() if layer.kind == nn.ReLU.__name__ else math.nan,
        gradient_mean=math.nan if grad is None else grad.mean().item(),
        gradient_std=math.nan if grad is None else grad.std().item(),
    )


def _weight_statistics(weight: WeightRecord) -> WeightStatistics:
    std, norm = weight.data.std(), weight.data.norm()
    gradient_std, gradient_norm = weight.gradient.std(), weight.gradient.norm()
    return WeightStatistics(
        name=weight.name,
        std=std.item(),
        norm=norm.item(),
        gradient_std=gradient_std.item(),
        gradient_norm=gradient_norm.item(),
        std_ratio=(gradient_std / std).item(),
        norm_ratio=(gradient_norm / norm).item(),
    )
