"""The exercises of lesson 05, diagnostics."""

import copy
import math

import torch

from exercises.records import Exercise, Mutant
from helpers import clinic, layers

LESSON = "05_diagnostics"


# Exercise 2: counts of magnitudes


def counts_by_comparing(values, edges):
    sizes = values.abs().flatten()
    above = torch.stack([(sizes >= edge).sum() for edge in edges])
    return torch.cat([(len(sizes) - above[0])[None], above[:-1] - above[1:], above[-1:]])


def counts_by_a_loop(values, edges):
    counts = [0] * (len(edges) + 1)
    for size in values.abs().flatten().tolist():
        counts[sum(size >= edge for edge in edges.tolist())] += 1
    return torch.tensor(counts)


def counted(sizes=torch.abs, right=True):
    """A mutant of exercise 2: other values are counted, or edges closed on the other side."""

    def answer(values, edges):
        places = torch.bucketize(sizes(values).flatten(), edges, right=right)
        return torch.bincount(places, minlength=len(edges) + 1)

    return answer


def counts_clamped(values, edges):
    inside = values.abs().clamp(edges[0], edges[-1] - 1e-6)
    return counts_by_comparing(inside, edges)[1:-1]


# Exercises 4 and 5: the wards


def treated(ward, changes=None):
    """An answer that treats each patient of a ward as it should be, but for `changes` by number."""

    def answer(number, model, learning_rate):
        treat = (changes or {}).get(number, ward[number])
        return treat(model, learning_rate)

    return answer


@torch.no_grad()
def scaled(model, factor, prefix):
    for name, weight in model.named_parameters():
        if name.startswith(prefix) and name.endswith("weight"):
            weight.mul_(factor)
    return model


@torch.no_grad()
def redrawn(model):
    """New hidden weights of the right spread, drawn with another seed."""
    generator = torch.Generator().manual_seed(3)
    for layer in range(1, 6):
        weight = model.get_submodule(f"linear{layer}").weight
        draws = torch.randn(weight.shape, generator=generator)
        weight.copy_(draws * layers.TANH_GAIN / len(weight) ** 0.5)
    return model


def each(model, prefix, change):
    for layer in range(1, 6):
        change(model.get_submodule(f"{prefix}{layer}"))
    return model


def with_fresh_batchnorm(model, layer=layers.BatchNorm1d):
    for number in range(1, 6):
        setattr(model, f"batchnorm{number}", layer(100))
    return model


def without_biases(model):
    """A copy with new linear layers in place of those that have a bias."""
    model = copy.deepcopy(model)
    for number in range(1, 6):
        old = model.get_submodule(f"linear{number}")
        new = layers.Linear(*old.weight.shape, bias=False)
        new.weight = old.weight
        setattr(model, f"linear{number}", new)
    return model


def set_momentum(momentum):
    return lambda model: each(model, "batchnorm", lambda n: setattr(n, "momentum", momentum))


SLOW, FAST = "learning rate too small", "learning rate too large"
GAIN, OUTPUT = "hidden gain too large", "output layer not scaled down"
MOMENTUM, EVAL = "momentum in the other convention", "batchnorm left in eval mode"
BIAS, DETACHED = "a bias in front of batchnorm", "batchnorm's statistics detached"

WARD_A = {
    1: lambda model, rate: (SLOW, model, rate * 100),
    2: lambda model, rate: (GAIN, scaled(model, 5 / 9, "linear"), rate),
    3: lambda model, rate: (OUTPUT, scaled(model, 0.01, "output"), rate),
    4: lambda model, rate: (FAST, model, rate / 100),
}
WARD_A_OTHERWISE = {
    1: lambda model, rate: (SLOW, model, 0.05),
    2: lambda model, rate: (GAIN, redrawn(model), rate),
    3: lambda model, rate: (OUTPUT, scaled(model, 0.02, "output"), rate),
    4: lambda model, rate: [FAST, copy.deepcopy(model), 0.15],
}
WARD_B = {
    5: lambda model, rate: (MOMENTUM, set_momentum(0.1)(model), rate),
    6: lambda model, rate: (EVAL, model.train(), rate),
    7: lambda model, rate: (BIAS, without_biases(model), rate),
    8: lambda model, rate: (DETACHED, with_fresh_batchnorm(model), rate),
}
WARD_B_OTHERWISE = {
    5: lambda model, rate: (MOMENTUM, set_momentum(0.05)(model), rate),
    6: lambda model, rate: (EVAL, each(model, "batchnorm", torch.nn.Module.train), rate),
    7: lambda model, rate: (BIAS, each(model, "linear", lambda x: setattr(x, "bias", None)), rate),
    8: lambda model, rate: (DETACHED, with_fresh_batchnorm(model, torch.nn.BatchNorm1d), rate),
}


def not_yet(model, learning_rate):
    raise NotImplementedError


