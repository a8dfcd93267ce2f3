"""The checks of lesson 02, Kaiming init."""

import math
from collections.abc import Callable

import torch

from helpers.checks.verdict import Mistake, check, expect_equal

Function = Callable[[torch.Tensor], torch.Tensor]

# A standard normal as values and probabilities; the tails beyond 8 hold 1e-15.
_Z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
_DENSITY = torch.exp(-_Z.square() / 2)
_DENSITY = _DENSITY / _DENSITY.sum()


def _expect(values: torch.Tensor) -> float:
    """The mean of a function of a standard normal, given as its values on the grid."""
    return (_DENSITY @ values).item()


@check
def kaiming(answer: Callable[[torch.Tensor, float], torch.Tensor]) -> None:
    """kaiming(draws (fan_in, fan_out), gain) -> the weight, std gain / sqrt(fan_in)."""
    generator = torch.Generator().manual_seed(3)
    for fan_in, fan_out, gain in ((16, 4, 3.0), (5, 7, 0.5)):
        draws = torch.randn(fan_in, fan_out, generator=generator)
        expect_equal(
            answer(draws.clone(), gain),
            draws * gain / math.sqrt(fan_in),
            f"draws of shape ({fan_in}, {fan_out}) and gain {gain:g}",
            {
                "the root is missing: the variance goes with 1 / fan_in, the std with its root": (
                    draws * gain / fan_in
                ),
                "that is the variance, gain² / fan_in; a factor scales the std, its root": (
                    draws * gain**2 / fan_in
                ),
                "that is fan_out; here the rows, dim 0, are the inputs": (
                    draws * gain / math.sqrt(fan_out)
                ),
                "the gain stands outside of the root": draws * math.sqrt(gain / fan_in),
                "the gain was not used": draws / math.sqrt(fan_in),
                "the gain makes the weights larger: multiply by it": (
                    draws / (gain * math.sqrt(fan_in))
                ),
                "multiplied by the root of fan_in: the more terms, the smaller each": (
                    draws * gain * math.sqrt(fan_in)
                ),
                "that is the mean of fan_in and fan_out (Glorot's choice)": (
                    draws * gain * math.sqrt(2 / (fan_in + fan_out))
                ),
                "transposed: keep (fan_in, fan_out)": (draws * gain / math.sqrt(fan_in)).T,
                "that is the std; scale the draws with it": gain / math.sqrt(fan_in),
            },
            tolerance=1e-5,
        )


@check
def activation_gain(answer: Callable[[Function], float]) -> None:
    """activation_gain(f) -> 1 / sqrt(E[f(z)²]) for z standard normal, to about one percent."""
    functions = {
        "tanh": torch.tanh,
        "relu": torch.relu,
        "x ↦ x": lambda x: x,
        "x ↦ x · sigmoid(x)": lambda x: x * torch.sigmoid(x),
    }
    for name, function in functions.items():
        values = function(_Z)
        moment, mean = _expect(values.square()), _expect(values)
        tabulated = {"that is PyTorch's table, 4.7% off; compute the mean": 5 / 3}
        expect_equal(
            answer(function),
            1 / math.sqrt(moment),
            f"the activation {name}",
            {
                "the root is missing: E[f²] is a variance, a gain scales a std": 1 / moment,
                "upside down: the gain undoes what the activation does": math.sqrt(moment),
                "that is E[f²]; the gain is one over its root": moment,
                "the mean was subtracted; the next layer adds up squares, so it is E[f²]": (
                    1 / math.sqrt(moment - mean**2) if moment > mean**2 else math.nan
                ),
                "that is one over the mean size, E|f|; take the root of the mean square": (
                    1 / _expect(values.abs())
                ),
                "every z counted the same: weight each value with the normal density": (
                    1 / math.sqrt(values.square().mean().item())
                ),
                "the activation was not used": 1 / math.sqrt(_expect(torch.tanh(_Z).square())),
            }
            | (tabulated if name == "tanh" else {}),
            tolerance=0.006,
        )


@check
def variances(answer: Callable[[float, Function, int], torch.Tensor]) -> None:
    """variances(gain, f, depth) -> E[pre-activation²] of each layer, (depth,)."""
    cases = {
        "gain 1.5, relu, depth 4": (1.5, torch.relu, 4),
        "gain 5/3, tanh, depth 6": (5 / 3, torch.tanh, 6),
    }
    for case, (gain, function, depth) in cases.items():
        expected = _recursion(gain, function, depth)
        moments = [_expect(function(math.sqrt(q) * _Z).square()) for q in expected.tolist()]
        expect_equal(
            answer(gain, function, depth),
            expected,
            case,
            {
                "the first layer is missing: its inputs have variance 1, so it has gain²": (
                    _recursion(gain, function, depth, first=1.0)
                ),
                "it starts one layer late": _recursion(gain, function, depth + 1)[1:],
                "those are stds; return their squares": expected.sqrt(),
                "the gain must be squared: it scales stds": (
                    _recursion(gain, function, depth, factor=gain)
                ),
                "only the first layer's gain is not squared": (
                    _recursion(gain, function, depth, first=gain)
                ),
                "a pre-activation is √q · z, the root of its variance": (
                    _recursion(gain, function, depth, spread=lambda q: q)
                ),
                "the mean was subtracted; the next layer adds up squares, so it is E[f²]": (
                    _recursion(gain, function, depth, centred=True)
                ),
                "those are the activations' squares; return those of the pre-activations": (
                    torch.tensor(moments)
                ),
                "only the last layer; return a value for every layer": expected[-1],
                "the variance is not carried over: each layer starts where the last one ended": (
                    expected[:1].repeat(depth)
                ),
            },
            tolerance=1e-3,
        )


