"""The exercises of lesson 01, naive training."""

import math

import torch
from torch.nn import functional

from exercises.records import Exercise, Mutant

LESSON = "01_naive_training"


# Exercise 2: cross-entropy


def cross_entropy_with_logsumexp(logits, targets):
    picked = logits.gather(1, targets[:, None]).squeeze(1)  # (N,)
    return (logits.logsumexp(1) - picked).mean()


def cross_entropy_with_one_hot(logits, targets):
    shifted = logits - logits.amax(1, keepdim=True)
    log_sums = shifted.exp().sum(1).log()  # (N,)
    return (log_sums - (shifted * functional.one_hot(targets, logits.shape[1])).sum(1)).mean()


def cross_entropy_with_a_loop(logits, targets):
    total = 0.0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        largest = max(row)
        total += largest + math.log(sum(math.exp(x - largest) for x in row)) - row[target]
    return total / len(targets)


def log_probabilities_of(logits, targets, dim=1):
    return torch.log_softmax(logits, dim)[torch.arange(len(targets)), targets]  # (N,)


def probabilities_of(logits, targets):
    return torch.softmax(logits, 1)[torch.arange(len(targets)), targets]  # (N,)


def cross_entropy_with_a_bare_exp(logits, targets):
    probabilities = logits.exp() / logits.exp().sum(1, keepdim=True)
    return -probabilities[torch.arange(len(targets)), targets].log().mean()


def cross_entropy_with_one_maximum_for_all_rows(logits, targets):
    logits = logits - logits.max()
    return (logits.exp().sum(1).log() - logits[torch.arange(len(targets)), targets]).mean()


# Exercise 5: dead units


def dead_units_with_a_loop(activations):
    return torch.tensor([all(abs(h) > 0.97 for h in unit.tolist()) for unit in activations.T])


