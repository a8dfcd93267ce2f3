"""Training by plain stochastic gradient descent, measuring, and sampling."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from helpers.data import Split, Vocabulary
from helpers.layers import evaluation_mode

Schedule = Callable[[int], float]

# Minibatch indices are drawn this many steps at a time: the same numbers, fewer calls.
STEPS_PER_DRAW = 1000


@dataclass(frozen=True)
class History:
    """What `fit` saw: one minibatch loss (nats) and one learning rate per finished step."""

    losses: torch.Tensor  # (steps,)
    learning_rates: torch.Tensor  # (steps,)
    interrupted: bool = False

    def smoothed(self, width: int = 100) -> torch.Tensor:
        """Means over consecutive windows of `width` steps: (steps // width,).

        A single minibatch loss has a std near 0.2 nats here, so raw losses hide most effects.
        """
        whole = len(self.losses) // width * width
        return self.losses[:whole].view(-1, width).mean(1)


class Step(NamedTuple):
    """One finished step of `fit`, as an `on_step` function receives it."""

    number: int
    learning_rate: float
    loss: float  # of the minibatch, before the update (nats)
    gradients: tuple[torch.Tensor, ...]  # in the order of model.parameters()


class DivergenceError(RuntimeError):
    """The loss stopped being a finite number. `.history` holds the steps before it."""

    def __init__(self, step: int, loss: float, learning_rate: float, history: History):
        super().__init__(
            f"training diverged: the loss is {loss} at step {step} (learning rate "
            f"{learning_rate:g}); lower the learning rate or look at the initialization"
        )
        self.step = step
        self.loss = loss
        self.history = history


def constant(learning_rate: float) -> Schedule:
    """The schedule that is `learning_rate` at every step."""
    return lambda step: learning_rate


def step_decay(first: float, then: float, at: int) -> Schedule:
    """The schedule that is `first` before step `at` and `then` from it on (the lecture's)."""
    return lambda step: first if step < at else then


def fit(
    model: torch.nn.Module,
    split: Split,
    steps: int,
    schedule: Schedule | float = 0.1,
    batch_size: int = 32,
    *,
    generator: torch.Generator,
    progress: bool = True,
    on_step: Callable[[Step], None] | None = None,
) -> History:
    """The loss history of `steps` steps of SGD; the model is trained in place.

    Each step draws `batch_size` examples with replacement from `generator`, takes the mean
    cross-entropy (nats) and moves every parameter by -schedule(step) times its gradient.
    `on_step`, when given, is called after each step, with the parameters moved.

    An interrupt (Ctrl-C, the stop button) ends training early: the model keeps what it has
    learned and the history so far is returned, with `interrupted=True`. A loss that is not
    finite raises DivergenceError before it can touch the parameters.
    """
    learning_rate_at = schedule if callable(schedule) else constant(schedule)
    parameters = list(model.parameters())
    losses, learning_rates = [], []
    interrupted = False
    model.train()
    # As text: a bar that is a widget leaves an error behind in a notebook that is opened again.
    bar = tqdm(total=steps, unit="step", disable=not progress, leave=False, file=sys.stdout)
    try:
        for step in range(steps):
            if step % STEPS_PER_DRAW == 0:
                count = min(STEPS_PER_DRAW, steps - step)
                draws = torch.randint(len(split), (count, batch_size), generator=generator)
                contexts, targets = split.contexts[draws], split.targets[draws]
                bar.update(step - bar.n)
            place = step % STEPS_PER_DRAW
            learning_rate = learning_rate_at(step)
            loss = cross_entropy(model(contexts[place]), targets[place])
            value = loss.item()
            if not math.isfinite(value):
                history = History(torch.tensor(losses), torch.tensor(learning_rates))
                raise DivergenceError(step, value, learning_rate, history)
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.sub_(gradient, alpha=learning_rate)
            losses.append(value)
            learning_rates.append(learning_rate)
            if on_step is not None:
                on_step(Step(step, learning_rate, value, gradients))
        bar.update(steps - bar.n)
    except KeyboardInterrupt:
        interrupted = True
        tqdm.write(f"interrupted after {len(losses)} of {steps} steps; the history so far is kept")
    finally:
        bar.close()
    return History(torch.tensor(losses), torch.tensor(learning_rates), interrupted)


@torch.no_grad()
def evaluate(model: torch.nn.Module, split: Split, batch_size: int = 8192) -> float:
    """The mean cross-entropy (nats) over a whole split, in eval mode; modes are put back."""
    total = 0.0
    with evaluation_mode(model):
        for contexts, targets in zip(
            split.contexts.split(batch_size), split.targets.split(batch_size), strict=True
        ):
            total += cross_entropy(model(contexts), targets, reduction="sum").item()
    return total / len(split)


@torch.no_grad()
def sample_names(
    model: torch.nn.Module,
    vocabulary: Vocabulary,
    count: int,
    generator: torch.Generator,
    block_size: int = 3,
    max_length: int = 20,
) -> list[str]:
    """`count` names drawn from the model letter by letter, in eval mode; modes are put back.

    A name ends at the end symbol or after `max_length` letters: an untrained model may
    otherwise go on for long.
    """
    contexts = torch.zeros(count, block_size, dtype=torch.int64)
    letters = []
    with evaluation_mode(model):
        for _ in range(max_length):
            probabilities = torch.softmax(model(contexts), dim=1)  # (count, vocabulary)
            drawn = torch.multinomial(probabilities, 1, generator=generator)  # (count, 1)
            contexts = torch.cat([contexts[:, 1:], drawn], dim=1)
            letters.append(drawn)
    rows = torch.cat(letters, dim=1).tolist()
    return [vocabulary.decode(row).split(".")[0] for row in rows]
