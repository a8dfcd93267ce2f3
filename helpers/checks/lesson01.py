"""The checks of lesson 01, naive training."""

import math
from collections.abc import Callable

import torch

from helpers.checks.verdict import Mistake, check, expect_equal


@check
def uniform_loss(answer: Callable[[int], float]) -> None:
    """uniform_loss(vocab_size) -> ln(vocab_size), the nats a uniform guess costs."""
    for size in (27, 2):
        expect_equal(
            answer(size),
            math.log(size),
            f"vocab_size = {size}",
            {
                "that is log10; nats take the natural logarithm": math.log10(size),
                "that is log2, bits; nats take the natural logarithm": math.log2(size),
                "the sign: the loss is minus the log of the probability": -math.log(size),
                "that is the probability itself; the loss is minus its logarithm": 1 / size,
            },
        )


@check
def cross_entropy(answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    """cross_entropy(logits (N, V), targets (N,)) -> the mean loss in nats, a scalar."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 5, generator=generator) * 2
    targets = torch.tensor([0, 3, 1, 4, 4, 2])
    expected = torch.nn.functional.cross_entropy(logits, targets)
    picked = logits[torch.arange(6), targets]
    over_examples = torch.log_softmax(logits, 0)[torch.arange(6), targets]
    expect_equal(
        answer(logits, targets),
        expected,
        "6 random rows of 5 logits",
        {
            "you summed over the examples; take their mean": expected * 6,
            "the sign: the loss is minus the log-probability": -expected,
            "the probabilities were normalized over the examples; each row must sum to 1, "
            "so sum over dim 1": -over_examples.mean(),
            "the loss needs log-probabilities, and these are bare logits": -picked.mean(),
            "that is log2, bits; nats take the natural logarithm": expected / math.log(2),
            "that is log10; nats take the natural logarithm": expected / math.log(10),
            "you took the log of the mean probability; take the mean of the logs": -(
                torch.softmax(logits, 1)[torch.arange(6), targets].mean().log()
            ),
        },
    )
    large = torch.tensor([[1000.0, 0.0], [0.0, -1000.0]])
    for target, loss in ((0, 0.0), (1, 1000.0)):  # the certain symbol, the impossible one
        got = torch.as_tensor(answer(large, torch.tensor([target, target])))
        if not torch.isfinite(got).all():
            raise Mistake(
                f"on logits as large as 1000 it returned {got.item()}: exp overflows or its log "
                "underflows.\n  Softmax does not change when you subtract each row's maximum "
                "first, and\n  log(softmax) can be written without dividing: x - log(sum(exp(x)))"
            )
        expect_equal(got, loss, f"logits as large as 1000 with targets {target}")


@check
def saturated_fraction(answer: Callable[[torch.Tensor], float]) -> None:
    """saturated_fraction(activations) -> the fraction (0-1) with |activation| > 0.97."""
    activations = torch.tensor([[0.975, -0.985, 0.5, -0.995, 0.96], [0.2, -0.1, -1.0, 0.9, 0.3]])
    expect_equal(
        answer(activations),
        4 / 10,
        "10 activations of which 4 are above 0.97 in absolute value",
        {
            "the negative side was forgotten: tanh saturates at -1 too": 1 / 10,
            "that is the part that is NOT saturated": 6 / 10,
            "that is a percentage; return a fraction between 0 and 1": 40.0,
            "that is a count; divide by the number of activations": 4.0,
            "that is one number per unit; return one for the whole tensor": torch.tensor(
                [0.5, 0.5, 0.5, 0.5, 0.0]
            ),
        },
    )
    expect_equal(
        answer(torch.linspace(-1, 1, 24).view(2, 3, 4)),
        2 / 24,
        "24 activations of shape (2, 3, 4) from -1 to 1",
    )


@check
def tanh_backward(answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    """tanh_backward(h, grad_h) -> the gradient of the loss at the pre-activation."""
    generator = torch.Generator().manual_seed(2)
    pre_activation = torch.randn(4, 3, generator=generator, requires_grad=True)
    grad_h = torch.randn(4, 3, generator=generator)
    h = torch.tanh(pre_activation)
    (expected,) = torch.autograd.grad(h, pre_activation, grad_h)
    h = h.detach()
    expect_equal(
        answer(h, grad_h),
        expected,
        "random h (4, 3), against autograd",
        {
            "h is already tanh(x); you applied tanh once more": (1 - torch.tanh(h) ** 2) * grad_h,
            "the square is missing: the slope is 1 - h²": (1 - h) * grad_h,
            "the slope is there, the chain rule is not: multiply by grad_h": 1 - h**2,
            "that is the slope of the sigmoid, h (1 - h)": h * (1 - h) * grad_h,
            "the sign of the slope: 1 - h² is never negative": (h**2 - 1) * grad_h,
        },
    )


@check
def dead_units(answer: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """dead_units(activations (N, H)) -> bool (H,): saturated on every example."""
    activations = torch.tensor(
        [
            [0.99, 0.99, 0.10, -0.99, 1.00],
            [0.98, -0.99, 0.99, -0.98, 0.96],
            [0.99, 0.98, 0.00, -1.00, 1.00],
        ]
    )
    beyond = activations.abs() > 0.97
    got = answer(activations)
    expect_equal(
        got,
        torch.tensor([True, True, False, True, False]),
        "3 examples × 5 units, where units 0, 1 and 3 are always saturated",
        {
            "one saturated example is not enough: use all, not any": beyond.any(0),
            "that is one answer per example; a unit is a column": beyond.all(1),
            "the negative side was forgotten: tanh saturates at -1 too": (activations > 0.97).all(
                0
            ),
            "those are the units that are NOT dead": ~beyond.all(0),
            "that is a count; return one True or False per unit": beyond.all(0).sum(),
        },
    )
    if torch.as_tensor(got).dtype != torch.bool:
        raise Mistake(f"expected a bool tensor, got {torch.as_tensor(got).dtype}")
