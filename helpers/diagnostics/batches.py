"""The statistics that batchnorm saw in training, and the running ones that follow from them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass
class BatchStatistics:
    """A layer's input, batch by batch: S steps, H units.

    `means[n]` and `variances[n]` (S, H) are those of the first n examples of each batch, so
    that one run shows what smaller batches would have seen. Variances are unbiased.
    """

    means: dict[int, torch.Tensor]
    variances: dict[int, torch.Tensor]

    @property
    def batch_sizes(self) -> list[int]:
        return list(self.means)

    @property
    def steps(self) -> int:
        return len(next(iter(self.means.values())))


@dataclass
class BatchRecorder:
    """Collects while `record_batches` is active; `record()` gives what there is so far."""

    batch_sizes: Sequence[int]
    _seen: list[list[torch.Tensor]] = field(default_factory=list)

    def look(self, module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        """The forward pre-hook: takes statistics in training mode only."""
        if module.training:
            x = inputs[0].detach()  # (N, H)
            self._seen.append(
                [torch.stack(torch.var_mean(x[:size], 0)) for size in self.batch_sizes]
            )

    def record(self) -> BatchStatistics:
        """Raises ValueError when no batch has been seen."""
        if not self._seen:
            raise ValueError("record_batches: no batch has passed in training mode")
        variances, means = {}, {}
        for size, statistics in zip(self.batch_sizes, zip(*self._seen, strict=True), strict=True):
            variances[size], means[size] = torch.stack(statistics, 1)  # (2, S, H)
        return BatchStatistics(means, variances)


@contextmanager
def record_batches(
    module: nn.Module, batch_sizes: Sequence[int] = (4, 8, 16, 32)
) -> Iterator[BatchRecorder]:
    """A recorder of what reaches `module`, a batchnorm, in each training step inside the block.

        with record_batches(model.batchnorm1) as recorder:
            fit(model, split, steps, generator=generator)
        statistics = recorder.record()

    The hook is gone afterwards, whatever happens inside.
    """
    recorder = BatchRecorder(batch_sizes)
    handle = module.register_forward_pre_hook(recorder.look)
    try:
        yield recorder
    finally:
        handle.remove()


def running_statistics(
    statistics: BatchStatistics, batch_size: int, momentum: float, corrected: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """The running mean and variance (H,) that batchnorm would hold at the end of the run.

    running = (1 - momentum) * running + momentum * batch, PyTorch's convention, starting at
    mean 0 and variance 1. Written out, batch i of S has weight momentum * (1 - momentum)^(S-1-i)
    and the start keeps (1 - momentum)^S. `corrected` drops the start and divides by the weight
    of the rest, as Adam does (Kingma & Ba 2015, section 3).
    """
    ages = torch.arange(statistics.steps - 1, -1, -1, dtype=torch.float64)
    weights = (momentum * (1 - momentum) ** ages).float()  # (S,)
    start = (1 - momentum) ** statistics.steps
    mean = weights @ statistics.means[batch_size]
    var = weights @ statistics.variances[batch_size]
    if corrected:
        return mean / (1 - start), var / (1 - start)
    return mean, var + start
