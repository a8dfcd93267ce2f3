"""The checks of lesson 03, batchnorm."""

from collections.abc import Callable

import torch

from helpers.checks.verdict import Mistake, check, expect_equal

UNBIASED = "that is the unbiased variance (n - 1); the paper divides by n: unbiased=False"
SQUARED = "the root is missing: you divided by the variance, not by the standard deviation"
EPS_FORGOTTEN = "eps was not used; it is added to the variance"
EPS_FIXED = "you used an eps of your own; use the one that was passed in"
EPS_OUTSIDE = "eps was added to the standard deviation; it belongs inside the root"
BOTH_FORGOTTEN = "gain and shift were forgotten: those are the standardized values"
GAIN_FORGOTTEN = "the gain was forgotten"
SHIFT_FORGOTTEN = "the shift was forgotten"
SHIFT_FIRST = "the shift was added before the gain; the gain comes first"


@check
def standardize(answer: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """standardize(x (n, H)) -> every column with mean 0 and biased std 1 over the batch."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(6, 3, generator=generator) * torch.tensor([0.5, 2.0, 4.0]) + 3
    mean, var = x.mean(0), x.var(0, unbiased=False)
    expect_equal(
        answer(x),
        (x - mean) / var.sqrt(),
        "6 examples × 3 units",
        {
            UNBIASED: (x - mean) / x.std(0),
            SQUARED: (x - mean) / var,
            "the wrong axis: you standardized each example over its units; a unit is a column, "
            "so average over dim 0": (x - x.mean(1, keepdim=True))
            / x.var(1, unbiased=False, keepdim=True).sqrt(),
            "you took one mean and one std for the whole tensor; each column has its own": (
                (x - x.mean()) / x.var(unbiased=False).sqrt()
            ),
            "the mean was not subtracted": x / var.sqrt(),
            "the mean is subtracted; now divide by the standard deviation": x - mean,
        },
    )


@check
def batchnorm_forward(answer: Callable[..., torch.Tensor]) -> None:
    """batchnorm_forward(x (n, H), gamma (H,), beta (H,), eps) -> y (n, H), in training."""
    generator = torch.Generator().manual_seed(4)
    # The last column is so narrow that it matters where eps is added.
    x = torch.randn(8, 3, generator=generator) * torch.tensor([1.0, 3.0, 0.03]) - 1
    gamma, beta = torch.tensor([0.5, 2.0, -1.5]), torch.tensor([0.3, -1.0, 2.0])
    case = "8 examples × 3 units, the last of std 0.03, eps = 0.001"
    got = answer(x, gamma, beta, 1e-3)
    expect_equal(got, _batchnorm(x, gamma, beta, 1e-3), case, _mistakes(x, gamma, beta, 1e-3, 0))

    constant = torch.full((4, 3), 2.5)
    got = torch.as_tensor(answer(constant, gamma, beta, 1e-5))
    if not torch.isfinite(got).all():
        raise Mistake(f"on a constant column it returned {got[0, 0].item()}: is eps in the root?")
    expect_equal(got, beta.expand(4, 3), "constant columns, where only the shift is left")

    x.requires_grad_()
    upstream = torch.randn(8, 3, generator=generator)
    got = answer(x, gamma, beta, 1e-3)
    if not got.requires_grad:
        raise Mistake(
            "no gradient flows back to x: the values are right, but they were computed under "
            "no_grad, from .data or from a detached x"
        )
    (got,) = torch.autograd.grad(got, x, upstream)
    (expected,) = torch.autograd.grad(_batchnorm(x, gamma, beta, 1e-3), x, upstream)
    x = x.detach()
    scale = (x.var(0, unbiased=False) + 1e-3).sqrt()
    causes = {
        "mean and variance were detached (detach, .data, .item or no_grad): the gradient must "
        "flow through both": gamma / scale * upstream,
        "the mean was detached: the gradient must flow through it": expected
        + (gamma / scale * upstream).mean(0),
        "the variance was detached: the gradient must flow through it": gamma
        / scale
        * (upstream - upstream.mean(0)),
    }
    expect_equal(got, expected, "the gradient at x, by autograd", causes)


@check
def batchnorm_backward(answer: Callable[..., torch.Tensor]) -> None:
    """batchnorm_backward(grad_y (n, H), x (n, H), gamma (H,), eps) -> grad_x (n, H)."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(8, 3, generator=generator) * torch.tensor([1.0, 3.0, 0.3]) + 2
    gamma, beta = torch.tensor([0.5, 2.0, -1.5]), torch.zeros(3)
    grad_y = torch.randn(8, 3, generator=generator) + 0.5
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(_batchnorm(leaf, gamma, beta, 1e-3), leaf, grad_y)

    def formula(x, root, through_mean=1.0, through_var=1.0, average=torch.mean):
        x_hat = (x - x.mean(0)) / root
        along = x_hat * average(grad_y * x_hat, 0)
        return gamma / root * (grad_y - through_mean * average(grad_y, 0) - through_var * along)

    root = (x.var(0, unbiased=False) + 1e-3).sqrt()
    expect_equal(
        answer(grad_y, x, gamma, 1e-3),
        expected,
        "8 examples × 3 units, against autograd",
        {
            "mean and variance are treated as constants (detached); x moves them too": formula(
                x, root, 0, 0
            ),
            "the path through the variance is missing": formula(x, root, 1, 0),
            "the path through the mean is missing": formula(x, root, 0, 1),
            "you summed over the batch where the mean belongs": formula(x, root, average=torch.sum),
            "the chain rule's gain is missing: multiply by gamma": formula(x, root) / gamma,
            "the division by the standard deviation is missing": formula(x, root) * root,
            "you divided by the variance once more; the factor is gamma / σ": formula(x, root)
            / root,
            "the sign of the two batch terms: both are subtracted": formula(x, root, -1, -1),
            UNBIASED: formula(x, (x.var(0) + 1e-3).sqrt()),
            EPS_FORGOTTEN: formula(x, x.var(0, unbiased=False).sqrt()),
            SQUARED: formula(x, x.var(0, unbiased=False) + 1e-3),
            "that is the gradient at the gain; the one at x was asked for": (
                grad_y * (x - x.mean(0)) / root
            ).sum(0),
        },
    )


@check
def count_parameters(answer: Callable[[int, int, int, int, bool], int]) -> None:
    """count_parameters(vocab_size, block_size, embedding_size, hidden_size, batchnorm) -> int."""
    for sizes in ((27, 3, 10, 200), (5, 2, 4, 7)):
        vocab_size, block_size, embedding_size, hidden_size = sizes
        embedding = vocab_size * embedding_size
        output = hidden_size * vocab_size + vocab_size
        bare = embedding + block_size * embedding_size * hidden_size + output
        case = "vocab_size = {}, block_size = {}, embedding_size = {}, hidden_size = {}"
        case = case.format(*sizes)
        shared = {
            "the embedding table has parameters too": -embedding,
            "the output layer's bias was forgotten": -vocab_size,
            "the hidden layer sees block_size embeddings side by side, not one": (
                (1 - block_size) * embedding_size * hidden_size
            ),
        }
        plain = bare + hidden_size
        expect_equal(
            answer(*sizes, False),
            plain,
            f"{case}, without batchnorm",
            {cause: plain + change for cause, change in shared.items()}
            | {"without batchnorm the hidden layer has a bias": bare},
        )
        normed = bare + 2 * hidden_size
        expect_equal(
            answer(*sizes, True),
            normed,
            f"{case}, with batchnorm",
            {cause: normed + change for cause, change in shared.items()}
            | {
                "the hidden layer's bias is still counted; batchnorm subtracts it again, so it "
                "is left out": bare + 3 * hidden_size,
                "gain and shift were forgotten: two parameters per hidden unit": bare,
                "gain and shift are one parameter each per hidden unit": bare + hidden_size,
                "gain and shift are one number per unit, not one for the layer": bare + 2,
            },
        )


@check
def batchnorm2d_forward(answer: Callable[..., torch.Tensor]) -> None:
    """batchnorm2d_forward(x (N, C, H, W), gamma (C,), beta (C,), eps) -> y (N, C, H, W)."""
    generator = torch.Generator().manual_seed(6)
    gamma, beta = torch.tensor([0.5, 2.0, -1.5]), torch.tensor([0.3, -1.0, 2.0])
    spread = torch.tensor([1.0, 3.0, 0.03]).view(3, 1, 1)
    # As wide as there are channels, so that a gain along the wrong axis does not raise.
    x = torch.randn(4, 3, 2, 3, generator=generator) * spread + 1
    per_channel = gamma.view(3, 1, 1), beta.view(3, 1, 1)
    arguments = (*per_channel, 1e-3)
    own = "you averaged over the batch only: each position got statistics of its own"
    expect_equal(
        answer(x, gamma, beta, 1e-3),
        _batchnorm(x, *arguments, (0, 2, 3)),
        "4 images × 3 channels × 2 rows × 3 columns",
        {
            own + "; average over positions too": _batchnorm(x, *arguments, 0),
            "you averaged over each image alone (instance normalization); the batch belongs "
            "in the average": _batchnorm(x, *arguments, (2, 3)),
            "you averaged over channels too, for each image (layer normalization)": _batchnorm(
                x, *arguments, (1, 2, 3)
            ),
            "the wrong axis: you averaged over the channels": _batchnorm(x, *arguments, 1),
            "one mean for everything: each channel keeps its own": _batchnorm(
                x, *arguments, (0, 1, 2, 3)
            ),
            "gain and shift run along the columns; reshape them to (C, 1, 1)": _batchnorm(
                x, gamma, beta, 1e-3, (0, 2, 3)
            ),
        }
        | _mistakes(x, *arguments, (0, 2, 3)),
    )


def _batchnorm(x, gamma, beta, eps, dims=0):
    """The right answer: x normalized over `dims` with the biased variance."""
    mean = x.mean(dims, keepdim=True)
    var = x.var(dims, unbiased=False, keepdim=True)
    return gamma * (x - mean) / torch.sqrt(var + eps) + beta


def _mistakes(x, gamma, beta, eps, dims) -> dict[str, torch.Tensor]:
    """What the usual misconceptions return for x normalized over `dims`."""
    centred = x - x.mean(dims, keepdim=True)
    var = x.var(dims, unbiased=False, keepdim=True)
    x_hat = centred / torch.sqrt(var + eps)
    mistakes = {
        UNBIASED: centred / torch.sqrt(x.var(dims, keepdim=True) + eps),
        SQUARED: centred / (var + eps),
        EPS_OUTSIDE: centred / (var.sqrt() + eps),
        EPS_FORGOTTEN: centred / var.sqrt(),
        EPS_FIXED: centred / torch.sqrt(var + 1e-5),
        "the mean was not subtracted": x / torch.sqrt(var + eps),
    }
    mistakes = {cause: gamma * wrong + beta for cause, wrong in mistakes.items()}
    mistakes |= {
        BOTH_FORGOTTEN: x_hat,
        GAIN_FORGOTTEN: x_hat + beta,
        SHIFT_FORGOTTEN: gamma * x_hat,
        SHIFT_FIRST: gamma * (x_hat + beta),
    }
    if dims == 0:
        mistakes[
            "the wrong axis: you normalized each example over its units; average over dim 0"
        ] = _batchnorm(x, gamma, beta, eps, 1)
    return mistakes
