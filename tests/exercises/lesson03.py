"""The exercises of lesson 03, batchnorm."""

import torch
from torch import nn
from torch.nn import functional

from exercises.records import Exercise, Mutant

LESSON = "03_batchnorm"


def normalized(x, eps=0.0, dims=0, unbiased=False):
    """x standardized over `dims`."""
    var = x.var(dims, unbiased=unbiased, keepdim=True)
    return (x - x.mean(dims, keepdim=True)) / torch.sqrt(var + eps)


# Exercise 1: standardize


def standardize_with_moments(x):
    mean = x.mean(0)
    return (x - mean) / ((x * x).mean(0) - mean * mean) ** 0.5


def standardize_column_by_column(x):
    columns = []
    for column in x.T:
        std = torch.linalg.norm(column - column.mean()) / len(column) ** 0.5
        columns.append((column - column.mean()) / std)
    return torch.stack(columns, dim=1)


def standardize_in_place(x):
    x -= x.mean(0)
    x /= x.std(0, unbiased=False)
    return x


# Exercise 2: the forward pass


def forward_with_rsqrt(x, gamma, beta, eps=1e-5):
    var, mean = torch.var_mean(x, dim=0, correction=0)
    return (x - mean) * (gamma * torch.rsqrt(var + eps)) + beta


def forward_with_addcmul(x, gamma, beta, eps=1e-5):
    centred = x - x.mean(0)
    std = centred.pow(2).mean(0).add(eps).sqrt()
    return torch.addcmul(beta, centred / std, gamma)


def forward_under_no_grad(x, gamma, beta, eps=1e-5):
    with torch.no_grad():
        mean, var = x.mean(0), x.var(0, unbiased=False)
    return gamma * (x - mean) / torch.sqrt(var + eps) + beta


def forward_with_detached_mean(x, gamma, beta, eps=1e-5):
    return gamma * (x - x.mean(0).detach()) / torch.sqrt(x.var(0, unbiased=False) + eps) + beta


def forward_with_detached_variance(x, gamma, beta, eps=1e-5):
    return gamma * (x - x.mean(0)) / torch.sqrt(x.var(0, unbiased=False).detach() + eps) + beta


def forward_without_a_graph(x, gamma, beta, eps=1e-5):
    return gamma * normalized(x.detach(), eps) + beta


def forward_skipping_constant_columns(x, gamma, beta, eps=1e-5):
    std = (x.var(0, unbiased=False) + eps).sqrt()
    return torch.where(x.std(0) > 0, gamma * (x - x.mean(0)) / std + beta, torch.nan)


# Exercise 4: the backward pass


def backward_by_autograd(grad_y, x, gamma, eps=1e-5):
    x = x.detach().requires_grad_()
    y = functional.batch_norm(x, None, None, gamma, None, training=True, eps=eps)
    return torch.autograd.grad(y, x, grad_y)[0]


def backward_step_by_step(grad_y, x, gamma, eps=1e-5):
    n = len(x)
    centred = x - x.mean(0)
    var = centred.square().mean(0)
    g = grad_y * gamma
    grad_var = (g * centred).sum(0) * -0.5 * (var + eps) ** -1.5
    grad_centred = g / (var + eps).sqrt() + grad_var * 2 * centred / n
    return grad_centred - grad_centred.mean(0)


def backward_with_sums(grad_y, x, gamma, eps=1e-5):
    n, x_hat = len(x), normalized(x, eps)
    factor = gamma / (n * (x.var(0, unbiased=False) + eps).sqrt())
    return factor * (n * grad_y - grad_y.sum(0) - x_hat * (grad_y * x_hat).sum(0))


def backward(mean=1.0, var=1.0, gain=True, power=0.5, average=torch.mean, unbiased=False, eps=None):
    """A backward pass with parts of it changed, for mutants."""

    def answer(grad_y, x, gamma, passed_eps=1e-5):
        small = passed_eps if eps is None else eps
        root = (x.var(0, unbiased=unbiased) + small) ** power
        x_hat = (x - x.mean(0)) / root
        g = gamma * grad_y if gain else grad_y
        return (g - mean * average(g, 0) - var * x_hat * average(g * x_hat, 0)) / root

    return answer


# Exercise 3: count the parameters


def count_a_built_network(vocab_size, block_size, embedding_size, hidden_size, batchnorm):
    model = nn.Sequential(
        nn.Embedding(vocab_size, embedding_size),
        nn.Linear(block_size * embedding_size, hidden_size, bias=not batchnorm),
        nn.BatchNorm1d(hidden_size) if batchnorm else nn.Identity(),
        nn.Linear(hidden_size, vocab_size),
    )
    return sum(parameter.numel() for parameter in model.parameters())


def count_by_layers(vocab_size, block_size, embedding_size, hidden_size, batchnorm):
    per_unit = block_size * embedding_size + (2 if batchnorm else 1)
    return vocab_size * embedding_size + hidden_size * per_unit + vocab_size * (hidden_size + 1)