EXERCISES = [
    Exercise(
        lesson=LESSON,
        grade_id="uniform-loss",
        difficulty="●○○",
        minutes=3,
        check="uniform_loss",
        alternatives={
            "log of the size": lambda size: math.log(size),
            "torch's cross-entropy of equal logits": lambda size: functional.cross_entropy(
                torch.zeros(1, size), torch.tensor([0])
            ),
            "a mean over all symbols": lambda size: (
                -sum(math.log(1 / size) / size for _ in range(size))
            ),
        },
        mutants=(
            Mutant("log10", lambda size: math.log10(size), "that is log10"),
            Mutant("bits", lambda size: math.log2(size), "that is log2, bits"),
            Mutant("sign", lambda size: math.log(1 / size), "the sign"),
            Mutant("probability", lambda size: 1 / size, "that is the probability itself"),
            Mutant("only for 27 symbols", lambda size: math.log(27), "vocab_size = 2"),
            Mutant("one-element tensor", lambda size: torch.tensor([size]).log(), "wrong shape"),
            Mutant("rounded", lambda size: round(math.log(size), 1), "wrong value"),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="cross-entropy",
        difficulty="●●○",
        minutes=10,
        check="cross_entropy",
        alternatives={
            "logsumexp": cross_entropy_with_logsumexp,
            "one-hot": cross_entropy_with_one_hot,
            "a Python loop": cross_entropy_with_a_loop,
        },
        mutants=(
            Mutant("sum", lambda x, y: -log_probabilities_of(x, y).sum(), "take their mean"),
            Mutant("sign", lambda x, y: log_probabilities_of(x, y).mean(), "the sign"),
            Mutant(
                "softmax over examples",
                lambda x, y: -log_probabilities_of(x, y, dim=0).mean(),
                "sum over dim 1",
            ),
            Mutant(
                "no softmax",
                lambda x, y: -x[torch.arange(len(y)), y].mean(),
                "these are bare logits",
            ),
            Mutant(
                "bits", lambda x, y: -probabilities_of(x, y).log2().mean(), "that is log2, bits"
            ),
            Mutant("log10", lambda x, y: -probabilities_of(x, y).log10().mean(), "that is log10"),
            Mutant(
                "log of the mean",
                lambda x, y: -probabilities_of(x, y).mean().log(),
                "take the mean of the logs",
            ),
            Mutant("no mean", lambda x, y: -log_probabilities_of(x, y), "expected (), got (6,)"),
            Mutant("overflow", cross_entropy_with_a_bare_exp, "exp overflows"),
            Mutant(
                "underflow",
                cross_entropy_with_one_maximum_for_all_rows,
                "subtract each row's maximum",
            ),
            Mutant(
                "log of a softmax of zero",
                lambda x, y: -probabilities_of(x, y).log().mean(),
                "log underflows",
            ),
            Mutant(
                "a small number added",
                lambda x, y: -(probabilities_of(x, y) + 1e-8).log().mean(),
                "logits as large as 1000",
            ),
            Mutant(
                "clamped logits",
                lambda x, y: functional.cross_entropy(x.clamp(-50, 50), y),
                "logits as large as 1000",
            ),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="saturated-fraction",
        difficulty="●○○",
        minutes=4,
        check="saturated_fraction",
        alternatives={
            "two comparisons": lambda h: ((h > 0.97) | (h < -0.97)).double().mean().item(),
            "count over number": lambda h: (h.abs() > 0.97).sum() / h.numel(),
            "by the square": lambda h: (h**2 > 0.97**2).float().mean(),
        },
        mutants=(
            Mutant(
                "one side", lambda h: (h > 0.97).float().mean(), "the negative side was forgotten"
            ),
            Mutant("the rest", lambda h: (h.abs() <= 0.97).float().mean(), "NOT saturated"),
            Mutant("percent", lambda h: 100 * (h.abs() > 0.97).float().mean(), "a percentage"),
            Mutant("count", lambda h: (h.abs() > 0.97).sum(), "that is a count"),
            Mutant(
                "per unit", lambda h: (h.abs() > 0.97).float().mean(0), "return one for the whole"
            ),
            Mutant("mask", lambda h: h.abs() > 0.97, "wrong shape"),
            Mutant("threshold 0.95", lambda h: (h.abs() > 0.95).float().mean(), "wrong value"),
            Mutant("threshold 0.98", lambda h: (h.abs() > 0.98).float().mean(), "wrong value"),
            Mutant("threshold 0.99", lambda h: (h.abs() > 0.99).float().mean(), "wrong value"),
            Mutant(
                "two dimensions only",
                lambda h: (h.abs() > 0.97).sum() / (h.shape[0] * h.shape[1]),
                "wrong value",
            ),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="tanh-backward",
        difficulty="●●○",
        minutes=5,
        check="tanh_backward",
        alternatives={
            "multiplied out": lambda h, grad_h: grad_h - h * h * grad_h,
            "as a product": lambda h, grad_h: (1 - h) * (1 + h) * grad_h,
            "by cosh": lambda h, grad_h: grad_h / torch.cosh(torch.atanh(h)) ** 2,
        },
        mutants=(
            Mutant("tanh twice", lambda h, g: (1 - torch.tanh(h) ** 2) * g, "tanh once more"),
            Mutant("no square", lambda h, g: (1 - h) * g, "the square is missing"),
            Mutant("no chain rule", lambda h, g: 1 - h**2, "multiply by grad_h"),
            Mutant("sigmoid", lambda h, g: h * (1 - h) * g, "slope of the sigmoid"),
            Mutant("sign", lambda h, g: (h**2 - 1) * g, "never negative"),
            Mutant("square of the whole", lambda h, g: (1 - h) ** 2 * g, "wrong value"),
            Mutant("matrix product", lambda h, g: (1 - h**2) @ g, "RuntimeError"),
            Mutant("summed", lambda h, g: ((1 - h**2) * g).sum(0), "expected (4, 3), got (3,)"),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="dead-units",
        difficulty="●●○",
        minutes=5,
        check="dead_units",
        alternatives={
            "smallest size": lambda h: h.abs().min(0).values > 0.97,
            "none is free": lambda h: ~(h.abs() <= 0.97).any(dim=0),
            "counted": lambda h: (h.abs() > 0.97).sum(0) == len(h),
            "a Python loop": dead_units_with_a_loop,
        },
        mutants=(
            Mutant("any", lambda h: (h.abs() > 0.97).any(0), "use all, not any"),
            Mutant("rows", lambda h: (h.abs() > 0.97).all(1), "a unit is a column"),
            Mutant("one side", lambda h: (h > 0.97).all(0), "the negative side was forgotten"),
            Mutant("alive", lambda h: ~(h.abs() > 0.97).all(0), "NOT dead"),
            Mutant("count", lambda h: (h.abs() > 0.97).all(0).sum(), "that is a count"),
            Mutant("numbers", lambda h: (h.abs() > 0.97).all(0).float(), "expected a bool tensor"),
            Mutant(
                "indices", lambda h: (h.abs() > 0.97).all(0).nonzero().squeeze(1), "wrong shape"
            ),
            Mutant(
                "each side on its own",
                lambda h: (h > 0.97).all(0) | (h < -0.97).all(0),
                "wrong value",
            ),
            Mutant("mean size", lambda h: h.abs().mean(0) > 0.97, "wrong value"),
        ),
    ),
]
