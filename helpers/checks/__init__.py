"""One check per exercise, and recorded guesses.

A check takes the learner's function: `checks.saturated_fraction(saturated_fraction)`. It prints
one verdict and lets the notebook run on; under nbgrader it raises, so that the cell scores zero.
"""

from helpers.checks.guesses import guess, guesses, reveal
from helpers.checks.lesson01 import (
    cross_entropy,
    dead_units,
    saturated_fraction,
    tanh_backward,
    uniform_loss,
)

__all__ = [
    "cross_entropy",
    "dead_units",
    "guess",
    "guesses",
    "reveal",
    "saturated_fraction",
    "tanh_backward",
    "uniform_loss",
]
