"""Layers small enough to read, and the names model built from them.

Everything random is drawn from an explicit `torch.Generator`, in a documented order, so that
one seed means one model here, in the lecture and in `helpers.sweeps`.
"""

from helpers.layers.inference import calibrate, evaluation_mode, fold_batchnorm
from helpers.layers.model import ACTIVATIONS, SCHEMES, TANH_GAIN, name_mlp
from helpers.layers.modules import BATCHNORMS, BatchNorm1d, Embedding, Linear, Tanh

__all__ = [
    "ACTIVATIONS",
    "BATCHNORMS",
    "SCHEMES",
    "TANH_GAIN",
    "BatchNorm1d",
    "Embedding",
    "Linear",
    "Tanh",
    "calibrate",
    "evaluation_mode",
    "fold_batchnorm",
    "name_mlp",
]