def miscount(change):
    """The right count plus change(sizes...), for mutants."""

    def answer(*sizes_and_batchnorm):
        return count_by_layers(*sizes_and_batchnorm) + change(*sizes_and_batchnorm)

    return answer


# Exercise 5: images


def images_as_rows(x, gamma, beta, eps=1e-5):
    rows = x.movedim(1, -1).reshape(-1, x.shape[1])  # (N * H * W, C)
    y = gamma * normalized(rows, eps) + beta
    return y.view(x.shape[0], *x.shape[2:], x.shape[1]).movedim(-1, 1)


def images_channel_by_channel(x, gamma, beta, eps=1e-5):
    channels = []
    for place in range(x.shape[1]):
        values = x[:, place]  # (N, H, W)
        var = values.var(unbiased=False)
        x_hat = (values - values.mean()) / (var + eps).sqrt()
        channels.append(gamma[place] * x_hat + beta[place])
    return torch.stack(channels, dim=1)


def images_over(dims):
    def answer(x, gamma, beta, eps=1e-5):
        return gamma.view(-1, 1, 1) * normalized(x, eps, dims) + beta.view(-1, 1, 1)

    return answer


def images_with_mean_over_the_batch(x, gamma, beta, eps=1e-5):
    mean, var = x.mean(0), x.var(0, unbiased=False)
    return gamma.view(-1, 1, 1) * (x - mean) / (var + eps).sqrt() + beta.view(-1, 1, 1)


