"""What every lesson starts with."""

import platform

import matplotlib
import torch

from helpers import plotting


def start() -> None:
    """One thread, the course's plot style, and a line of versions to quote in a question.

    At this model's size a second thread costs more than it brings, and one thread keeps the
    printed numbers the same from machine to machine.
    """
    torch.set_num_threads(1)
    plotting.use_style()
    torch_version = torch.__version__.split("+")[0]
    print(
        f"Unit Gaussian on Python {platform.python_version()}, torch {torch_version}, "
        f"matplotlib {matplotlib.__version__}, {torch.get_num_threads()} thread"
    )
