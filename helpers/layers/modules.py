"""The layers themselves: the arithmetic, and nothing between it and the reader."""

import torch
from torch import nn


class Embedding(nn.Module):
    """One learned row per symbol: indices (N, T) -> vectors (N, T, embedding_size)."""

    def __init__(self, num_symbols: int, embedding_size: int, generator=None):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_symbols, embedding_size, generator=generator))

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        return nn.functional.embedding(indices, self.weight)


class Linear(nn.Module):
    """x @ weight + bias: (N, fan_in) -> (N, fan_out), weights of std gain / sqrt(fan_in).

    With that spread a unit-variance input gives pre-activations of std `gain`, whatever the
    fan-in (He et al. 2015, section 2.2, with the gain left free). The weight is stored as
    (fan_in, fan_out), the transpose of `torch.nn.Linear`, so that the code reads like the
    formula. `scale`, when given, sets the weight's std directly and `gain` is not used. The
    bias is drawn after the weight, with std `bias_scale`.
    """

    def __init__(
        self, fan_in, fan_out, bias=True, gain=1.0, generator=None, *, scale=None, bias_scale=0.0
    ):
        super().__init__()
        std = gain / fan_in**0.5 if scale is None else scale
        self.weight = nn.Parameter(torch.randn(fan_in, fan_out, generator=generator) * std)
        self.bias = (
            nn.Parameter(torch.randn(fan_out, generator=generator) * bias_scale) if bias else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        product = x @ self.weight  # (N, fan_in) @ (fan_in, fan_out) -> (N, fan_out)
        return product if self.bias is None else product + self.bias

    def extra_repr(self) -> str:
        fan_in, fan_out = self.weight.shape
        return f"{fan_in}, {fan_out}, bias={self.bias is not None}"


class Tanh(nn.Module):
    """tanh, element by element."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x)


class BatchNorm1d(nn.Module):
    """Each column standardized over the batch, then scaled and shifted: (N, C) -> (N, C).

    In training mode the batch's own mean and variance are used (Ioffe & Szegedy 2015,
    algorithm 1) and the running buffers move towards them:
    running = (1 - momentum) * running + momentum * batch, PyTorch's convention. In eval mode
    the running buffers are used and nothing moves.

    By default this is `torch.nn.BatchNorm1d` on (N, C) input to float precision: it normalizes
    with the biased variance (divide by N) and tracks the unbiased one (N - 1);
    `momentum=None` tracks the plain average of all batches. `unbiased=True` normalizes with
    the unbiased variance too, as the lecture does.

    Raises ValueError for input that is not (N, num_features), and in training mode for a
    batch of one, whose variance says nothing.
    """

    def __init__(self, num_features: int, eps=1e-5, momentum: float | None = 0.1, unbiased=False):
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.unbiased = unbiased
        self.weight = nn.Parameter(torch.ones(num_features))  # gain, gamma in the paper
        self.bias = nn.Parameter(torch.zeros(num_features))  # shift, beta in the paper
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 2 or x.shape[1] != len(self.weight):
            raise ValueError(
                f"BatchNorm1d: expected input (N, {len(self.weight)}), got {tuple(x.shape)}"
            )
        if not self.training:
            normalized = (x - self.running_mean) / torch.sqrt(self.running_var + self.eps)
            return normalized * self.weight + self.bias
        count = len(x)
        if count < 2:
            raise ValueError(
                "BatchNorm1d: a batch of one, or none, has no variance; in training mode give it "
                "at least two examples, or call model.eval() to use the running statistics"
            )
        mean = x.mean(0)  # (C,)
        centred = x - mean  # (N, C)
        biased_var = centred.square().mean(0)  # (C,)
        unbiased_var = biased_var * (count / (count - 1))
        self._track(mean.detach(), unbiased_var.detach())
        var = unbiased_var if self.unbiased else biased_var
        return centred * (self.weight / torch.sqrt(var + self.eps)) + self.bias

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, unbiased_var: torch.Tensor) -> None:
        self.num_batches_tracked += 1
        batches = self.num_batches_tracked.item()
        step = 1 / batches if self.momentum is None else self.momentum
        self.running_mean += step * (mean - self.running_mean)
        self.running_var += step * (unbiased_var - self.running_var)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}, momentum={self.momentum}"


BATCHNORMS = (BatchNorm1d, nn.BatchNorm1d)
