"""The checks of lesson 04, running statistics."""

import math
from collections.abc import Callable

import torch

from helpers.checks.verdict import Mistake, check, expect_equal

COMPLEMENT = (
    "the momentum's two sides are swapped: in PyTorch's convention it is the new batch's share"
)
BIASED = "that is the biased variance (n); the one asked for divides by n - 1"
STD = "that is the standard deviation; the variance was asked for"


@check
def calibrated_statistics(answer: Callable[[list], tuple]) -> None:
    """calibrated_statistics(batches of (n, H)) -> mean (H,), unbiased variance (H,) of all rows."""
    generator = torch.Generator().manual_seed(7)
    rows = torch.randn(12, 3, generator=generator) * torch.tensor([0.5, 2.0, 4.0]) + 1
    rows[:5] += 3  # so that batches differ and the spread between them counts
    batches = list(rows.split([5, 4, 3]))
    case = "batches of 5, 4 and 3 rows × 3 units"
    mean, var = _pair(answer(batches), case)
    counts = torch.tensor([5.0, 4.0, 3.0]).view(3, 1) / 12
    means = torch.stack([batch.mean(0) for batch in batches])  # (3, H)
    unbiased = torch.stack([batch.var(0) for batch in batches])
    biased = torch.stack([batch.var(0, unbiased=False) for batch in batches])
    averages = {
        "unbiased variances": unbiased.mean(0),
        "biased variances": biased.mean(0),
        "unbiased variances, weighted by size": (counts * unbiased).sum(0),
        "biased variances, weighted by size": (counts * biased).sum(0),
        "summed squares, over n - 1": (counts * biased).sum(0) * 12 / 11,
        "summed squares, over n - k": (counts * biased).sum(0) * 12 / 9,
    }
    expect_equal(
        mean,
        rows.mean(0),
        f"the mean, {case}",
        {
            "every batch counted the same; a batch of 5 weighs more than one of 3": means.mean(0),
            "that is the last batch's mean": means[-1],
            "that is a sum; divide by the number of rows": rows.sum(0),
        },
    )
    expect_equal(
        var,
        rows.var(0),
        f"the variance, {case}",
        {
            BIASED: rows.var(0, unbiased=False),
            STD: rows.std(0),
            "those are the summed squares; divide by count - 1": rows.var(0) * 11,
            **{
                f"you averaged the batches' {which}; the spread between their means is "
                "missing": average
                for which, average in averages.items()
            },
            "that is the variance of the batches' means; the spread within is missing": means.var(
                0
            ),
        },
    )

    case = "batches of 1, 6, 1 and 4 rows"
    mean, var = _pair(answer(list(rows.split([1, 6, 1, 4]))), case)
    expect_equal(mean, rows.mean(0), f"the mean, {case}")
    if torch.as_tensor(var).isnan().any():
        raise Mistake(
            f"on {case} the variance is nan: a batch of one has no unbiased variance of its own, "
            "but its summed squares are 0"
        )
    expect_equal(var, rows.var(0), f"the variance, {case}")

    wide = 1000 + 0.01 * torch.randn(600, 2, generator=generator)
    case = "600 rows of mean 1000 and std 0.01, in batches of 100"
    mean, var = _pair(answer(list(wide.split(100))), case)
    expect_equal(mean, wide.double().mean(0), f"the mean, {case}", tolerance=1e-6)
    ratio = torch.as_tensor(var).detach().double() / wide.double().var(0)
    if not bool(((ratio - 1).abs() < 0.02).all()):
        raise Mistake(
            f"wrong value on the variance, {case}: {ratio[0].item():.3g} times the right one"
            "\n  likely cause: two large numbers are subtracted, as in E[x²] - E[x]²; "
            "sum squared deviations from a mean instead"
        )


