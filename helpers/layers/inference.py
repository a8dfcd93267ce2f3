"""A trained model put to use: eval mode, calibrated statistics, batchnorm folded away."""

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from helpers.layers.modules import BATCHNORMS, Linear


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
