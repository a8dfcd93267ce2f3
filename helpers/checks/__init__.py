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
from helpers.checks.lesson02 import activation_gain, kaiming, kaiming_std, lsuv_weight, variances
from helpers.checks.lesson03 import (
    batchnorm2d_forward,
    batchnorm_backward,
    batchnorm_forward,
    count_parameters,
    standardize,
)
from helpers.checks.lesson04 import (
    bias_corrected,
    calibrated_statistics,
    fold,
    pooled_std,
    running_update,
)
from helpers.checks.lesson05 import (
    grad_data_ratio,
    log_update_ratio,
    magnitude_counts,
    ward_a,
    ward_b,
)

__all__ = [
    "activation_gain",
    "batchnorm2d_forward",
    "batchnorm_backward",
    "batchnorm_forward",
    "bias_corrected",
    "calibrated_statistics",
    "count_parameters",
    "cross_entropy",
    "dead_units",
    "fold",
    "grad_data_ratio",
    "guess",
    "guesses",
    "kaiming",
    "kaiming_std",
    "log_update_ratio",
    "lsuv_weight",
    "magnitude_counts",
    "pooled_std",
    "reveal",
    "running_update",
    "saturated_fraction",
    "standardize",
    "tanh_backward",
    "uniform_loss",
    "variances",
    "ward_a",
    "ward_b",
]