@check
def running_update(answer: Callable[..., tuple]) -> None:
    """running_update(running_mean (H,), running_var (H,), x (n, H), momentum) -> both, new."""
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(4, 3, generator=generator) * torch.tensor([0.5, 2.0, 4.0]) + 3
    old_mean, old_var = torch.tensor([0.0, 1.0, -2.0]), torch.tensor([1.0, 3.0, 0.5])
    momentum = 0.2
    case = "a batch of 4 rows × 3 units, momentum 0.2"
    mean, var = _pair(answer(old_mean, old_var, x, momentum), case)

    def update(old, new, share=momentum):
        return (1 - share) * old + share * new

    batch_var = x.var(0)
    expect_equal(
        mean,
        update(old_mean, x.mean(0)),
        f"the mean, {case}",
        {
            COMPLEMENT: update(old_mean, x.mean(0), 1 - momentum),
            "momentum was not used: use the one that is passed in": update(
                old_mean, x.mean(0), 0.1
            ),
            "that is the batch's own mean; the old one keeps the share 1 - momentum": x.mean(0),
            "the old value must shrink by 1 - momentum, not stay": old_mean + momentum * x.mean(0),
            "the mean and the variance are in the other order": update(old_var, batch_var),
        },
    )
    expect_equal(
        var,
        update(old_var, batch_var),
        f"the variance, {case}",
        {
            COMPLEMENT: update(old_var, batch_var, 1 - momentum),
            BIASED: update(old_var, x.var(0, unbiased=False)),
            "that follows the standard deviation; the variance is tracked": update(
                old_var, x.std(0)
            ),
            "the stds were averaged, then squared; average the variances": update(
                old_var.sqrt(), x.std(0)
            )
            ** 2,
            "the squares were taken around the old mean, not around the batch's own": update(
                old_var, ((x - old_mean) ** 2).sum(0) / 3
            ),
            "the squares were taken around the new running mean, not around the batch's own": (
                update(old_var, ((x - update(old_mean, x.mean(0))) ** 2).sum(0) / 3)
            ),
            "that is the batch's own variance; the old one keeps the share 1 - momentum": batch_var,
        },
    )


@check
def bias_corrected(answer: Callable[..., torch.Tensor]) -> None:
    """bias_corrected(running (H,), start, momentum, steps) -> the batches' average (H,)."""
    for start, momentum, steps in [(1.0, 0.3, 3), (0.0, 0.3, 3), (1.0, 0.001, 300)]:
        average = torch.tensor([0.3, 4.0, 9.0])
        weight = (1 - momentum) ** steps
        running = weight * start + (1 - weight) * average
        case = f"a running value that began at {start:g}, momentum {momentum:g}, {steps} steps"
        other = momentum**steps
        expect_equal(
            answer(running, start, momentum, steps),
            average,
            case,
            {
                "the start was divided out as if it were 0; the variance starts at 1: subtract "
                "its share first": running / (1 - weight),
                "the start's share is subtracted; what is left has the weight 1 - (1 - m)^n: "
                "divide by it": running - weight * start,
                "the sign: the start's share has to go, not to be added once more": (
                    running + weight * start
                )
                / (1 - weight),
                "the weight is (1 - momentum)^steps in this convention, not momentum^steps": (
                    running - other * start
                )
                / (1 - other),
                "you divided by the start's weight; the batches have the rest, 1 - (1 - m)^n": (
                    running - weight * start
                )
                / weight,
                "you multiplied by 1 - (1 - m)^n where you should divide": (
                    running - weight * start
                )
                * (1 - weight),
                "the whole start was subtracted; only the share (1 - m)^n of it is left": (
                    running - start
                )
                / (1 - weight),
                "the weight falls with every step: (1 - momentum)^steps, a power": (
                    running - (1 - momentum) * start
                )
                / momentum,
                "nothing was corrected": running,
            },
        )