EXERCISES = [
    Exercise(
        lesson=LESSON,
        grade_id="log-update-ratio",
        difficulty="●○○",
        minutes=4,
        check="log_update_ratio",
        alternatives={
            "a difference of logarithms": lambda w, g, rate: (
                math.log10(rate) + g.std().log10() - w.std().log10()
            ),
            "the natural logarithm over ln 10": lambda w, g, rate: (
                (rate * g.std() / w.std()).log() / math.log(10)
            ),
        },
        mutants=(
            Mutant(
                "natural log", lambda w, g, rate: (rate * g.std() / w.std()).log(), "natural log"
            ),
            Mutant("log2", lambda w, g, rate: (rate * g.std() / w.std()).log2(), "that is log2"),
            Mutant(
                "grad:data", lambda w, g, rate: (g.std() / w.std()).log10(), "learning rate is left"
            ),
            Mutant("no log", lambda w, g, rate: rate * g.std() / w.std(), "logarithm is missing"),
            Mutant(
                "upside down",
                lambda w, g, rate: (w.std() / (rate * g).std()).log10(),
                "upside down",
            ),
            Mutant(
                "norms", lambda w, g, rate: (rate * g.norm() / w.norm()).log10(), "those are norms"
            ),
            Mutant("variances", lambda w, g, rate: (rate * g.var() / w.var()).log10(), "take stds"),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="magnitude-counts",
        difficulty="●●○",
        minutes=8,
        check="magnitude_counts",
        alternatives={"comparisons": counts_by_comparing, "a loop": counts_by_a_loop},
        mutants=(
            Mutant("no abs", counted(sizes=lambda values: values), "the sign was kept"),
            Mutant(
                "histc-like",
                lambda values, edges: counts_by_comparing(values, edges)[1:-1],
                "is lost",
            ),
            Mutant("clipped", counts_clamped, "was put into the end bins"),
            Mutant("other side of the edges", counted(right=False), "belongs to the bin above"),
            Mutant(
                "zeros at the ends",
                lambda values, edges: torch.nn.functional.pad(
                    counts_by_comparing(values, edges)[1:-1], (1, 1)
                ),
                "is not counted",
            ),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="grad-data-ratio",
        difficulty="●○○",
        minutes=3,
        check="grad_data_ratio",
        alternatives={
            "torch's norm": lambda w, g: g.norm() / w.norm(),
            "the root of a ratio": lambda w, g: (g.square().sum() / w.square().sum()) ** 0.5,
            "root mean squares": lambda w, g: (g**2).mean().sqrt() / (w**2).mean().sqrt(),
        },
        mutants=(
            Mutant("stds", lambda w, g: g.std() / w.std(), "blind to what all elements share"),
            Mutant("upside down", lambda w, g: w.norm() / g.norm(), "upside down"),
            Mutant("squares", lambda w, g: (g**2).sum() / (w**2).sum(), "take the roots"),
            Mutant("1-norm", lambda w, g: g.abs().mean() / w.abs().mean(), "1-norm"),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="ward-a",
        difficulty="●●○",
        minutes=15,
        check="ward_a",
        numeric=False,
        alternatives={
            "factors": treated(WARD_A),
            "other numbers, redrawn weights": treated(WARD_A_OTHERWISE),
        },
        mutants=(
            Mutant(
                "wrong name",
                treated(WARD_A, {1: lambda model, rate: (GAIN, model, rate * 100)}),
                "not what the views show",
            ),
            Mutant(
                "unknown name",
                treated(WARD_A, {1: lambda model, rate: ("slow", model, rate)}),
                "copy a name from there",
            ),
            Mutant("nothing cured", treated({1: lambda m, r: (SLOW, m, r)}), "the cure is not"),
            Mutant(
                "gain too small",
                treated(WARD_A, {2: lambda m, r: (GAIN, scaled(m, 0.1, "linear"), r)}),
                "the cure is not",
            ),
            Mutant(
                "another network",
                treated(WARD_A, {2: lambda m, r: (GAIN, *clinic.healthy(seed=1))}),
                "another network",
            ),
            Mutant(
                "half a ward",
                treated(WARD_A, {2: not_yet}),
                "patient 2 is not treated yet",
            ),
            Mutant("a name only", lambda number, model, rate: SLOW, "return three things"),
        ),
    ),
    Exercise(
        lesson=LESSON,
        grade_id="ward-b",
        difficulty="●●●",
        minutes=20,
        check="ward_b",
        numeric=False,
        alternatives={
            "model-wide": treated(WARD_B),
            "layer by layer, PyTorch's batchnorm": treated(WARD_B_OTHERWISE),
        },
        mutants=(
            Mutant(
                "momentum too small",
                treated(WARD_B, {5: lambda m, r: (MOMENTUM, set_momentum(0.001)(m), r)}),
                "running means off by",
            ),
            Mutant(
                "still in eval mode",
                treated(WARD_B, {6: lambda m, r: (EVAL, m, r)}),
                "std behind batchnorm is",
            ),
            Mutant(
                "biases set to zero",
                treated(
                    WARD_B,
                    {7: lambda m, r: (BIAS, each(m, "linear", lambda x: x.bias.data.zero_()), r)},
                ),
                "parameters without gradient",
            ),
            Mutant(
                "learning rate for a bias",
                treated(WARD_B, {7: lambda m, r: (SLOW, m, r * 10)}),
                "not what the views show",
            ),
        ),
    ),
]
