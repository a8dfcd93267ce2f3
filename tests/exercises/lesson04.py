"""The exercises of lesson 04, running statistics."""

import torch

from exercises.records import Exercise, Mutant

LESSON = "04_running_statistics"


# Exercise 1: calibrated statistics


def statistics_in_two_passes(batches):
    count = sum(len(x) for x in batches)
    mean = sum(x.sum(0) for x in batches) / count
    return mean, sum(((x - mean) ** 2).sum(0) for x in batches) / (count - 1)


def statistics_by_welford(batches):
    count, mean, squares = 0, torch.zeros(batches[0].shape[1]), torch.zeros(batches[0].shape[1])
    for x in batches:
        for row in x:
            count += 1
            distance = row - mean
            mean = mean + distance / count
            squares = squares + distance * (row - mean)
    return mean, squares / (count - 1)


def statistics_in_double(batches):
    rows = torch.cat(batches).double()  # against the text, and right all the same
    return rows.mean(0).float(), rows.var(0).float()


def statistics_by_the_shortcut(batches):
    count = sum(len(x) for x in batches)
    mean = sum(x.sum(0) for x in batches) / count
    squares = sum((x**2).sum(0) for x in batches) / count
    return mean, (squares - mean**2) * count / (count - 1)


def with_variance(variance):
    """A mutant of exercise 1: the right mean, and this variance."""
    return lambda batches: (torch.cat(batches).mean(0), variance(batches))


def merged_without_distance(batches):
    squares = sum(((x - x.mean(0)) ** 2).sum(0) for x in batches)
    return squares / (sum(len(x) for x in batches) - 1)


def law_of_total_variance(batches):
    """Right where no batch has one row only."""
    count = sum(len(x) for x in batches)
    mean = torch.cat(batches).mean(0)
    squares = 0
    for x in batches:
        var = ((x - x.mean(0)) ** 2).sum(0) / (len(x) - 1)
        squares = squares + var * (len(x) - 1) + len(x) * (x.mean(0) - mean) ** 2
    return squares / (count - 1)


# Exercise 2: running update


def update_by_lerp(running_mean, running_var, x, momentum):
    return running_mean.lerp(x.mean(0), momentum), running_var.lerp(x.var(0), momentum)


def update_by_torch(running_mean, running_var, x, momentum):
    norm = torch.nn.BatchNorm1d(x.shape[1], momentum=momentum)
    norm.running_mean.copy_(running_mean)
    norm.running_var.copy_(running_var)
    norm(x)
    return norm.running_mean, norm.running_var


def update_in_steps(running_mean, running_var, x, momentum):
    mean = x.sum(0) / len(x)
    var = ((x - mean) ** 2).sum(0) / (len(x) - 1)
    step = momentum * (mean - running_mean), momentum * (var - running_var)
    return running_mean + step[0], running_var + step[1]


def updated(mean=lambda x: x.mean(0), var=lambda x: x.var(0), share=lambda momentum: momentum):
    """A mutant of exercise 2: an update with other batch statistics or another share."""

    def answer(running_mean, running_var, x, momentum):
        m = share(momentum)
        return (1 - m) * running_mean + m * mean(x), (1 - m) * running_var + m * var(x)

    return answer


def update_in_place(running_mean, running_var, x, momentum):
    running_mean += momentum * (x.mean(0) - running_mean)
    running_var += momentum * (x.var(0) - running_var)
    return running_mean, running_var


def update_of_the_std(running_mean, running_var, x, momentum):
    mean = (1 - momentum) * running_mean + momentum * x.mean(0)
    return mean, ((1 - momentum) * running_var.sqrt() + momentum * x.std(0)) ** 2


def update_around_the_old_mean(running_mean, running_var, x, momentum):
    var = ((x - running_mean) ** 2).sum(0) / (len(x) - 1)
    mean = (1 - momentum) * running_mean + momentum * x.mean(0)
    return mean, (1 - momentum) * running_var + momentum * var


# Exercise 3: bias correction


def corrected_by_a_loop(running, start, momentum, steps):
    for _ in range(steps):
        start = start * (1 - momentum)
    share = 1.0
    for _ in range(steps):
        share *= 1 - momentum
    return (running - start) / (1 - share)


# Exercise 5: fold


def fold_through_a_matrix(W, b, gamma, beta, mean, var, eps):
    scale = torch.diag(gamma * (var + eps).rsqrt())
    return W @ scale, b @ scale - mean @ scale + beta


def fold_by_probing(W, b, gamma, beta, mean, var, eps):
    """Batchnorm after linear, asked about 0 and about each unit vector."""

    def forward(x):
        return torch.nn.functional.batch_norm(x @ W + b, mean, var, gamma, beta, eps=eps)

    bias = forward(torch.zeros(1, len(W)))[0]
    return forward(torch.eye(len(W))) - bias, bias


