"""What every lesson starts with."""

import platform

import matplotlib
import torch
from IPython import get_ipython

from helpers import plotting


def start() -> None:
    """One thread, the course's plot style, and a line of versions to quote in a question.

    From here on a name that is missing comes with advice, for whoever skipped a cell.

    At this model's size a second thread costs more than it brings, and one thread keeps the
    printed numbers the same from machine to machine.
    """
    torch.set_num_threads(1)
    plotting.use_style()
    if shell := get_ipython():
        shell.set_custom_exc((NameError,), _advise)
    torch_version = torch.__version__.split("+")[0]
    print(
        f"Unit Gaussian on Python {platform.python_version()}, torch {torch_version}, "
        f"matplotlib {matplotlib.__version__}, {torch.get_num_threads()} thread"
    )


def _advise(shell, kind, error, traceback, tb_offset=None) -> None:
    """Shows a NameError with what to do about it."""
    if kind is NameError:  # not its subclass: a local variable is no other cell's
        error.args = (
            f"{error}. If a cell above makes it, run that cell first "
            "(in JupyterLab: Run > Run All Above Selected Cell).",
        )
    shell.showtraceback((kind, error, traceback), tb_offset=tb_offset)