@check
def pooled_std(answer: Callable[[torch.Tensor, int], torch.Tensor]) -> None:
    """pooled_std(biased stds (B, H), n) -> the std (H,) of the whole, from unbiased variances."""
    generator = torch.Generator().manual_seed(9)
    for n in (4, 10):
        stds = (torch.rand(5, 3, generator=generator) + 0.2) * torch.tensor([0.5, 2.0, 4.0])
        root = (stds**2).mean(0).sqrt()  # (H,)
        bessel = math.sqrt(n / (n - 1))
        expect_equal(
            answer(stds, n),
            root * bessel,
            f"5 batches of {n} rows × 3 units",
            {
                "the stds were averaged; average the variances and take the root at the end": (
                    stds.mean(0) * bessel
                ),
                "the stds were averaged as they are; average the variances, and correct them from "
                "n to n - 1": stds.mean(0),
                "the batches' variances are biased: correct each from n to n - 1": root,
                "the correction is upside down: an unbiased variance is larger, n / (n - 1)": root
                / bessel,
                "the variance is corrected by n / (n - 1), the std by its root": root * bessel**2,
                "the root is missing at the end: that is the variance": (root * bessel) ** 2,
                "the correction was made with the number of batches; it takes the number of rows "
                "in one": root * math.sqrt(5 / 4),
                "one std per unit: average over the batches, dim 0": (
                    (stds**2).mean().sqrt() * bessel
                ),
                "the wrong axis: average over the batches, dim 0": (stds**2).mean(1).sqrt()
                * bessel,
            },
        )


@check
def fold(answer: Callable[..., tuple]) -> None:
    """fold(W (F, H), b, gamma, beta, mean, var (H,), eps) -> W' (F, H), b' (H,)."""
    generator = torch.Generator().manual_seed(10)
    # As wide as it is long, so that a factor along the wrong axis does not raise; the last unit
    # is so narrow that it matters where eps is added.
    W = torch.randn(3, 3, generator=generator)
    b = torch.tensor([0.4, -1.0, 2.0])
    gamma, beta = torch.tensor([0.5, 2.0, -1.5]), torch.tensor([0.3, -1.0, 2.0])
    mean, var, eps = torch.tensor([1.0, -0.5, 3.0]), torch.tensor([4.0, 0.5, 1e-3]), 1e-3
    case = "3 inputs, 3 units, the last of variance 0.001, eps = 0.001"
    new_W, new_b = _pair(answer(W, b, gamma, beta, mean, var, eps), case)
    factor = gamma / torch.sqrt(var + eps)
    factors = {
        "eps was added to the standard deviation; it belongs inside the root": gamma
        / (var.sqrt() + eps),
        "eps was forgotten; it is added to the variance": gamma / var.sqrt(),
        "you used an eps of your own; use the one that was passed in": gamma
        / torch.sqrt(var + 1e-5),
        "the root is missing: divide by the standard deviation": gamma / (var + eps),
        "the gain gamma is missing from the factor": 1 / torch.sqrt(var + eps),
        "the factor is gamma over the root; you multiplied by the root": gamma
        * torch.sqrt(var + eps),
    }
    expect_equal(
        new_W,
        W * factor,
        f"W', {case}",
        {
            "the factor runs down the rows; each column of W is a unit": W * factor[:, None],
            "W has to be scaled as well, not only the bias": W,
            **{cause: W * wrong for cause, wrong in factors.items()},
        },
    )
    expect_equal(
        new_b,
        (b - mean) * factor + beta,
        f"b', {case}",
        {
            "the old bias was forgotten; b is scaled as W is": -mean * factor + beta,
            "the old bias is added unscaled; it passes through batchnorm as x W does": b
            - mean * factor
            + beta,
            "the sign: the mean is subtracted": (b + mean) * factor + beta,
            "the mean was forgotten: it is subtracted from b": b * factor + beta,
            "the mean is subtracted unscaled; it takes the factor too": b * factor - mean + beta,
            "the shift beta was forgotten": (b - mean) * factor,
            "the sign of the shift: beta is added": (b - mean) * factor - beta,
            "beta was scaled; it is added after the factor": (b - mean + beta) * factor,
            **{cause: (b - mean) * wrong + beta for cause, wrong in factors.items()},
        },
    )


def _pair(got, case: str) -> tuple:
    """The two tensors of an answer; raises Mistake when it is anything else."""
    if got is None:
        raise Mistake(f"on {case} it returned None; is a `return` missing?")
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Mistake(f"on {case} it returned {type(got).__name__}, not two tensors")
    return tuple(got)
