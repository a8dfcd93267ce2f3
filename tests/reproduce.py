"""The lecture's published numbers beside ours: make reproduce [STEPS=20000].

On the lecture's corpus, with its seed, its draws and its schedule. With fewer than 200,000
steps only the minibatch losses up to there can be compared: the schedule is constant before
step 100,000. A row that does not round to the published digits is flagged.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers import data, layers, sweeps, training

SEED = 2147483647
LECTURE_STEPS = 200_000
DECAY_AT = 100_000
EVERY = 10_000

# Minibatch losses of the batchnorm run at every 10,000th step, and its final losses (nats).
MINIBATCH_LOSSES = [
    *(3.3239, 2.0322, 2.5675, 2.0125, 2.2446, 1.8897, 2.0785, 2.3681, 2.2918, 2.0238),
    *(2.3673, 2.3132, 1.6414, 1.9311, 2.2231, 2.0027, 2.0997, 2.4949, 2.0198, 2.1707),
]
BATCHNORM_FINALS = {
    "running statistics, train": 2.0674,
    "running statistics, val": 2.1057,
    "calibrated, train": 2.0678,
    "calibrated, val": 2.1056,
}
# The lecture's loss log, as printed: (train, val).
PLAIN_FINALS = {
    "naive": ("2.1245", "2.1682"),
    "output fixed": ("2.07", "2.13"),
    "both fixed": ("2.0356", "2.1027"),
    "kaiming": ("2.0377", "2.1070"),
}


class LectureBatchNorm(layers.BatchNorm1d):
    """Batchnorm as in the lecture: unbiased, no eps, and an average of stds, not variances.

    In training the operations come in the lecture's order: after 200,000 steps another order
    of the same sums shows in the fourth decimal.
    """

    def __init__(self, num_features: int):
        super().__init__(num_features, eps=0.0, momentum=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        mean, std = x.mean(0), x.std(0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.copy_(self.running_var.sqrt().lerp(std, self.momentum).square())
        return self.weight * (x - mean) / std + self.bias


class Comparison:
    """A printed table of published and our numbers, and how many rows differ."""

    def __init__(self):
        self.rows = self.different = 0

    def row(self, name: str, published: str, ours: float) -> None:
        digits = len(published.split(".")[1])
        same = f"{ours:.{digits}f}" == published
        self.rows += 1
        self.different += not same
        flag = "" if same else f"<- differs by {ours - float(published):+.6f}"
        print(f"  {name:<34} {published:>8} {ours:>10.{digits + 2}f}  {flag}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The lecture's numbers beside ours.")
    parser.add_argument("--steps", type=int, default=LECTURE_STEPS)
    steps = parser.parse_args().steps
    if not 1 <= steps <= LECTURE_STEPS:
        parser.error(f"--steps must be between 1 and {LECTURE_STEPS}, got {steps}")
    torch.set_num_threads(1)
    try:
        splits = data.build_splits(data.load_names("makemore"))
    except data.CorpusError as error:
        raise SystemExit(f"make reproduce needs the lecture's corpus. {error}") from None
    schedule = training.step_decay(0.1, 0.01, at=DECAY_AT)
    comparison = Comparison()
    finished = steps == LECTURE_STEPS

    print(f"batchnorm, {steps} steps\n  {'':<34} {'lecture':>8} {'ours':>10}")
    generator = torch.Generator().manual_seed(SEED)
    model = layers.name_mlp(27, generator=generator, **layers.SCHEMES["batchnorm"])
    model.batchnorm1 = LectureBatchNorm(200)
    history = training.fit(model, splits.train, steps, schedule, generator=generator)
    for step, published in zip(range(0, steps, EVERY), MINIBATCH_LOSSES, strict=False):
        comparison.row(f"minibatch at step {step}", f"{published:.4f}", history.losses[step].item())
    if finished:
        ours = {}
        for statistics in ("running statistics", "calibrated"):
            if statistics == "calibrated":
                layers.calibrate(model, splits.train.contexts)
            ours[f"{statistics}, train"] = training.evaluate(model, splits.train)
            ours[f"{statistics}, val"] = training.evaluate(model, splits.val)
        for name, published in BATCHNORM_FINALS.items():
            comparison.row(name, f"{published:.4f}", ours[name])

    if finished:
        print(f"\nwithout batchnorm, {steps} steps, all four at once")
        replicas = [sweeps.Replica(SEED, layers.SCHEMES[name], schedule) for name in PLAIN_FINALS]
        sweep = sweeps.train_replicas(replicas, splits.train, steps)
        for place, (name, published) in enumerate(PLAIN_FINALS.items()):
            for part, text in zip(("train", "val"), published, strict=True):
                loss = training.evaluate(sweep.model(place), getattr(splits, part))
                comparison.row(f"{name}, {part}", text, loss)
        print("\nThe naive net amplifies rounding: in another order of the same sums it ends")
        print("thousandths of a nat away.")
    same = comparison.rows - comparison.different
    print(f"\n{same} of {comparison.rows} numbers are equal to the printed digits")


if __name__ == "__main__":
    main()
