"""The checks of lesson 05, diagnostics. SPOILERS: this file names the clinic's faults."""

import math
from collections.abc import Callable

import torch

from helpers import clinic
from helpers.checks.verdict import Mistake, check, expect_equal

# What is wrong with each patient, and the view in which it shows.
FAULTS = {
    1: ("learning rate too small", "the line of update:data against -3"),
    2: ("hidden gain too large", "the histogram of activations"),
    3: ("output layer not scaled down", "the loss before training"),
    4: ("learning rate too large", "update:data in the first steps, and the losses"),
    5: ("momentum in the other convention", "how far the running means are off"),
    6: ("batchnorm left in eval mode", "the std behind batchnorm"),
    7: ("a bias in front of batchnorm", "the parameters without gradient"),
    8: ("batchnorm's statistics detached", "the gradient sums before batchnorm"),
}


@check
def log_update_ratio(answer: Callable[..., torch.Tensor]) -> None:
    """log_update_ratio(weight, gradient, learning_rate) -> log10 of the ratio of stds."""
    generator = torch.Generator().manual_seed(11)
    weight = torch.randn(6, 5, generator=generator) * 0.3 + 1
    gradient = torch.randn(6, 5, generator=generator) * 0.02 + 0.01
    for learning_rate in (0.1, 0.003):
        ratio = learning_rate * gradient.std() / weight.std()
        norms = learning_rate * gradient.norm() / weight.norm()
        expect_equal(
            answer(weight.clone(), gradient.clone(), learning_rate),
            ratio.log10(),
            f"a weight (6, 5) with learning rate {learning_rate:g}",
            {
                "that is the natural logarithm; the rule of thumb -3 means log10": ratio.log(),
                "that is log2; the rule of thumb -3 means log10": ratio.log2(),
                "the learning rate is left out: that is grad:data, and -3 does not apply to it": (
                    ratio / learning_rate
                ).log10(),
                "the learning rate is left out, and the logarithm is the natural one": (
                    ratio / learning_rate
                ).log(),
                "the logarithm is missing": ratio,
                "upside down: the update stands above, the weight below": -ratio.log10(),
                "those are norms; the rule of thumb is about stds": norms.log10(),
                "those are means of absolute values; the stds were asked for": (
                    learning_rate * gradient.abs().mean() / weight.abs().mean()
                ).log10(),
                "those are variances; take stds": (
                    learning_rate * gradient.var() / weight.var()
                ).log10(),
                "you took the mean of the elements' ratios; one std over the other": (
                    (learning_rate * gradient / weight).abs().log10().mean()
                ),
            },
        )


@check
def grad_data_ratio(answer: Callable[..., torch.Tensor]) -> None:
    """grad_data_ratio(weight, gradient) -> the ratio of Euclidean norms, also for constants."""
    generator = torch.Generator().manual_seed(12)
    varied = torch.randn(6, 5, generator=generator) + 2
    gradient = torch.randn(6, 5, generator=generator) * 0.02 + 0.01
    for case, weight in {
        "a weight (6, 5)": varied,
        "a gain (5,) whose elements are all 1": torch.ones(5),
    }.items():
        grad = gradient if weight.ndim == 2 else gradient[0]
        expected = grad.norm() / weight.norm()
        mistakes = {
            "that is the ratio of stds, blind to what all elements share; norms are asked": (
                grad.std() / weight.std()
            ),
            "upside down: the gradient stands above, the weight below": 1 / expected,
            "those are squared norms; take the roots": expected**2,
            "that is the 1-norm, a sum of absolute values; the Euclidean one is asked": (
                grad.abs().sum() / weight.abs().sum()
            ),
            "that is the largest element; the Euclidean norm is asked": (
                grad.abs().max() / weight.abs().max()
            ),
            "that is the ratio of the means; signs cancel in a mean": grad.mean() / weight.mean(),
            "a ratio was asked for, not its logarithm": expected.log10(),
        }
        expect_equal(answer(weight.clone(), grad.clone()), expected, case, mistakes)


