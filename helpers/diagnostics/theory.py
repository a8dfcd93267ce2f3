"""What activations and gradients do in layers so wide that sums are Gaussian."""

import math
from typing import NamedTuple

import torch

# A standard normal on a grid. The tails beyond 8 hold 1e-15, and on a smooth function that
# vanishes at both ends equal steps converge as fast as any quadrature; unlike Gauss-Hermite's
# few nodes they also resolve the step that tanh becomes when its input is spread wide. An even
# number of points has none at 0, where ReLU has no slope.
_GRID = torch.linspace(-8, 8, 4000, dtype=torch.float64)
_DENSITY = torch.exp(-_GRID.square() / 2)
_DENSITY = _DENSITY / _DENSITY.sum()

# Each activation with its slope.
_FUNCTIONS = {
    "tanh": (torch.tanh, lambda x: 1 - torch.tanh(x).square()),
    "relu": (torch.relu, lambda x: (x > 0).double()),
    "linear": (lambda x: x, torch.ones_like),
}


class MeanField(NamedTuple):
    """Each layer's theoretical numbers, first layer first, as lists of length depth."""

    pre_activation_std: list[float]
    activation_std: list[float]
    gradient_growth: list[float]  # std of the gradient at layer l over that at layer l + 1
    gradient_std: list[float]  # of the gradient at each activation, the last layer's being 1


def mean_field(
    gain: float, depth: int, activation: str = "tanh", batchnorm: bool = False
) -> MeanField:
    """The stds that a deep net of very wide, equal layers has before training.

    Inputs have unit variance and weights std gain / sqrt(fan_in). With q the variance of a
    layer's pre-activations and z standard normal,

        q <- gain^2 E[f(sqrt(q) z)^2]                forward, q = gain^2 in the first layer
        gradient variance: gain^2 E[f'(sqrt(q) z)^2]  times that of the layer after it

    (Poole et al. 2016; Schoenholz et al. 2017). With batchnorm before the activation, q is 1
    everywhere, and the gradient variance is multiplied by E[f'(z)^2] / Var[f(z)] whatever the
    gain (Yang et al. 2019, for large batches).
    The last layer's gradient_growth is nan: nothing of this kind comes after it.

    Example: mean_field(5 / 3, 20).activation_std[-1] is 0.65.
    Raises ValueError for an activation other than "tanh", "relu" and "linear".
    """
    if activation not in _FUNCTIONS:
        raise ValueError(f"mean_field: activation {activation!r} is not one of {[*_FUNCTIONS]}")
    function, slope = _FUNCTIONS[activation]
    variances, activation_stds, slopes = [], [], []
    q = 1.0 if batchnorm else gain**2
    for _ in range(depth):
        x = math.sqrt(q) * _GRID
        mean, second_moment = _expect(function(x)), _expect(function(x).square())
        variance = second_moment - mean**2  # of the activation
        scale = 1 / variance if batchnorm else gain**2
        variances.append(q)
        activation_stds.append(math.sqrt(variance))
        slopes.append(scale * _expect(slope(x).square()))
        q = 1.0 if batchnorm else gain**2 * second_moment
    growth = [math.sqrt(factor) for factor in slopes[1:]] + [math.nan]
    gradient_stds = [1.0]
    for factor in reversed(growth[:-1]):
        gradient_stds.insert(0, gradient_stds[0] * factor)
    return MeanField([math.sqrt(q) for q in variances], activation_stds, growth, gradient_stds)


def _expect(values: torch.Tensor) -> float:
    """The mean of a function of a standard normal, given as its values on the grid."""
    return (_DENSITY @ values).item()
