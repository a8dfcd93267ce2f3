"""The course's own gradients, for K models of one architecture side by side.

Embedding, linear, batchnorm, tanh and cross-entropy, forward and backward, without autograd. At
this size PyTorch's bookkeeping costs more than the arithmetic, so each buffer is made once, a
layer is two lists of operations on buffers, and a step runs the lists.

Letters: K models, B examples in a batch, V symbols, E numbers in an embedding; dy is the
gradient of the loss by y. Every tensor is a batch of matrices (K, rows, columns).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from helpers.data import Split
from helpers.layers import BatchNorm1d, Linear, Tanh


class Layer(NamedTuple):
    """A layer's output y (K, B, C), the place of dy, and its operations in order.

    `forward` computes y. `backward`, when dy is there, computes dx and the parameters' gradients.
    """

    y: Tensor
    dy: Tensor
    forward: list[Callable[[], object]]
    backward: list[Callable[[], object]]


def linear(x, dx, W, dW, b, db) -> Layer:
    """y = x W + b: (K, B, fan_in) -> (K, B, fan_out). The bias may be None."""
    y, dy = (_matrix(x, x.shape[1], W.shape[2]) for _ in range(2))
    forward = [product(x, W, out=y)]
    backward = [product(x.mT, dy, out=dW), product(dy, W.mT, out=dx)]
    if b is not None:
        forward.append(partial(y.add_, b))
        backward.append(product(_ones(x), dy, out=db))  # db = sum of dy over the batch
    return Layer(y, dy, forward, backward)


def batchnorm(x, dx, gamma, dgamma, beta, dbeta, mean, var, eps) -> Layer:
    """y = gamma x_hat + beta, x_hat = (x - mean) / std over the batch: (K, B, C) -> (K, B, C).

    The std is biased, with eps. mean and var (biased), each (K, 1, C), are left for the caller.
    """
    B = x.shape[1]
    y, dy = torch.empty_like(x), dx  # few buffers stay in the cache: dx takes the place of dy,
    x_hat, scratch = x, y  # x_hat that of x, and y's is free before y is made and after its use
    inverse_std, scale = torch.empty_like(mean), torch.empty_like(mean)
    eps = x.new_tensor(eps)
    ones = _ones(x)
    forward = [
        product(ones / B, x, out=mean),
        partial(x.sub_, mean),
        partial(torch.mul, x, x, out=scratch),
        product(ones / B, scratch, out=var),
        partial(torch.add, var, eps, out=inverse_std),
        inverse_std.rsqrt_,
        partial(x_hat.mul_, inverse_std),
        partial(torch.addcmul, beta, gamma, x_hat, out=y),
    ]
    # dx = gamma / std * (dy - mean of dy - x_hat * mean of (dy * x_hat)): batch means, which the
    # gradients of beta and gamma are B times.
    backward = [
        product(ones, dy, out=dbeta),
        partial(torch.mul, dy, x_hat, out=scratch),
        product(ones, scratch, out=dgamma),
        partial(dy.sub_, dbeta, alpha=1 / B),
        partial(dy.addcmul_, x_hat, dgamma, value=-1 / B),
        partial(torch.mul, gamma, inverse_std, out=scale),
        partial(torch.mul, dy, scale, out=dx),
    ]
    return Layer(y, dy, forward, backward)


def tanh(x, dx, after_batchnorm: bool) -> Layer:
    """y = tanh(x) and dx = dy (1 - y^2), each in the other's place."""
    y, dy = x, dx
    forward = [y.tanh_]
    if after_batchnorm:
        # tanh(x) = 2 sigmoid(2x) - 1 is four times faster. Its absolute error of 1e-7 is nothing
        # beside batchnorm's unit spread; where activations shrink layer by layer it would be all.
        doubled = partial(torch.add, x, x, out=y)
        forward = [doubled, y.sigmoid_, partial(torch.add, x.new_tensor(-1), y, alpha=2, out=y)]
    tanh_backward = torch.ops.aten.tanh_backward.grad_input  # dy * (1 - y * y) in one pass
    return Layer(y, dy, forward, [partial(tanh_backward, dy, y, grad_input=dx)])


