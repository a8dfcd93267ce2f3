"""Many replicas of the names model trained at once.

One run per variant is how wrong claims spread. Here R small nets (seeds x settings) take their
steps together, by the course's own gradients (`helpers.backpropagation`), and replica k is the
run that `name_mlp` and `fit` give with its seed and settings.
"""

import copy
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm import tqdm

from helpers.backpropagation import Stack
from helpers.data import ALPHABET, Split
from helpers.layers import BatchNorm1d, Embedding, Linear, Tanh, name_mlp
from helpers.training import Schedule, evaluate

STEPS_PER_CHUNK = 100  # between two draws of minibatches; the numbers drawn are the same for any
TRAINED = (Embedding, nn.Flatten, Linear, BatchNorm1d, Tanh)
SETTINGS = sorted(set(inspect.signature(name_mlp).parameters) - {"vocab_size", "generator"})


@dataclass(frozen=True)
class Replica:
    """One run: `seed` draws the start (`name_mlp` with `settings`), then the minibatches."""

    seed: int
    settings: dict = field(default_factory=dict)
    schedule: float | Schedule = 0.1


@dataclass(frozen=True, eq=False)
class Sweep:
    """What R replicas did, in the order in which they were given."""

    replicas: tuple[Replica, ...]
    losses: Tensor  # (R, steps): minibatch losses, nats; nan from a divergence on, or not taken
    validation_losses: Tensor  # (R,): nats, as `evaluate` gives; nan if diverged or not asked for
    diverged: tuple[tuple[int, float] | None, ...]  # the first step, and loss, that is not finite
    interrupted: bool
    models: tuple[nn.Sequential, ...]  # those of diverged replicas are of no use

    def model(self, index: int) -> nn.Sequential:
        """A copy of one replica's trained model. Raises ValueError where it diverged."""
        if self.diverged[index] is not None:
            step, loss = self.diverged[index]
            raise ValueError(f"replica {index} has no model: its loss is {loss} at step {step}")
        return copy.deepcopy(self.models[index])

    def smoothed(self, width: int = 100) -> Tensor:
        """Means over consecutive windows of `width` steps: (R, steps // width)."""
        whole = self.losses.shape[1] // width * width
        return self.losses[:, :whole].unflatten(1, (-1, width)).mean(2)


def train_replicas(
    replicas: Sequence[Replica],
    train: Split,
    steps: int,
    *,
    validation: Split | None = None,
    batch_size: int = 32,
    progress: bool = True,
    device: torch.device | str | None = None,
) -> Sweep:
    """What `replicas` do in `steps` steps of SGD each, trained together.

    Replicas of one architecture are stacked, and stacks take turns. No operation mixes replicas:
    one that diverges leaves the others as they are. An interrupt (Ctrl-C, the stop button) ends
    training early and returns what there is. The work is done on `device`, by default where
    `train` lies; random numbers come from the CPU and the models go back there.

    Memory in bytes per replica with P parameters: 8 P, 12 batch_size (depth hidden_size + 60)
    for activations, 2000 batch_size (block_size + 1) for a chunk of minibatches, 4 steps for
    losses; that is 0.5 MB for the lecture's net. Raises ValueError for what cannot be trained.
    """
    if not replicas or min(steps, batch_size, len(train)) < 1:
        raise ValueError(
            f"train_replicas needs at least one of each, and got {len(replicas)} replicas, "
            f"{steps} steps, batch_size {batch_size}, {len(train)} examples"
        )
    starts, groups = [], {}
    for index, replica in enumerate(replicas):
        try:
            starts.append(_start(replica, train, batch_size))
        except ValueError as error:
            raise ValueError(f"replica {index}: {error}") from None
        shapes = tuple((name, value.shape) for name, value in starts[-1][0].state_dict().items())
        groups.setdefault(shapes, []).append(index)
    models, generators = zip(*starts, strict=True)
    device = train.contexts.device if device is None else device
    stacks = [Stack([models[k] for k in group], batch_size, device) for group in groups.values()]
    curves = [torch.full((steps, len(group)), torch.nan) for group in groups.values()]
    stacked = list(zip(groups.values(), stacks, curves, strict=True))
    interrupted = False
    total = steps * len(replicas)
    bar = tqdm(total=total, unit="step", disable=not progress, leave=False, file=sys.stdout)
    try:
        for first in range(0, steps, STEPS_PER_CHUNK):
            chunk = range(first, min(first + STEPS_PER_CHUNK, steps))
            for group, stack, curve in stacked:
                size = (len(chunk), batch_size)
                draws = [torch.randint(len(train), size, generator=generators[k]) for k in group]
                rates = torch.tensor([_learning_rates(replicas[k], chunk) for k in group]).T
                stack.take_steps(train, torch.stack(draws, 1), rates, curve[first : chunk.stop])
                bar.update(len(chunk) * len(group))
    except KeyboardInterrupt:
        interrupted = True
        tqdm.write(f"interrupted after {stacks[-1].steps} of {steps} steps, which are kept")
    finally:
        bar.close()

    diverged: list[tuple[int, float] | None] = [None] * len(replicas)
    losses = torch.empty(len(replicas), steps)
    validation_losses = torch.full((len(replicas),), torch.nan)
    for group, stack, curve in stacked:
        losses[group] = curve.T
        stack.write_back()
        for k in group:
            not_finite = (~losses[k, : stack.steps].isfinite()).nonzero()
            if len(not_finite):
                step = not_finite[0].item()
                diverged[k] = (step, losses[k, step].item())
                losses[k, step:] = torch.nan
            elif validation is not None:
                validation_losses[k] = evaluate(models[k], validation)
    return Sweep(
        tuple(replicas), losses, validation_losses, tuple(diverged), interrupted, tuple(models)
    )


def _start(
    replica: Replica, train: Split, batch_size: int
) -> tuple[nn.Sequential, torch.Generator]:
    """The untrained model, and the generator it was drawn from. Raises ValueError."""
    unknown = sorted(set(replica.settings) - set(SETTINGS))
    if unknown:
        raise ValueError(f"no such setting: {', '.join(unknown)}; there are {', '.join(SETTINGS)}")
    generator = torch.Generator().manual_seed(replica.seed)
    model = name_mlp(len(ALPHABET), generator=generator, **replica.settings)
    for module in model:
        if not isinstance(module, TRAINED):
            raise ValueError(f"{type(module).__name__} has no gradients here, tanh has")
        if isinstance(module, BatchNorm1d) and module.momentum is None:
            raise ValueError("momentum=None, the plain average, is not supported: give a number")
        if isinstance(module, BatchNorm1d) and batch_size == 1:
            raise ValueError("batchnorm needs a batch_size of 2: one example has no variance")
    inputs = train.contexts.shape[1] * model.embedding.weight.shape[1]
    fan_in = next(module for module in model if isinstance(module, Linear)).weight.shape[0]
    if inputs != fan_in:
        raise ValueError(f"block_size does not fit the contexts, {tuple(train.contexts.shape)}")
    return model, generator


def _learning_rates(replica: Replica, steps: range) -> list[float]:
    schedule = replica.schedule
    return [schedule(step) if callable(schedule) else schedule for step in steps]
