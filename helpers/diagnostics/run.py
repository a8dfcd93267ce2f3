"""A whole training run in one record: update ratios and activation sizes, step by step."""

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from helpers.diagnostics.recording import NONLINEARITIES, SATURATION, modules_of_kinds
from helpers.training import Step

# Bins of |activation|: each power of two from 2**-15 to 2**5 in four equal parts. A value's bin
# stands in the bits of its float32, in the exponent and the first two digits of the fraction.
_LOW, _HIGH = 4 * (127 - 15), 4 * (127 + 5)  # 127 is the exponent of 1
BIN_EDGES = (torch.arange(_LOW, _HIGH + 1, dtype=torch.int32) << 21).view(torch.float32)


@dataclass(frozen=True)
class RunRecord:
    """What happened to W weights in S recorded steps and to L layers in M of them."""

    weights: list[str]  # W parameter names
    layers: list[str]  # L module names
    steps: torch.Tensor  # (S,) int64
    losses: torch.Tensor  # (S,) minibatch losses, nats
    update_ratio: torch.Tensor  # (S, W) log10(lr * gradient.std / weight.std), unbiased stds
    sampled_steps: torch.Tensor  # (M,) int64, those whose activations were counted
    counts: torch.Tensor  # (M, L, bins + 2): values of |activation| per bin, see bin_edges
    saturated: torch.Tensor  # (M, L) fraction 0-1 with |activation| > 0.97
    bin_edges: torch.Tensor  # (bins + 1,); counts[..., 0] is below, counts[..., -1] above


class RunRecorder:
    """Collects a run through `training.fit(..., on_step=recorder.on_step)`."""

    def __init__(self, model: nn.Module, every: int, activations_every: int):
        parameters = list(model.named_parameters())
        self._places = [i for i, (_, parameter) in enumerate(parameters) if parameter.ndim >= 2]
        self._names = [parameters[i][0] for i in self._places]
        # Views of the parameters' own memory: training changes it in place.
        self._weights = [parameters[i][1].detach().view(-1).numpy() for i in self._places]
        self._every = every
        self._activations_every = activations_every
        self._outputs: dict[str, torch.Tensor] = {}  # of the latest forward pass
        self._steps: list[tuple] = []
        self._stds: list[float] = []  # of each step's gradients and weights, in turns
        self._sampled_steps, self._counts, self._saturated = [], [], []

    def on_step(self, step: Step) -> None:
        """Record one finished step of `fit`; the weights are those after the update."""
        if step.number % self._activations_every == 0:
            outputs = self._outputs.values()
            self._sampled_steps.append(step.number)
            self._counts += [_count_magnitudes(h) for h in outputs]
            self._saturated += [(h.abs() > SATURATION).float().mean() for h in outputs]
        if step.number % self._every == 0:
            self._steps.append(step[:3])
            for place, weight in zip(self._places, self._weights, strict=True):
                self._stds.append(_std(step.gradients[place].numpy().ravel()))
                self._stds.append(_std(weight))

    def record(self) -> RunRecord:
        """The run so far."""
        numbers, learning_rates, losses = torch.tensor(self._steps).view(len(self._steps), 3).T
        stds = torch.tensor(self._stds).view(len(self._steps), len(self._weights), 2)
        updates, weights = learning_rates[:, None] * stds[..., 0], stds[..., 1]
        shape = (len(self._sampled_steps), len(self._outputs))
        empty = [torch.zeros(0)]  # torch.stack wants something
        return RunRecord(
            weights=self._names,
            layers=list(self._outputs),
            steps=numbers.long(),
            losses=losses,
            update_ratio=torch.log10(updates / weights),
            sampled_steps=torch.tensor(self._sampled_steps, dtype=torch.int64),
            counts=torch.cat(self._counts or empty).view(*shape, len(BIN_EDGES) + 1),
            saturated=torch.stack(self._saturated or empty).view(shape),
            bin_edges=BIN_EDGES,
        )

    def watch(self, name: str, module: nn.Module):
        """The handle of a hook that keeps the module's latest output."""

        def remember(_module, _inputs, output):
            self._outputs[name] = output.detach()

        return module.register_forward_hook(remember)


@contextmanager
def record_run(
    model: nn.Module,
    every: int = 1,
    activations_every: int = 20,
    kinds: tuple[type, ...] = NONLINEARITIES,
) -> Iterator[RunRecorder]:
    """A recorder that watches `model` train inside the block.

        with record_run(model) as run:
            fit(model, split, steps, generator=generator, on_step=run.on_step)
        record = run.record()

    Update ratios are taken at every `every`-th step, and the activations of the modules of
    `kinds` are counted at every `activations_every`-th, over its minibatch. The parameters
    must be moved in place, as `fit` and optimizers do. The model's hooks are what they were
    before, whatever happens inside.

    Raises ValueError when either is below 1, and when the model has no module of these kinds.
    """
    if every < 1 or activations_every < 1:
        given = f"every={every}, activations_every={activations_every}"
        raise ValueError(f"record_run: {given}: both must be at least 1")
    chosen = modules_of_kinds(model, kinds, "record_run")
    recorder = RunRecorder(model, every, activations_every)
    handles = []
    try:
        for name, module in chosen.items():
            handles.append(recorder.watch(name, module))
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging net is recorded too
            yield recorder
    finally:
        for handle in handles:
            handle.remove()


def _std(x: np.ndarray) -> float:
    """torch.std of float32 numbers (count,), from two sums: several times faster on a few.

    NumPy's dot costs a third of torch's there. Where the sums would cancel or overflow,
    torch.std itself is asked.
    """
    count = len(x)
    total, squares = float(x.dot(_ones(count))), float(x.dot(x))
    explained = total * total / count  # by the mean
    if count > 1 and explained < 0.99 * squares < math.inf:
        return math.sqrt((squares - explained) / (count - 1))
    return torch.from_numpy(x).std().item()


@functools.cache
def _ones(count: int) -> np.ndarray:
    return np.ones(count, dtype=np.float32)


def _count_magnitudes(h: torch.Tensor) -> torch.Tensor:
    """How many values of `h` (float32) have their size in each bin: (bins + 2,) int64."""
    bits = h.reshape(-1).view(torch.int32) >> 21 & 0x3FF  # without the sign
    counts = torch.bincount(bits, minlength=2**10)  # those of infinity and nan are the last
    below, above = counts[:_LOW].sum(0, True), counts[_HIGH:].sum(0, True)
    return torch.cat([below, counts[_LOW:_HIGH], above])
