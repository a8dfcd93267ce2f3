"""Three numbers that say while training how it goes, and TensorBoard when it is asked for."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from helpers.diagnostics.recording import NONLINEARITIES, SATURATION, modules_of_kinds
from helpers.training import Step

NAMES = ("loss", "saturated", "update_ratio")


class ScalarRecorder:
    """Collects through `training.fit(..., on_step=recorder.on_step)`: one number per look.

    steps -- the recorded steps
    loss -- minibatch losses since the last look, their mean (nats)
    saturated -- fraction (0-1) of all activations with absolute value above 0.97
    update_ratio -- log10(lr * gradient.std / weight.std), mean over the weights behind the
        first (the embedding)
    """

    def __init__(self, model: nn.Module, every: int, writer=None):
        parameters = enumerate(model.parameters())
        self._weights = [(i, weight) for i, weight in parameters if weight.ndim >= 2][1:]
        self._every = every
        self._writer = writer
        self._outputs: dict[str, torch.Tensor] = {}  # of the latest forward pass
        self._open_losses: list[float] = []
        self.steps: list[int] = []
        self.loss: list[float] = []
        self.saturated: list[float] = []
        self.update_ratio: list[float] = []

    def on_step(self, step: Step) -> bool:
        """Whether this step was looked at; the weights are those after the update."""
        self._open_losses.append(step.loss)
        if step.number % self._every:
            return False
        self.steps.append(step.number)
        self.loss.append(sum(self._open_losses) / len(self._open_losses))
        self._open_losses.clear()
        h = torch.cat([output.flatten() for output in self._outputs.values()])
        self.saturated.append((h.abs() > SATURATION).sum().item() / h.numel())
        stds = [(_std(step.gradients[i]), _std(weight.detach())) for i, weight in self._weights]
        updates, weights = torch.tensor(stds).T * torch.tensor([[step.learning_rate], [1.0]])
        self.update_ratio.append((updates / weights).log10().mean().item())
        if self._writer is not None:
            for name in NAMES:
                self._writer.add_scalar(name, getattr(self, name)[-1], step.number)
        return True

    def watch(self, name: str, module: nn.Module):
        """The handle of a hook that keeps the module's latest output."""

        def remember(_module, _inputs, output):
            self._outputs[name] = output.detach()

        return module.register_forward_hook(remember)


@contextmanager
def record_scalars(
    model: nn.Module,
    every: int = 20,
    log_dir: str | None = None,
    kinds: tuple[type, ...] = NONLINEARITIES,
) -> Iterator[ScalarRecorder]:
    """A recorder of loss, saturated fraction and update ratio at every `every`-th step.

        with record_scalars(model) as scalars:
            fit(model, split, steps, generator=generator, on_step=scalars.on_step)

    With `log_dir` the same numbers go to TensorBoard's event files in that folder. The model's
    hooks are what they were before, and the file is closed, whatever happens inside.

    Raises ModuleNotFoundError when `log_dir` is given and tensorboard is not installed,
    ValueError when `every` is below 1 or the model has no module of these kinds.
    """
    if every < 1:
        raise ValueError(f"record_scalars: every={every} must be >= 1")
    chosen = modules_of_kinds(model, kinds, "record_scalars")
    with ExitStack() as undo:
        writer = None
        if log_dir is not None:
            writer = _summary_writer()(log_dir)
            undo.callback(writer.close)
        recorder = ScalarRecorder(model, every, writer)
        for name, module in chosen.items():
            undo.callback(recorder.watch(name, module).remove)
        yield recorder


def _summary_writer() -> type:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ModuleNotFoundError(
            "log_dir needs the package tensorboard, which the course does not install: run "
            "'pip install tensorboard', or leave log_dir out"
        ) from None
    return SummaryWriter


def _std(tensor: torch.Tensor) -> float:
    """torch.std, from the norm and the sum: half its time on a small tensor.

    Where the two would cancel, torch.std itself is asked.
    """
    count = tensor.numel()
    squares = torch.linalg.vector_norm(tensor).item() ** 2
    explained = tensor.sum().item() ** 2 / count  # by the mean
    if count > 1 and explained < 0.9 * squares < math.inf:
        return math.sqrt((squares - explained) / (count - 1))
    return tensor.std().item()