class Stack:
    """K models of one architecture, wired for batches of B examples.

    `parameters` and `gradients` map the models' names to (K, rows, columns), a bias being a row.
    They are views of two long vectors, so that one operation updates everything. `steps` counts
    the updates; the models themselves follow in `write_back`.
    """

    @torch.inference_mode()  # autograd then keeps no books about the buffers either
    def __init__(self, models: Sequence[nn.Sequential], batch_size: int, device=None):
        self.models, self.steps = models, 0
        self.vector, self.parameters = _vector_and_views(models, device)
        self.gradient, self.gradients = _vector_and_views(models, device)
        K, V, E = self.parameters["embedding.weight"].shape
        B, inputs = batch_size, next(m for m in models[0] if isinstance(m, Linear)).weight.shape[0]
        self.table = self.parameters["embedding.weight"].view(K * V, E)
        self.d_table = self.gradients["embedding.weight"].view(K * V, E)
        self.first_rows = torch.arange(K, device=device).view(K, 1, 1) * V  # in the table
        self.rows, self.d_rows = (self.vector.new_empty(K * B * inputs // E, E) for _ in range(2))
        # [0] are means and [1] biased variances; the tracked ones are unbiased, so we rescale.
        norms = _norms(models[0])
        C = len(norms[0].weight) if norms else 0
        self.statistics, self.running = self.vector.new_empty(2, 2, len(norms), K, 1, C)
        self.bessel = B / max(B - 1, 1)
        for ours, theirs in self._pairs():
            ours.copy_(theirs.view(ours.shape))
        self.running[1] /= self.bessel

        x = self.rows.view(K, B, inputs)
        dx = _matrix(x, B, inputs)
        self.forward, self.backward = [], [partial(self.d_rows.view(x.shape).copy_, dx)]
        statistics = iter(self.statistics.unbind(1))
        for name, module in models[0].named_children():
            W, dW = (views.get(f"{name}.weight") for views in (self.parameters, self.gradients))
            b, db = (views.get(f"{name}.bias") for views in (self.parameters, self.gradients))
            if isinstance(module, Linear):
                layer = linear(x, dx, W, dW, b, db)
            elif isinstance(module, BatchNorm1d):
                layer = batchnorm(x, dx, W, dW, b, db, *next(statistics), module.eps)
            elif isinstance(module, Tanh):
                layer = tanh(x, dx, after_batchnorm=bool(norms))
            else:
                continue  # the embedding and its flattening: see `backpropagate`
            self.forward += layer.forward
            self.backward = layer.backward + self.backward
            x, dx = layer.y, layer.dy
        if norms:
            momenta = x.new_tensor([_norms(model)[0].momentum for model in models]).view(K, 1, 1)
            self.forward.append(partial(self.running.lerp_, self.statistics, momenta))
        self.logits, self.d_logits = x.mT, dx.mT  # (K, V, B)
        self.log_p = torch.empty_like(self.logits)
        self.minus_ones = x.new_full((K, 1, B), -1)

    def backpropagate(self, contexts, targets, rates, target_log_p) -> None:
        """Fills `gradients` with those of the sum over models and examples of rate times loss.

        The models share nothing: with learning rate / B for its rate, what a model finds is the
        step to take. contexts (K * B * T,) are rows of `table`, targets (K, 1, B), rates
        (K, 1, 1); target_log_p (K, 1, B) is filled with minus the losses. In inference mode only.
        """
        torch.index_select(self.table, 0, contexts, out=self.rows)
        for operation in self.forward:
            operation()
        torch.log_softmax(self.logits, 1, out=self.log_p)
        torch.gather(self.log_p, 1, targets, out=target_log_p)
        # The gradient of the cross-entropy by the logits is softmax minus one-hot. All others
        # are linear in it, so a rate that scales it scales them all.
        torch.exp(self.log_p, out=self.d_logits).scatter_add_(1, targets, self.minus_ones)
        self.d_logits.mul_(rates)
        for operation in self.backward:
            operation()
        # A row of the table collects the gradients of all places that it was copied to.
        self.d_table.zero_().index_add_(0, contexts, self.d_rows)

    def minibatches(self, split: Split, draws: Tensor, rates: Tensor) -> Iterator[tuple]:
        """Step by step, `backpropagate`'s inputs for draws (steps, K, B) and rates (steps, K)."""
        steps, K, B = draws.shape
        draws, device = draws.to(split.targets.device), self.vector.device
        contexts = (split.contexts[draws].to(device) + self.first_rows).view(steps, -1)
        targets = split.targets[draws].to(device).view(steps, K, 1, B)
        return zip(contexts, targets, (rates.to(self.vector) / B).view(steps, K, 1, 1), strict=True)

    @torch.inference_mode()
    def take_steps(self, split: Split, draws: Tensor, rates: Tensor, losses: Tensor) -> None:
        """SGD steps on the examples `draws`; losses (steps, K) are filled, nan if interrupted."""
        target_log_p = self.vector.new_full(draws.unsqueeze(2).shape, torch.nan)
        try:
            batches = self.minibatches(split, draws, rates)
            for batch, log_p in zip(batches, target_log_p, strict=True):
                self.backpropagate(*batch, log_p)
                self.vector.sub_(self.gradient)
                self.steps += 1
        finally:
            losses.copy_(-target_log_p.mean((2, 3)))

    @torch.no_grad()
    def write_back(self) -> None:
        """Copies parameters and running statistics into the models."""
        for ours, theirs in self._pairs():
            theirs.copy_(ours.view(theirs.shape) if theirs.ndim == 1 else ours)
        for norm in (norm for model in self.models for norm in _norms(model)):
            norm.running_var *= self.bessel
            norm.num_batches_tracked.fill_(self.steps)

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Each tensor of each model, after the part of the stack that stands for it."""
        for k, model in enumerate(self.models):
            for name, theirs in model.named_parameters():
                yield self.parameters[name][k], theirs
            for layer, norm in enumerate(_norms(model)):
                yield self.running[0, layer, k], norm.running_mean
                yield self.running[1, layer, k], norm.running_var


def product(a: Tensor, b: Tensor, out: Tensor) -> Callable[[], object]:
    """The operation out = a @ b: (K, n, m) @ (K, m, p) -> (K, n, p)."""
    if not out.is_contiguous():
        a, b, out = b.mT, a.mT, out.mT  # stored transposed: (a b)^T = b^T a^T
    return partial(torch.bmm, a, b, out=out)


def _ones(x: Tensor) -> Tensor:
    """A row (K, 1, B), so that ones @ x is the sum of x over the batch (faster than x.sum)."""
    return x.new_ones(x.shape[0], 1, x.shape[1])


def _matrix(x: Tensor, rows: int, columns: int) -> Tensor:
    """Room for (K, rows, columns), stored with the longer side contiguous.

    Products are written in vectors of 16 numbers: 27 logits or 30 inputs in a row cost half as
    much again as 32 examples do.
    """
    if columns < rows:
        return x.new_empty(len(x), columns, rows).mT
    return x.new_empty(len(x), rows, columns)


def _vector_and_views(models, device) -> tuple[Tensor, dict[str, Tensor]]:
    """Zeros for the parameters of K models: one vector, and its parts by name, as `_matrix`."""
    K, views = len(models), {}
    parameters = dict(models[0].named_parameters())
    sizes = [K * parameter.numel() for parameter in parameters.values()]
    vector = torch.zeros(sum(sizes), dtype=parameters["embedding.weight"].dtype, device=device)
    for (name, parameter), part in zip(parameters.items(), vector.split(sizes), strict=True):
        rows, columns = (1, *parameter.shape)[-2:]
        tall = columns < rows and name != "embedding.weight"  # whose rows are looked up
        views[name] = part.view(K, columns, rows).mT if tall else part.view(K, rows, columns)
    return vector, views


def _norms(model: nn.Sequential) -> list[BatchNorm1d]:
    return [module for module in model if isinstance(module, BatchNorm1d)]
