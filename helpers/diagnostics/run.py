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
    """What happened in S recorded steps to W weights and L layers."""

    weights: list[str]  # W parameter names
    layers: list[str]  # L module names
    steps: torch.Tensor  # (S,) int64
    losses: torch.Tensor  # (S,) minibatch losses, nats
    update_ratio: torch.Tensor  # (S, W) log10(lr * gradient.std / weight.std), unbiased stds
    slice_ends: torch.Tensor  # (M,) int64: the last step of each slice of steps
    counts: torch.Tensor  # (M, L, bins + 2): values of |activation| per bin, see bin_edges
    saturated: torch.Tensor  # (M, L) fraction 0-1 with |activation| > 0.97, at slice_ends
    bin_edges: torch.Tensor  # (bins + 1,); counts[..., 0] is below, counts[..., -1] above


class RunRecorder:
    """Collects a run through `training.fit(..., on_step=recorder.on_step)`."""

    def __init__(self, model: nn.Module, every: int, slice_length: int):
        parameters = enumerate(model.named_parameters())
        self._weights = [(i, *named) for i, named in parameters if named[1].ndim >= 2]
        self._every = every
        self._slice_length = slice_length
        self._outputs: dict[str, torch.Tensor] = {}  # of the latest forward pass
        self._steps: list[tuple] = []
        self._stds: list[float] = []  # of each step's gradients and weights, in turns
        self._slice_ends, self._counts, self._saturated = [], [], []
        self._open_counts: torch.Tensor | None = None  # of the slice that is being filled

    def on_step(self, step: Step) -> None:
        """Record one finished step of `fit`; the weights are those after the update."""
        if step.number % self._every:
            return
        self._steps.append(step[:3])
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging net is recorded too
            for place, _, weight in self._weights:
                self._stds.append(_std(step.gradients[place]))
                self._stds.append(_std(weight.detach()))
        counts = _count_bits([*self._outputs.values()])
        if self._open_counts is None:
            self._open_counts = counts
        else:
            self._open_counts += counts
        if len(self._steps) % self._slice_length == 0:
            self._close_slice()

    def record(self) -> RunRecord:
        """The run so far; a slice that is not full is closed."""
        if self._open_counts is not None:
            self._close_slice()
        steps = len(self._steps)
        numbers, learning_rates, losses = torch.tensor(self._steps).view(steps, 3).T
        stds = torch.tensor(self._stds).view(steps, len(self._weights), 2)
        updates, weights = learning_rates[:, None] * stds[..., 0], stds[..., 1]
        slices, layers = len(self._slice_ends), len(self._outputs)
        return RunRecord(
            weights=[name for _, name, _ in self._weights],
            layers=list(self._outputs),
            steps=numbers.long(),
            losses=losses,
            update_ratio=torch.log10(updates / weights),
            slice_ends=torch.tensor(self._slice_ends, dtype=torch.int64),
            counts=torch.tensor(self._counts).view(slices, layers, len(BIN_EDGES) + 1),
            saturated=torch.tensor(self._saturated).view(slices, layers),
            bin_edges=BIN_EDGES,
        )

    def _close_slice(self) -> None:
        self._slice_ends.append(self._steps[-1][0])
        self._counts.append(_bin(self._open_counts).tolist())
        self._saturated.append(
            [(h.abs() > SATURATION).float().mean().item() for h in self._outputs.values()]
        )
        self._open_counts = None

    def watch(self, name: str, module: nn.Module):
        """The handle of a hook that keeps the module's latest output."""

        def remember(_module, _inputs, output):
            self._outputs[name] = output.detach()

        return module.register_forward_hook(remember)


@contextmanager
def record_run(
    model: nn.Module,
    every: int = 1,
    slice_length: int = 20,
    kinds: tuple[type, ...] = NONLINEARITIES,
) -> Iterator[RunRecorder]:
    """A recorder that watches `model` train inside the block.

        with record_run(model) as run:
            fit(model, split, steps, generator=generator, on_step=run.on_step)
        record = run.record()

    Every `every`-th step is recorded. Activation magnitudes of the modules of `kinds` are
    counted in slices of `slice_length` recorded steps; every recorded step is counted. The
    model's hooks are what they were before, whatever happens inside.

    Raises ValueError when `every` or `slice_length` is below 1, or when the model has no
    module of these kinds.
    """
    if every < 1 or slice_length < 1:
        raise ValueError(f"record_run: every={every} and slice_length={slice_length} must be >= 1")
    chosen = modules_of_kinds(model, kinds, "record_run")
    recorder = RunRecorder(model, every, slice_length)
    handles = []
    try:
        for name, module in chosen.items():
            handles.append(recorder.watch(name, module))
        yield recorder
    finally:
        for handle in handles:
            handle.remove()


def _std(tensor: torch.Tensor) -> float:
    """torch.std of a float32 tensor, from two sums: several times faster on a small one.

    Where the sums would cancel or overflow, torch.std itself is asked.
    """
    x = tensor.numpy().ravel()  # NumPy's dot costs a third of torch's on a few thousand numbers
    count = len(x)
    total, squares = float(x.dot(_ones(count))), float(x.dot(x))
    explained = total * total / count  # by the mean
    if count > 1 and explained < 0.99 * squares < math.inf:
        return math.sqrt((squares - explained) / (count - 1))
    return tensor.std().item()


@functools.cache
def _ones(count: int) -> np.ndarray:
    return np.ones(count, dtype=np.float32)


def _count_bits(activations: list[torch.Tensor]) -> torch.Tensor:
    """How often each pattern of the upper 11 bits occurs in each layer: (layers * 2048,).

    All layers are counted in one call: layer i's patterns are moved to its own 2048 numbers.
    """
    bits = torch.cat([h.reshape(-1) for h in activations]).view(torch.int32) >> 21  # with sign
    bits += _offsets(tuple(h.numel() for h in activations))
    return torch.bincount(bits, minlength=len(activations) * 2048)


@functools.lru_cache(maxsize=8)
def _offsets(sizes: tuple[int, ...]) -> torch.Tensor:
    places = torch.arange(len(sizes), dtype=torch.int32) * 2048 + 1024  # patterns begin at -1024
    return places.repeat_interleave(torch.tensor(sizes))


def _bin(counts: torch.Tensor) -> torch.Tensor:
    """The counts of `_count_bits` put into the bins of BIN_EDGES: (layers, bins + 2)."""
    by_size = counts.view(-1, 2, 1024).sum(1)  # negative and positive values of the same size
    below, above = by_size[:, :_LOW].sum(1, True), by_size[:, _HIGH:].sum(1, True)  # with nan
    return torch.cat([below, by_size[:, _LOW:_HIGH], above], 1)