EXERCISES = [
    Exercise(
        lesson=LESSON,
        grade_id="standardize",
        difficulty="●○○",
        minutes=4,
        check="standardize",
        alternatives={
            "second moment minus squared mean": standardize_with_moments,
            "column by column": standardize_column_by_column,
            "torch's var_mean": lambda x: (
                (x - torch.var_mean(x, 0)[1]) / torch.var_mean(x, 0, correction=0)[0].sqrt()
            ),
        },
        mutants=(
            Mutant("unbiased variance", lambda x: normalized(x, unbiased=True), "unbiased=False"),
            Mutant("wrong axis", lambda x: normalized(x, dims=1), "the wrong axis"),
            Mutant("whole tensor", lambda x: normalized(x, dims=(0, 1)), "for the whole tensor"),
            Mutant("no root", lambda x: (x - x.mean(0)) / x.var(0, unbiased=False), "the root"),
            Mutant("no mean", lambda x: x / x.std(0, unbiased=False), "the mean was not"),
            Mutant("only the mean", lambda x: x - x.mean(0), "now divide"),
            Mutant("in place", standardize_in_place, "changed its input in place"),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="batchnorm-forward",
        difficulty="●●○",
        minutes=6,
        check="batchnorm_forward",
        alternatives={
            "rsqrt": forward_with_rsqrt,
            "addcmul": forward_with_addcmul,
            "torch's batch_norm": lambda x, gamma, beta, eps=1e-5: functional.batch_norm(
                x, None, None, gamma, beta, training=True, eps=eps
            ),
        },
        mutants=(
            Mutant(
                "unbiased variance",
                lambda x, gamma, beta, eps: gamma * normalized(x, eps, unbiased=True) + beta,
                "unbiased=False",
            ),
            Mutant(
                "wrong axis",
                lambda x, gamma, beta, eps: gamma * normalized(x, eps, 1) + beta,
                "the wrong axis",
            ),
            Mutant(
                "eps outside the root",
                lambda x, gamma, beta, eps: (
                    gamma * (x - x.mean(0)) / (x.std(0, unbiased=False) + eps) + beta
                ),
                "inside the root",
            ),
            Mutant(
                "no root",
                lambda x, gamma, beta, eps: (
                    gamma * (x - x.mean(0)) / (x.var(0, unbiased=False) + eps) + beta
                ),
                "the root is missing",
            ),
            Mutant(
                "no eps",
                lambda x, gamma, beta, eps: gamma * normalized(x) + beta,
                "eps was not used",
            ),
            Mutant(
                "eps of its own",
                lambda x, gamma, beta, eps: gamma * normalized(x, 1e-5) + beta,
                "an eps of your own",
            ),
            Mutant(
                "gain and shift forgotten",
                lambda x, gamma, beta, eps: normalized(x, eps),
                "gain and shift were forgotten",
            ),
            Mutant(
                "gain forgotten",
                lambda x, gamma, beta, eps: normalized(x, eps) + beta,
                "the gain was forgotten",
            ),
            Mutant(
                "shift forgotten",
                lambda x, gamma, beta, eps: gamma * normalized(x, eps),
                "the shift was forgotten",
            ),
            Mutant(
                "shift first",
                lambda x, gamma, beta, eps: gamma * (normalized(x, eps) + beta),
                "the gain comes first",
            ),
            Mutant("under no_grad", forward_under_no_grad, "mean and variance were detached"),
            Mutant("mean detached", forward_with_detached_mean, "the mean was detached"),
            Mutant("variance detached", forward_with_detached_variance, "the variance was det"),
            Mutant("x detached", forward_without_a_graph, "no gradient flows back to x"),
            Mutant("nan", forward_skipping_constant_columns, "on a constant column"),
        ),
        differentiable=True,
    ),
    Exercise(
        lesson=LESSON,
        grade_id="count-parameters",
        difficulty="●○○",
        minutes=5,
        check="count_parameters",
        alternatives={
            "a network built and counted": count_a_built_network,
            "per unit": count_by_layers,
        },
        mutants=(
            Mutant("bias kept", miscount(lambda v, b, e, h, norm: norm * h), "still counted"),
            Mutant("no gain, no shift", miscount(lambda v, b, e, h, norm: -2 * norm * h), "two"),
            Mutant("no shift", miscount(lambda v, b, e, h, norm: -norm * h), "one parameter each"),
            Mutant(
                "one gain for the layer",
                miscount(lambda v, b, e, h, norm: norm * (2 - 2 * h)),
                "not one for the layer",
            ),
            Mutant("no embedding", miscount(lambda v, b, e, h, norm: -v * e), "embedding table"),
            Mutant("no output bias", miscount(lambda v, b, e, h, norm: -v), "output layer's bias"),
            Mutant(
                "one embedding as input",
                miscount(lambda v, b, e, h, norm: (1 - b) * e * h),
                "side by side",
            ),
            Mutant(
                "no bias at all",
                miscount(lambda v, b, e, h, norm: -(not norm) * h),
                "the hidden layer has a bias",
            ),
            Mutant("only these sizes", lambda *sizes: 12_097 if sizes[4] else 11_897, "= 5"),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="batchnorm-backward",
        difficulty="●●●",
        minutes=15,
        check="batchnorm_backward",
        alternatives={
            "autograd": backward_by_autograd,
            "step by step": backward_step_by_step,
            "sums in place of means": backward_with_sums,
        },
        mutants=(
            Mutant("detached", backward(mean=0, var=0), "treated as constants"),
            Mutant("no path through the variance", backward(var=0), "through the variance"),
            Mutant("no path through the mean", backward(mean=0), "through the mean"),
            Mutant("sums", backward(average=torch.sum), "summed over the batch"),
            Mutant("no gain", backward(gain=False), "multiply by gamma"),
            Mutant("sign", backward(mean=-1, var=-1), "both are subtracted"),
            Mutant("unbiased variance", backward(unbiased=True), "unbiased=False"),
            Mutant("no eps", backward(eps=0.0), "eps was not used"),
            Mutant("no root", backward(power=1.0), "the root is missing"),
            Mutant(
                "no division",
                lambda grad_y, x, gamma, eps: (
                    backward_with_sums(grad_y, x, gamma, eps)
                    * (x.var(0, unbiased=False) + eps).sqrt()
                ),
                "division by the standard deviation is missing",
            ),
            Mutant(
                "divided twice",
                lambda grad_y, x, gamma, eps: (
                    backward_with_sums(grad_y, x, gamma, eps)
                    / (x.var(0, unbiased=False) + eps).sqrt()
                ),
                "once more",
            ),
            Mutant(
                "the gain's gradient",
                lambda grad_y, x, gamma, eps: (grad_y * normalized(x, eps)).sum(0),
                "the gradient at the gain",
            ),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="batchnorm2d-forward",
        difficulty="●●○",
        minutes=6,
        check="batchnorm2d_forward",
        alternatives={
            "positions as rows": images_as_rows,
            "channel by channel": images_channel_by_channel,
            "torch's batch_norm": lambda x, gamma, beta, eps=1e-5: functional.batch_norm(
                x, None, None, gamma, beta, training=True, eps=eps
            ),
        },
        mutants=(
            Mutant("batch only", images_with_mean_over_the_batch, "average over positions too"),
            Mutant("each image alone", images_over((2, 3)), "instance normalization"),
            Mutant("channels too", images_over((1, 2, 3)), "layer normalization"),
            Mutant("over the channels", images_over(1), "the wrong axis"),
            Mutant("one mean", images_over((0, 1, 2, 3)), "each channel keeps its own"),
            Mutant(
                "gain along the columns",
                lambda x, gamma, beta, eps: gamma * normalized(x, eps, (0, 2, 3)) + beta,
                "reshape them to (C, 1, 1)",
            ),
            Mutant(
                "unbiased variance",
                lambda x, gamma, beta, eps: (
                    gamma.view(-1, 1, 1) * normalized(x, eps, (0, 2, 3), unbiased=True)
                    + beta.view(-1, 1, 1)
                ),
                "unbiased=False",
            ),
            Mutant(
                "no gain, no shift",
                lambda x, gamma, beta, eps: normalized(x, eps, (0, 2, 3)),
                "gain and shift were forgotten",
            ),
            Mutant(
                "eps of its own",
                lambda x, gamma, beta, eps: images_over((0, 2, 3))(x, gamma, beta),
                "an eps of your own",
            ),
        ),
    ),
]