def folded(
    factor=lambda gamma, var, eps: gamma / torch.sqrt(var + eps),
    bias=lambda b, beta, mean, factor: (b - mean) * factor + beta,
    weight=lambda W, factor: W * factor,
):
    """A mutant of exercise 5: folding with another factor, bias or weight."""

    def answer(W, b, gamma, beta, mean, var, eps):
        scale = factor(gamma, var, eps)
        return weight(W, scale), bias(b, beta, mean, scale)

    return answer


EXERCISES = [
    Exercise(
        lesson=LESSON,
        grade_id="calibrated-statistics",
        difficulty="●●●",
        minutes=12,
        check="calibrated_statistics",
        alternatives={
            "two passes": statistics_in_two_passes,
            "row by row (Welford)": statistics_by_welford,
            "in double precision": statistics_in_double,
        },
        mutants=(
            Mutant("shortcut", statistics_by_the_shortcut, "E[x²] - E[x]²"),
            Mutant(
                "batches weigh the same",
                lambda batches: (
                    torch.stack([x.mean(0) for x in batches]).mean(0),
                    torch.cat(batches).var(0),
                ),
                "every batch counted the same",
            ),
            Mutant(
                "averaged variances",
                with_variance(lambda batches: torch.stack([x.var(0) for x in batches]).mean(0)),
                "the spread between their means is missing",
            ),
            Mutant(
                "merge without the distance",
                with_variance(merged_without_distance),
                "the spread between their means is missing",
            ),
            Mutant(
                "biased",
                with_variance(lambda batches: torch.cat(batches).var(0, unbiased=False)),
                "biased variance",
            ),
            Mutant("std", with_variance(lambda batches: torch.cat(batches).std(0)), "that is the"),
            Mutant(
                "variance of the means",
                with_variance(lambda batches: torch.stack([x.mean(0) for x in batches]).var(0)),
                "the spread within is missing",
            ),
            Mutant(
                "nan for a batch of one",
                lambda batches: (torch.cat(batches).mean(0), law_of_total_variance(batches)),
                "a batch of one has no unbiased variance",
            ),
            Mutant("one tensor", lambda batches: torch.cat(batches).mean(0), "not two tensors"),
            Mutant(
                "last batch",
                lambda batches: (batches[-1].mean(0), batches[-1].var(0)),
                "last batch",
            ),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="running-update",
        difficulty="●●○",
        minutes=6,
        check="running_update",
        alternatives={
            "lerp": update_by_lerp,
            "PyTorch's layer": update_by_torch,
            "old value plus a step": update_in_steps,
        },
        mutants=(
            Mutant("complement", updated(share=lambda m: 1 - m), "two sides are swapped"),
            Mutant("biased", updated(var=lambda x: x.var(0, unbiased=False)), "biased variance"),
            Mutant("std for variance", updated(var=lambda x: x.std(0)), "follows the standard"),
            Mutant("averaged stds", update_of_the_std, "the stds were averaged"),
            Mutant("own momentum", updated(share=lambda m: 0.1), "momentum was not used"),
            Mutant("batch only", updated(share=lambda m: 1), "the batch's own mean"),
            Mutant("around the old mean", update_around_the_old_mean, "around the old mean"),
            Mutant(
                "old value kept whole",
                lambda mean, var, x, m: (mean + m * x.mean(0), var + m * x.var(0)),
                "must shrink",
            ),
            Mutant(
                "other order",
                lambda mean, var, x, m: update_by_lerp(mean, var, x, m)[::-1],
                "in the other order",
            ),
            Mutant("in place", update_in_place, "in place"),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="bias-corrected",
        difficulty="●●○",
        minutes=6,
        check="bias_corrected",
        alternatives={
            "distance to the start": lambda running, start, m, n: (
                start + (running - start) / (1 - (1 - m) ** n)
            ),
            "a loop": corrected_by_a_loop,
        },
        mutants=(
            Mutant(
                "start taken as 0",
                lambda running, start, m, n: running / (1 - (1 - m) ** n),
                "as if it were 0",
            ),
            Mutant(
                "not divided",
                lambda running, start, m, n: running - (1 - m) ** n * start,
                "divide by it",
            ),
            Mutant(
                "sign",
                lambda running, start, m, n: (running + (1 - m) ** n * start) / (1 - (1 - m) ** n),
                "the sign",
            ),
            Mutant(
                "complement",
                lambda running, start, m, n: (running - m**n * start) / (1 - m**n),
                "not momentum^steps",
            ),
            Mutant(
                "divided by the other weight",
                lambda running, start, m, n: (running - (1 - m) ** n * start) / (1 - m) ** n,
                "divided by the start's weight",
            ),
            Mutant(
                "whole start",
                lambda running, start, m, n: (running - start) / (1 - (1 - m) ** n),
                "the whole start was subtracted",
            ),
            Mutant(
                "no power",
                lambda running, start, m, n: (running - (1 - m) * start) / m,
                "a power",
            ),
            Mutant("nothing done", lambda running, start, m, n: running, "nothing was corrected"),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="pooled-std",
        difficulty="●●○",
        minutes=6,
        check="pooled_std",
        alternatives={
            "corrected at the end": lambda stds, n: ((stds**2).mean(0) * n / (n - 1)).sqrt(),
            "from summed squares": lambda stds, n: (
                (n * stds**2).sum(0) / (len(stds) * (n - 1))
            ).sqrt(),
            "by a norm": lambda stds, n: stds.norm(dim=0) * (n / (len(stds) * (n - 1))) ** 0.5,
        },
        mutants=(
            Mutant("averaged stds", lambda stds, n: stds.mean(0), "the stds were averaged"),
            Mutant(
                "averaged stds, corrected",
                lambda stds, n: stds.mean(0) * (n / (n - 1)) ** 0.5,
                "the stds were averaged",
            ),
            Mutant("biased", lambda stds, n: (stds**2).mean(0).sqrt(), "are biased"),
            Mutant(
                "upside down",
                lambda stds, n: ((stds**2).mean(0) * (n - 1) / n).sqrt(),
                "upside down",
            ),
            Mutant(
                "std corrected as a variance",
                lambda stds, n: (stds**2).mean(0).sqrt() * n / (n - 1),
                "the std by its root",
            ),
            Mutant("variance", lambda stds, n: (stds**2).mean(0) * n / (n - 1), "the variance"),
            Mutant(
                "number of batches",
                lambda stds, n: ((stds**2).mean(0) * len(stds) / (len(stds) - 1)).sqrt(),
                "number of batches",
            ),
            Mutant(
                "one for all units",
                lambda stds, n: ((stds**2).mean() * n / (n - 1)).sqrt(),
                "one std per unit",
            ),
            Mutant(
                "over units",
                lambda stds, n: ((stds**2).mean(1) * n / (n - 1)).sqrt(),
                "the wrong axis",
            ),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="fold",
        difficulty="●●○",
        minutes=8,
        check="fold",
        alternatives={
            "a diagonal matrix": fold_through_a_matrix,
            "by probing": fold_by_probing,
        },
        mutants=(
            Mutant(
                "eps outside the root",
                folded(factor=lambda gamma, var, eps: gamma / (var.sqrt() + eps)),
                "inside the root",
            ),
            Mutant(
                "no eps", folded(factor=lambda gamma, var, eps: gamma / var.sqrt()), "eps was forgo"
            ),
            Mutant(
                "own eps",
                folded(factor=lambda gamma, var, eps: gamma / (var + 1e-5).sqrt()),
                "eps of your own",
            ),
            Mutant(
                "no root", folded(factor=lambda gamma, var, eps: gamma / (var + eps)), "the root is"
            ),
            Mutant(
                "no gain",
                folded(factor=lambda gamma, var, eps: 1 / (var + eps).sqrt()),
                "the gain gamma is missing",
            ),
            Mutant(
                "multiplied by the root",
                folded(factor=lambda gamma, var, eps: gamma * (var + eps).sqrt()),
                "you multiplied by the root",
            ),
            Mutant("rows", folded(weight=lambda W, factor: W * factor[:, None]), "down the rows"),
            Mutant("weight untouched", folded(weight=lambda W, factor: W), "W has to be scaled"),
            Mutant(
                "old bias forgotten",
                folded(bias=lambda b, beta, mean, factor: beta - mean * factor),
                "old bias was forgotten",
            ),
            Mutant(
                "old bias unscaled",
                folded(bias=lambda b, beta, mean, factor: b + beta - mean * factor),
                "added unscaled",
            ),
            Mutant(
                "sign of the mean",
                folded(bias=lambda b, beta, mean, factor: (b + mean) * factor + beta),
                "the mean is subtracted",
            ),
            Mutant(
                "no mean",
                folded(bias=lambda b, beta, mean, factor: b * factor + beta),
                "the mean was forgotten",
            ),
            Mutant(
                "mean unscaled",
                folded(bias=lambda b, beta, mean, factor: b * factor - mean + beta),
                "the mean is subtracted unscaled",
            ),
            Mutant(
                "no shift",
                folded(bias=lambda b, beta, mean, factor: (b - mean) * factor),
                "shift beta was forgotten",
            ),
            Mutant(
                "sign of the shift",
                folded(bias=lambda b, beta, mean, factor: (b - mean) * factor - beta),
                "beta is added",
            ),
            Mutant(
                "shift scaled",
                folded(bias=lambda b, beta, mean, factor: (b - mean + beta) * factor),
                "beta was scaled",
            ),
        ),
    ),
]
