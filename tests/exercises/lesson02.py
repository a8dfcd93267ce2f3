"""The exercises of lesson 02, Kaiming init."""

import math

import torch

from exercises.records import Exercise, Mutant

LESSON = "02_kaiming_init"


# Exercise 1: the weight


def kaiming_with_a_loop(draws, gain):
    fan_in = len(draws)
    return torch.tensor([[w * gain / math.sqrt(fan_in) for w in row] for row in draws.tolist()])


# Exercise 2: the gain of an activation


def normal_grid(points=4001, reach=8):
    z = torch.linspace(-reach, reach, points, dtype=torch.float64)
    density = torch.exp(-(z**2) / 2)
    return z, density / density.sum()


def mean_of(values):
    return (normal_grid()[1] * values).sum()


def moment_of(activation, spread=1.0):
    return mean_of(activation(spread * normal_grid()[0]) ** 2)


def gain_by_monte_carlo(activation):
    z = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    return activation(z).square().mean().rsqrt()


def gain_by_a_riemann_sum(activation):
    step = 0.01
    z = torch.arange(-10, 10, step)
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return 1 / math.sqrt((activation(z) ** 2 * density * step).sum())


def gain_by_torch_distributions(activation):
    z = torch.distributions.Normal(0, 1).icdf(torch.linspace(0.00001, 0.99999, 100_001))
    return (1 / (activation(z) ** 2).mean()).sqrt().item()


def gain_of_unweighted_values(activation):
    return 1 / activation(normal_grid()[0]).square().mean().sqrt()


def gain_of_the_variance(activation):
    values = activation(normal_grid()[0])
    return 1 / (mean_of(values**2) - mean_of(values) ** 2).sqrt()


def gain_from_few_draws(activation):
    z = torch.randn(30, generator=torch.Generator().manual_seed(1))
    return 1 / activation(z).square().mean().sqrt()


# Exercise 3: the recursion


def variances_in_a_tensor(gain, activation, depth):
    found = torch.empty(depth, dtype=torch.float64)
    for layer in range(depth):
        moment = 1.0 if layer == 0 else moment_of(activation, found[layer - 1].sqrt())
        found[layer] = gain**2 * moment
    return found


def variances_by_recursive_calls(gain, activation, depth):
    if depth == 1:
        return torch.tensor([gain**2])
    before = variances_by_recursive_calls(gain, activation, depth - 1)
    q = gain**2 * moment_of(activation, before[-1].item() ** 0.5)
    return torch.cat([before, q.float().view(1)])


def variances_with(start=None, square=True, root=True, centred=False, carried=True):
    """The recursion with one thing changed."""

    def answer(gain, activation, depth):
        q = gain**2 if start is None else start(gain)
        found = []
        for _ in range(depth):
            found.append(float(q))
            values = activation((q**0.5 if root else q) * normal_grid()[0])
            moment = mean_of(values**2) - (mean_of(values) ** 2 if centred else 0)
            if carried:
                q = (gain**2 if square else gain) * moment.item()
        return torch.tensor(found)

    return answer


def variances_of_the_activations(gain, activation, depth):
    return variances_in_a_tensor(gain, activation, depth + 1)[1:] / gain**2


# Exercise 5: LSUV


def lsuv_without_an_early_stop(x, weight, activation, target, cap):
    for _ in range(cap):
        weight = weight * (target / activation(x @ weight).std())
    return weight


def lsuv_with_while(x, weight, activation, target, cap):
    done = 0
    std = activation(x @ weight).std()
    while done < cap and not 0.99 < std / target < 1.01:
        weight = weight / std * target
        done += 1
        std = activation(x @ weight).std()
    return weight


def lsuv_on_a_copy(x, weight, activation, target, cap):
    weight = weight.clone()
    for _ in range(cap):
        std = activation(x.matmul(weight)).std(correction=0)
        if (std / target - 1).abs() < 0.005:
            return weight
        weight *= target / std
    return weight


