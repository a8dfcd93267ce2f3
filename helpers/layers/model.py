"""The names model and the starting points that the course compares."""

from collections import OrderedDict

import torch
from torch import nn

from helpers.layers.modules import BatchNorm1d, Embedding, Linear, Tanh

# PyTorch's recommended gain for tanh (torch.nn.init.calculate_gain); lesson 02 measures it.
TANH_GAIN = 5 / 3

# The starting points the course compares: keyword arguments of `name_mlp`.
SCHEMES: dict[str, dict] = {
    "naive": {
        "hidden_scale": 1.0,
        "hidden_bias_scale": 1.0,
        "output_scale": 1.0,
        "output_bias_scale": 1.0,
    },
    "output fixed": {"hidden_scale": 1.0, "hidden_bias_scale": 1.0},
    "both fixed": {"hidden_scale": 0.2},
    "kaiming": {"hidden_gain": TANH_GAIN},
    "gain 1": {"hidden_gain": 1.0},
    "batchnorm": {"hidden_gain": TANH_GAIN, "batchnorm": True},
}

# A net's nonlinearity by name; "linear" stands for none.
ACTIVATIONS = {"tanh": Tanh, "relu": nn.ReLU, "linear": nn.Identity}


def name_mlp(
    vocab_size: int,
    block_size: int = 3,
    embedding_size: int = 10,
    hidden_size: int = 200,
    depth: int = 1,
    hidden_gain: float = TANH_GAIN,
    hidden_scale: float | None = None,
    hidden_bias_scale: float = 0.01,
    output_scale: float = 0.01,
    output_bias_scale: float = 0.0,
    batchnorm: bool = False,
    momentum: float | None = 0.1,
    *,
    generator: torch.Generator,
    activation: str = "tanh",
) -> nn.Sequential:
    """The names model: contexts int64 (N, block_size) -> logits (N, vocab_size).

    embedding -> flatten -> `depth` times (linear -> [batchnorm] -> tanh) -> linear.
    (Bengio et al. 2003, without the direct connections.) `activation` puts another of
    `ACTIVATIONS` in tanh's place.

    Hidden weights have std hidden_gain / sqrt(fan_in), or `hidden_scale` where that is given;
    the other scales are stds too, a scale of 0 meaning zeros. A hidden layer followed by
    batchnorm has no bias: the mean it would add is subtracted again. Parameters are drawn
    from `generator` in the lecture's order: embedding, then each layer's weight, then its
    bias where there is one.
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    modules["embedding"] = Embedding(vocab_size, embedding_size, generator)
    modules["flatten"] = nn.Flatten()  # (N, T, E) -> (N, T * E)
    fan_in = block_size * embedding_size
    for layer in range(1, depth + 1):
        modules[f"linear{layer}"] = Linear(
            fan_in,
            hidden_size,
            bias=not batchnorm,
            gain=hidden_gain,
            generator=generator,
            scale=hidden_scale,
            bias_scale=hidden_bias_scale,
        )
        if batchnorm:
            modules[f"batchnorm{layer}"] = BatchNorm1d(hidden_size, momentum=momentum)
        nonlinearity = ACTIVATIONS[activation]()
        modules[f"{type(nonlinearity).__name__.lower()}{layer}"] = nonlinearity
        fan_in = hidden_size
    modules["output"] = Linear(
        fan_in,
        vocab_size,
        generator=generator,
        scale=output_scale,
        bias_scale=output_bias_scale,
    )
    return nn.Sequential(modules)