def _recursion(gain, function, depth, first=None, factor=None, spread=math.sqrt, centred=False):
    """The right answer, or with options a wrong one."""
    q = gain**2 if first is None else first
    found = []
    for _ in range(depth):
        found.append(q)
        values = function(spread(q) * _Z)
        moment = _expect(values.square()) - centred * _expect(values) ** 2
        q = (gain**2 if factor is None else factor) * moment
    return torch.tensor(found)


@check
def kaiming_std(answer: Callable[[torch.Tensor, float], float]) -> None:
    """kaiming_std(weight, gain) -> gain / sqrt(fan_in), the weight laid out as torch.nn does."""
    generator = torch.Generator().manual_seed(5)
    shapes = {"Linear(30, 200)": (200, 30), "Conv1d(4, 6, 3)": (6, 4, 3)}
    shapes["Conv2d(3, 16, 5)"] = (16, 3, 5, 5)
    gain = 1.2
    for module, shape in shapes.items():
        weight = torch.randn(shape, generator=generator)
        fan_in = weight[0].numel()
        wrong = {
            "that is the fan-out: torch.nn stores (out, in)": len(weight),
            "the kernel is missing: a unit sees every input channel at every place of it": (
                weight.shape[1]
            ),
            "that counts all weights; count those that lead into one unit": weight.numel(),
            "that is the fan-out times the kernel": weight.numel() // weight.shape[1],
            "that is the last dimension only": weight.shape[-1],
        }
        expect_equal(
            answer(weight.clone(), gain),
            gain / math.sqrt(fan_in),
            f"the weight of nn.{module}, shape {shape}",
            {
                "the root is missing": gain / fan_in,
                "that is the variance; return the std": gain**2 / fan_in,
                "the gain was not used": 1 / math.sqrt(fan_in),
                "the gain multiplies": 1 / (gain * math.sqrt(fan_in)),
                "that is fan_in; return gain / sqrt(fan_in)": float(fan_in),
                "that is the std the weight has, not the one it should have": weight.std(),
            }
            | {cause: gain / math.sqrt(fan) for cause, fan in wrong.items() if fan != fan_in},
            tolerance=1e-5,
        )


@check
def lsuv_weight(answer: Callable[..., torch.Tensor]) -> None:
    """lsuv_weight(x, weight, activation, target, cap) -> the weight, rescaled by measuring."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(400, 20, generator=generator)
    start = torch.randn(20, 30, generator=generator)
    calls = 0

    def counted(function):
        def count(values):
            nonlocal calls
            calls += 1
            if calls > 100:
                raise Mistake(
                    f"on {case} the activation was computed more than 100 times: stop after "
                    "`cap` rescalings"
                )
            return function(values)

        return count

    for case, function, target, cap in (
        ("no activation, target 2, cap 9", lambda a: a * 1.0, 2.0, 9),
        ("tanh, target 0.5, cap 10", torch.tanh, 0.5, 10),
        ("tanh, target 1.1 (out of reach), cap 3", torch.tanh, 1.1, 3),
    ):
        calls = 0
        weight = start * (0.3 if target == 2.0 else 1.0)
        got = answer(x.clone(), weight.clone(), counted(function), target, cap)
        expected = _rescaled(x, weight, function, target, cap)
        once = _rescaled(x, weight, function, target, 1)
        linear = weight * target / (x @ weight).std()
        expect_equal(
            got,
            expected,
            case,
            {
                "it was not rescaled": weight,
                "rescaled once; measure again until the std is on target": once,
                "multiplied by std / target; divide by what was measured": (
                    _rescaled(x, weight, function, target, cap, power=-1)
                ),
                "divided by the variance; divide by the std": (
                    _rescaled(x, weight, function, target, cap, power=2)
                ),
                "the target is missing: multiply by target / std": (
                    _rescaled(x, weight, function, 1.0, cap)
                ),
                "measured before the activation; measure after it": linear,
                "one rescaling too many": _rescaled(x, weight, function, target, cap + 1),
                "one rescaling too few": _rescaled(x, weight, function, target, cap - 1),
                "the std is measured on the weight, not on what it puts out": (
                    weight * target / weight.std()
                ),
            },
            # Answers that stop within 0.01 of the target are right too.
            tolerance=0.02 if case.startswith("tanh, target 0.5") else 1e-4,
        )


def _rescaled(x, weight, function, target, cap, power=1):
    """The right answer; `power` other than 1 gives a wrong one."""
    for _ in range(cap):
        std = function(x @ weight).std()
        if abs(std - target) < 1e-3 * target:
            break
        weight = weight * (target / std) ** power
    return weight