def lsuv_with(power=1, measured=None, goal=None, extra=0):
    """The loop with one thing changed."""

    def answer(x, weight, activation, target, cap):
        for _ in range(cap + extra):
            std = (activation(x @ weight) if measured is None else measured(x, weight)).std()
            aim = target if goal is None else goal
            if abs(std - aim) < 0.01 * aim:
                break
            weight = weight * (aim / std) ** power
        return weight

    return answer


def lsuv_without_a_cap(x, weight, activation, target, cap):
    while abs(activation(x @ weight).std() - target) > 0.01 * target:
        weight = weight * target / activation(x @ weight).std()
    return weight


def lsuv_once(x, weight, activation, target, cap):
    return weight * target / activation(x @ weight).std()


EXERCISES = [
    Exercise(
        lesson=LESSON,
        grade_id="activation-gain",
        difficulty="●○○",
        minutes=5,
        check="activation_gain",
        alternatives={
            "200,000 draws": gain_by_monte_carlo,
            "a Riemann sum": gain_by_a_riemann_sum,
            "quantiles": gain_by_torch_distributions,
        },
        mutants=(
            Mutant("no root", lambda f: 1 / moment_of(f), "the root is missing"),
            Mutant("upside down", lambda f: moment_of(f).sqrt(), "upside down"),
            Mutant("mean square", lambda f: moment_of(f), "that is E[f²]"),
            Mutant("variance", gain_of_the_variance, "the mean was subtracted"),
            Mutant(
                "mean size",
                lambda f: 1 / mean_of(f(normal_grid()[0]).abs()),
                "one over the mean size",
            ),
            Mutant("no density", gain_of_unweighted_values, "weight each value"),
            Mutant("PyTorch's tanh", lambda f: 5 / 3, "PyTorch's table"),
            Mutant("always tanh", lambda f: 1.5925, "the activation was not used"),
            Mutant("30 draws", gain_from_few_draws, "wrong value"),
            Mutant(
                "one number per z",
                lambda f: 1 / f(normal_grid()[0]).abs().clamp(1e-3),
                "wrong shape",
            ),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="kaiming",
        difficulty="●○○",
        minutes=4,
        check="kaiming",
        alternatives={
            "a Python loop": kaiming_with_a_loop,
            "by the variance": lambda draws, gain: draws * (gain**2 / draws.shape[0]) ** 0.5,
            "divided by the root": lambda draws, gain: gain * draws / math.sqrt(draws.size(0)),
        },
        mutants=(
            Mutant("no root", lambda w, gain: w * gain / len(w), "the root is missing"),
            Mutant("variance", lambda w, gain: w * gain**2 / len(w), "that is the variance"),
            Mutant("fan-out", lambda w, gain: w * gain / w.shape[1] ** 0.5, "that is fan_out"),
            Mutant(
                "gain under the root",
                lambda w, gain: w * (gain / len(w)) ** 0.5,
                "outside of the root",
            ),
            Mutant("no gain", lambda w, gain: w / len(w) ** 0.5, "the gain was not used"),
            Mutant("gain divides", lambda w, gain: w / gain / len(w) ** 0.5, "multiply by it"),
            Mutant("root multiplies", lambda w, gain: w * gain * len(w) ** 0.5, "smaller each"),
            Mutant(
                "Glorot",
                lambda w, gain: w * gain * (2 / sum(w.shape)) ** 0.5,
                "the mean of fan_in and fan_out",
            ),
            Mutant("transposed", lambda w, gain: (w * gain / len(w) ** 0.5).T, "transposed"),
            Mutant("only the std", lambda w, gain: gain / len(w) ** 0.5, "scale the draws"),
            Mutant("He's factor", lambda w, gain: w * (2 / len(w)) ** 0.5, "wrong value"),
            Mutant(
                "root of the number of weights",
                lambda w, gain: w * gain / w.numel() ** 0.5,
                "wrong value",
            ),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="variances",
        difficulty="●●○",
        minutes=8,
        check="variances",
        alternatives={
            "filled in place": variances_in_a_tensor,
            "a function that calls itself": variances_by_recursive_calls,
        },
        mutants=(
            Mutant(
                "starts at 1", variances_with(start=lambda gain: 1.0), "the first layer is missing"
            ),
            Mutant(
                "one layer late",
                lambda gain, f, depth: variances_in_a_tensor(gain, f, depth + 1)[1:],
                "one layer late",
            ),
            Mutant("gain once", variances_with(square=False), "the gain must be squared"),
            Mutant(
                "gain once at the start",
                variances_with(start=lambda gain: gain),
                "only the first layer's gain",
            ),
            Mutant("variance for std", variances_with(root=False), "the root of its variance"),
            Mutant("centred", variances_with(centred=True), "the mean was subtracted"),
            Mutant("stds", lambda *inputs: variances_in_a_tensor(*inputs).sqrt(), "those are stds"),
            Mutant("activations", variances_of_the_activations, "those are the activations'"),
            Mutant("not carried over", variances_with(carried=False), "not carried over"),
            Mutant("last only", lambda *inputs: variances_in_a_tensor(*inputs)[-1], "every layer"),
            Mutant(
                "always relu",
                lambda gain, f, depth: gain**2 * (gain**2 / 2) ** torch.arange(depth),
                "tanh",
            ),
            Mutant(
                "always tanh",
                lambda gain, f, depth: variances_in_a_tensor(gain, torch.tanh, depth),
                "wrong value",
            ),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="kaiming-std",
        difficulty="●●○",
        minutes=6,
        check="kaiming_std",
        alternatives={
            "product of the shape": lambda w, gain: gain / math.prod(w.shape[1:]) ** 0.5,
            "all weights over outputs": lambda w, gain: gain * (len(w) / w.numel()) ** 0.5,
            "PyTorch's own": lambda w, gain: (
                gain / torch.nn.init._calculate_fan_in_and_fan_out(w)[0] ** 0.5
            ),
        },
        mutants=(
            Mutant("fan-out", lambda w, gain: gain / len(w) ** 0.5, "that is the fan-out"),
            Mutant("no kernel", lambda w, gain: gain / w.shape[1] ** 0.5, "the kernel is missing"),
            Mutant("all weights", lambda w, gain: gain / w.numel() ** 0.5, "counts all weights"),
            Mutant(
                "fan-out with kernel",
                lambda w, gain: gain / w.transpose(0, 1)[0].numel() ** 0.5,
                "that is the fan-out",
            ),
            Mutant(
                "last dim", lambda w, gain: gain / w.shape[-1] ** 0.5, "that is the last dimension"
            ),
            Mutant("no root", lambda w, gain: gain / w[0].numel(), "the root is missing"),
            Mutant("variance", lambda w, gain: gain**2 / w[0].numel(), "return the std"),
            Mutant("no gain", lambda w, gain: w[0].numel() ** -0.5, "the gain was not used"),
            Mutant("gain divides", lambda w, gain: w[0].numel() ** -0.5 / gain, "gain multiplies"),
            Mutant("fan-in", lambda w, gain: w[0].numel(), "that is fan_in"),
            Mutant("its present std", lambda w, gain: w.std(), "the std the weight has"),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="lsuv-weight",
        difficulty="●●●",
        minutes=10,
        check="lsuv_weight",
        alternatives={
            "no early stop": lsuv_without_an_early_stop,
            "a while loop": lsuv_with_while,
            "a copy, rescaled in place": lsuv_on_a_copy,
        },
        mutants=(
            Mutant("nothing done", lambda x, w, *rest: w, "it was not rescaled"),
            Mutant("once", lsuv_once, "measure again"),
            Mutant("no cap", lsuv_without_a_cap, "more than 100 times"),
            Mutant("upside down", lsuv_with(power=-1), "divide by what was measured"),
            Mutant("variance", lsuv_with(power=2), "divide by the std"),
            Mutant("no target", lsuv_with(goal=1.0), "the target is missing"),
            Mutant(
                "before the activation",
                lsuv_with(measured=lambda x, w: x @ w),
                "measure after it",
            ),
            Mutant("std of the weight", lsuv_with(measured=lambda x, w: w), "not on what it puts"),
            Mutant("one too many", lsuv_with(extra=1), "one rescaling too many"),
            Mutant("one too few", lsuv_with(extra=-1), "one rescaling too few"),
            Mutant("transposed", lambda x, w, *rest: w.T, "wrong shape"),
        ),
    ),
]
