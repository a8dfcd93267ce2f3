"""Layers small enough to read, and the names model built from them.

Everything random is drawn from an explicit `torch.Generator`, in a documented order, so that
one seed means one model here, in the lecture and in `helpers.sweeps`.
"""

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

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
    """Each column standardised over the batch, then scaled and shifted: (N, C) -> (N, C).

    In training mode the batch's own mean and variance are used (Ioffe & Szegedy 2015,
    algorithm 1) and the running buffers move towards them:
    running = (1 - momentum) * running + momentum * batch, PyTorch's convention. In eval mode
    the running buffers are used and nothing moves.

    By default this is `torch.nn.BatchNorm1d` on (N, C) input to float precision: it normalises
    with the biased variance (divide by N) and tracks the unbiased one (N - 1);
    `momentum=None` tracks the plain average of all batches. `unbiased=True` normalises with
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
            normalised = (x - self.running_mean) / torch.sqrt(self.running_var + self.eps)
            return normalised * self.weight + self.bias
        count = len(x)
        if count == 1:
            raise ValueError(
                "BatchNorm1d: a batch of one has no variance; in training mode give it at "
                "least two examples, or call model.eval() to use the running statistics"
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
        step = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean += step * (mean - self.running_mean)
        self.running_var += step * (unbiased_var - self.running_var)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}, momentum={self.momentum}"


BATCHNORMS = (BatchNorm1d, nn.BatchNorm1d)

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


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[nn.Module]:
    """The model in eval mode; each module's own mode is back afterwards, whatever happens."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield model.eval()
    finally:
        for module, training in modes.items():
            module.training = training


@torch.no_grad()
def calibrate(model: nn.Module, contexts: torch.Tensor, batch_size: int = 8192) -> None:
    """Set every batchnorm's running mean and variance to those of all of `contexts`, in place.

    Layer by layer: the statistics of a deeper layer are measured with the layers before it
    already calibrated and in eval mode, as they will be used. The variance is the unbiased one
    over all examples. `batch_size` only bounds the memory: the batches' statistics are merged
    in double precision (Chan, Golub & LeVeque 1979), so that the split does not matter.

    Raises ValueError when the model has no batchnorm or `contexts` fewer than two examples. If
    anything is raised on the way, the running statistics are what they were before.
    """
    norms = [module for module in model.modules() if isinstance(module, BATCHNORMS)]
    if not norms:
        raise ValueError("calibrate: the model has no batchnorm layer")
    if len(contexts) < 2:
        raise ValueError(f"calibrate: a variance needs two examples, got {len(contexts)}")
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    try:
        with evaluation_mode(model):
            for norm in norms:
                mean, var = _input_statistics(model, norm, contexts.split(batch_size))
                norm.running_mean.copy_(mean)
                norm.running_var.copy_(var)
    except BaseException:
        for norm, (mean, var) in zip(norms, before, strict=True):
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
        raise


def _input_statistics(model, module, batches) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and unbiased variance (C,) of what reaches `module`, over all batches."""
    count, mean, squares = 0, 0.0, 0.0  # squares: the summed squared distances from the mean

    def merge(_module, inputs):
        nonlocal count, mean, squares
        x = inputs[0].double()  # (N, C)
        batch_mean = x.mean(0)
        distance = batch_mean - mean
        total = count + len(x)
        squares = squares + (x - batch_mean).square().sum(0)
        squares = squares + distance.square() * (count * len(x) / total)
        mean = mean + distance * (len(x) / total)
        count = total

    handle = module.register_forward_pre_hook(merge)
    try:
        for batch in batches:
            model(batch)
    finally:
        handle.remove()
    return mean, squares / (count - 1)


@torch.no_grad()
def fold_batchnorm(model: nn.Sequential) -> nn.Sequential:
    """A copy of the model for inference, each batchnorm folded into the linear layer before it.

    In eval mode batchnorm is an affine map with fixed numbers, and so is the layer before it:
    W' = W * gamma / sqrt(running_var + eps), b' = (b - running_mean) * gamma / sqrt(...) + beta.
    The copy is in eval mode; `model` is not touched.

    Raises ValueError when a batchnorm does not follow a `Linear` directly.
    """
    folded: OrderedDict[str, nn.Module] = OrderedDict()
    for name, module in model.named_children():
        if not isinstance(module, BATCHNORMS):
            folded[name] = copy.deepcopy(module)
            continue
        linear = next(reversed(folded.values()), None)
        if not isinstance(linear, Linear):
            raise ValueError(f"fold_batchnorm: {name} does not follow a Linear layer")
        factor = module.weight / torch.sqrt(module.running_var + module.eps)  # (C,)
        bias = -module.running_mean if linear.bias is None else linear.bias - module.running_mean
        linear.weight = nn.Parameter(linear.weight * factor)
        linear.bias = nn.Parameter(bias * factor + module.bias)
    return nn.Sequential(folded).eval()
