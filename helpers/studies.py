"""The studies that the lessons quote: each a question, and the settings that answer it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from helpers import data, layers, training


@dataclass(frozen=True)
class Cell:
    """One setting: `label` names it in tables, `settings` go to `layers.name_mlp`."""

    label: str
    settings: dict = field(default_factory=dict)
    learning_rate: float = 0.1
    decayed: bool = False  # a tenth of the learning rate in the second half
    steps: int = 20_000
    batch_size: int = 32

    def schedule(self) -> training.Schedule:
        if self.decayed:
            rate = self.learning_rate
            return training.step_decay(rate, rate / 10, at=self.steps // 2)
        return training.constant(self.learning_rate)


# What a study measures of each trained replica, beyond its curve and final validation loss.
Measure = Callable[[torch.nn.Sequential, data.Splits, Cell], dict[str, float]]


@dataclass(frozen=True)
class Study:
    """A question and the cells that answer it."""

    question: str
    cells: tuple[Cell, ...]
    seeds: int = 8
    measure: Measure | None = None


def train_loss(model, splits, cell) -> dict[str, float]:
    """The loss (nats) over the whole training set."""
    return {"train": training.evaluate(model, splits.train)}


def statistics_losses(model, splits, cell) -> dict[str, float]:
    """Validation losses (nats) with the running statistics as they stand, with their start
    divided out, and calibrated."""
    running = training.evaluate(model, splits.val)
    norm = model.batchnorm1
    kept = (1 - norm.momentum) ** cell.steps  # the weight left on the start: mean 0, variance 1
    norm.running_mean /= 1 - kept
    norm.running_var.sub_(kept).div_(1 - kept)
    corrected = training.evaluate(model, splits.val)
    layers.calibrate(model, splits.train.contexts)
    calibrated = training.evaluate(model, splits.val)
    return {"running": running, "corrected": corrected, "calibrated": calibrated}


def batch_statistics_losses(model, splits, cell) -> dict[str, float]:
    """Calibrated validation loss (nats), and the losses when each batch of 2 ... 256 validation
    examples is normalized with its own statistics."""
    layers.calibrate(model, splits.train.contexts)
    losses = {"calibrated": training.evaluate(model, splits.val)}
    order = torch.randperm(len(splits.val), generator=torch.Generator().manual_seed(0))
    model.train()
    with torch.no_grad():
        for size in (2, 4, 8, 16, 32, 64, 128, 256):
            batches = order[: len(order) // size * size].view(-1, size)
            total = sum(
                torch.nn.functional.cross_entropy(
                    model(splits.val.contexts[batch]), splits.val.targets[batch]
                ).item()
                for batch in batches
            )
            losses[f"batch {size}"] = total / len(batches)
    return losses


def update_ratio(model, splits, cell) -> dict[str, float]:
    """log10 of the std of one update over the std of the weights, mean over all weight matrices
    behind the embedding and 20 minibatches."""
    weights = [p for p in model.parameters() if p.ndim == 2][1:]
    generator = torch.Generator().manual_seed(0)
    learning_rate = cell.schedule()(cell.steps - 1)
    model.train()
    ratios = []
    for _ in range(20):
        batch = torch.randint(len(splits.train), (cell.batch_size,), generator=generator)
        logits = model(splits.train.contexts[batch])
        loss = torch.nn.functional.cross_entropy(logits, splits.train.targets[batch])
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            ratios.append((learning_rate * gradient.std() / weight.std()).log10())
    return {"update_ratio": torch.stack(ratios).mean().item()}


DEEP = {"hidden_size": 100, "hidden_bias_scale": 0.0}

STUDIES = {
    "schemes": Study(
        "What does each starting point end at, after 20,000 steps with decay?",
        tuple(Cell(name, scheme, decayed=True) for name, scheme in layers.SCHEMES.items()),
        measure=train_loss,
    ),
    "constant_rate": Study(
        "Does the order of the starting points depend on the schedule?",
        tuple(Cell(name, layers.SCHEMES[name]) for name in ("both fixed", "kaiming", "gain 1")),
    ),
    "depth_and_gain": Study(
        "Which gains train at which depth, with and without batchnorm?",
        tuple(
            Cell(
                f"depth {depth}, gain {gain:.2f}, {'batchnorm' if norm else 'plain'}",
                {"depth": depth, "hidden_gain": gain, "batchnorm": norm, **DEEP},
                steps=3000,
            )
            for depth in (5, 20)
            for gain in (0.3, 0.5, 1.0, layers.TANH_GAIN, 3.0)
            for norm in (False, True)
        ),
        seeds=4,
    ),
    "learning_rate": Study(
        "Which learning rates train five layers, with and without batchnorm?",
        tuple(
            Cell(
                f"rate {rate:g}, {'batchnorm' if norm else 'plain'}",
                {"depth": 5, "batchnorm": norm, **DEEP},
                learning_rate=rate,
                steps=3000,
            )
            for rate in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
            for norm in (False, True)
        ),
        measure=update_ratio,
    ),
    "small_batches": Study(
        "Which batch sizes train the net, with and without batchnorm?",
        tuple(
            Cell(
                f"batch {size}, {'batchnorm' if norm else 'plain'}",
                layers.SCHEMES["batchnorm" if norm else "kaiming"],
                steps=3000,
                batch_size=size,
            )
            for size in (2, 4, 8, 32)
            for norm in (False, True)
        ),
    ),
    "momentum": Study(
        "What do running statistics cost against calibrated ones, by momentum and steps?",
        tuple(
            Cell(
                f"momentum {momentum:g}, {steps} steps",
                {**layers.SCHEMES["batchnorm"], "momentum": momentum},
                steps=steps,
            )
            for momentum in (0.001, 0.01, 0.1)
            for steps in (100, 1000, 5000, 20_000)
        ),
        measure=statistics_losses,
    ),
    "batch_statistics": Study(
        "What does it cost to evaluate with a batch's own statistics?",
        (Cell("batchnorm", layers.SCHEMES["batchnorm"], decayed=True),),
        measure=batch_statistics_losses,
    ),
}