@check
def magnitude_counts(answer: Callable[..., torch.Tensor]) -> None:
    """magnitude_counts(values, edges (B + 1,)) -> counts (B + 2,): below, each bin, above."""
    generator = torch.Generator().manual_seed(13)
    values = torch.randn(40, 5, generator=generator) * 3
    values[0, 0], values[1, 1] = 1.0, 0.1  # on an edge
    edges = torch.tensor([0.1, 0.5, 1.0, 4.0])
    expected, signed = _counts(values.abs(), edges), _counts(values, edges)
    inside, right_closed = expected[1:-1], _counts(values.abs(), edges, right=True)
    ends = inside.clone()
    ends[0] += expected[0]
    ends[-1] += expected[-1]
    got = answer(values.clone(), edges.clone())
    expect_equal(
        got.long() if isinstance(got, torch.Tensor) and not got.is_complex() else got,
        expected,
        "200 values, edges 0.1, 0.5, 1 and 4",
        {
            "what lies outside the edges is lost: count it below and above": inside,
            "what lies outside was put into the end bins; give it counts of its own": ends,
            "what lies outside is not counted: the first and last count are 0": (
                torch.nn.functional.pad(inside, (1, 1))
            ),
            "what lies outside was put into the end bins; the first and last count are its own": (
                torch.nn.functional.pad(ends, (1, 1))
            ),
            "the sign was kept: a saturated -1 counts as much as +1, take the absolute value": (
                signed
            ),
            "the sign was kept, and what lies outside is lost": signed[1:-1],
            "a value on an edge belongs to the bin above it": right_closed,
            "below and above are in the other order": expected.flip(0),
        },
    )
    huge = torch.tensor([[math.inf, -math.inf, 1e30, 0.0]])
    expect_equal(
        torch.as_tensor(answer(huge, edges.clone())).long(),
        torch.tensor([1, 0, 0, 0, 3]),
        "the values inf, -inf, 1e30 and 0",
    )


def _counts(values: torch.Tensor, edges: torch.Tensor, right: bool = False) -> torch.Tensor:
    places = torch.bucketize(values.flatten(), edges, right=not right)
    return torch.bincount(places, minlength=len(edges) + 1)


@check
def ward_a(answer: Callable) -> None:
    """ward_a(number, model, learning_rate) -> name, model, learning rate; patients 1 to 4."""
    _round(answer, (1, 2, 3, 4))


@check
def ward_b(answer: Callable) -> None:
    """ward_b(number, model, learning_rate) -> name, model, learning rate; patients 5 to 8."""
    _round(answer, (5, 6, 7, 8))


def _round(answer: Callable, numbers: tuple[int, ...]) -> None:
    """Each patient in turn: the name, then the cure, measured. Raises Mistake at the first."""
    well = []
    for number in numbers:
        try:
            _visit(answer, number)
        except NotImplementedError:
            if not well:
                raise
            raise Mistake(f"well: {_list(well)}; patient {number} is not treated yet") from None
        except Mistake as mistake:
            done = f"\n  well: {_list(well)}" if well else ""
            raise Mistake(f"patient {number}: {mistake}{done}") from None
        well.append(number)


def _visit(answer: Callable, number: int) -> None:
    patient = clinic.patient(number)
    embedding = patient.model.embedding.weight.detach().clone()
    got = answer(number, patient.model, patient.learning_rate)
    if got is None:
        raise Mistake("it returned None; is a `return` missing?")
    if not isinstance(got, tuple | list) or len(got) != 3:
        raise Mistake("return three things: the fault's name, the model, the learning rate")
    name, model, learning_rate = got
    if name not in clinic.NAMES:
        raise Mistake(f"{name!r} is not in clinic.NAMES; copy a name from there")
    fault, view = FAULTS[number]
    if name != fault:
        raise Mistake(f"{name!r} is not what the views show; look at {view}")
    if not isinstance(model, torch.nn.Module):
        raise Mistake(f"the second thing must be the model, not {type(model).__name__}")
    if not isinstance(learning_rate, int | float):
        raise Mistake(f"the third must be a number, not {type(learning_rate).__name__}")
    own = getattr(getattr(model, "embedding", None), "weight", None)
    if own is None or not torch.equal(own.detach(), embedding):
        raise Mistake("that is another network; cure the one that was brought in, untrained")
    examination = clinic.examine(model, learning_rate)
    if examination.unhealthy:
        finding = examination.unhealthy[0]
        value, (low, high) = examination.findings[finding], clinic.HEALTHY[finding]
        raise Mistake(
            f"the name is right, the cure is not:\n"
            f"  {finding} is {value:.3g}, healthy is {low:g} to {high:g}"
        )
    if clinic.has_batchnorm(model) != (number > 4):
        raise Mistake("keep batchnorm where it is, and put none where there is none")


def _list(numbers: list[int]) -> str:
    return "patient " + ", ".join(map(str, numbers))
