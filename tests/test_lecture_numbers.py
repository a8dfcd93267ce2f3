"""The lecture's numbers that need no long training, on the lecture's corpus.

The losses are its own, to the digit it prints: Andrej Karpathy's "Building makemore part 3".
"""

import os
from pathlib import Path

import pytest
import torch

from helpers import data, layers, training

torch.set_num_threads(1)  # as lessons do; more only compete for the cores

SEED = 2147483647
BESIDE = Path(__file__).parents[2] / "shared" / "data" / "makemore_names.txt"
CORPUS = Path(os.environ.get("MAKEMORE_NAMES") or BESIDE)

pytestmark = pytest.mark.skipif(
    not CORPUS.is_file(),
    reason="needs the lecture's names.txt: set MAKEMORE_NAMES to a copy of it",
)


@pytest.fixture(scope="module")
def splits():
    return data.build_splits(data.load_names(CORPUS))


def first_loss(splits, unbiased_batchnorm=False, **scheme):
    """The first minibatch loss (nats) as the lecture prints it, in four decimals."""
    generator = torch.Generator().manual_seed(SEED)
    model = layers.name_mlp(27, generator=generator, **scheme)
    if unbiased_batchnorm:
        model.batchnorm1 = layers.BatchNorm1d(200, eps=0, momentum=0.001, unbiased=True)
    history = training.fit(model, splits.train, steps=1, generator=generator, progress=False)
    return f"{history.losses[0]:.4f}"


def test_the_splits_have_the_lectures_sizes(splits):
    assert splits.train.contexts.shape == (182_625, 3)
    assert splits.val.contexts.shape == (22_655, 3)
    assert splits.test.contexts.shape == (22_866, 3)


def test_the_first_examples_are_the_lectures(splits):
    first = splits.train.contexts[:5], splits.train.targets[:5]
    decoded = [
        (splits.vocabulary.decode(context), splits.vocabulary.decode([target]))
        for context, target in zip(*(part.tolist() for part in first), strict=True)
    ]
    assert decoded == [("...", "y"), ("..y", "u"), (".yu", "h"), ("yuh", "e"), ("uhe", "n")]


def test_the_naive_net_starts_at_the_lectures_loss(splits):
    assert first_loss(splits, **layers.SCHEMES["naive"]) == "27.8817"


def test_the_kaiming_net_starts_at_the_lectures_loss(splits):
    assert first_loss(splits, **layers.SCHEMES["kaiming"]) == "3.3179"


def test_the_batchnorm_net_starts_at_the_lectures_loss(splits):
    loss = first_loss(splits, unbiased_batchnorm=True, **layers.SCHEMES["batchnorm"])
    assert loss == "3.3239"
