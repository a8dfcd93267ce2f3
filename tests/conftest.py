"""Settings for every test."""

import torch

# As in the lessons: with two threads the processes of a parallel run wait for each other.
torch.set_num_threads(1)
