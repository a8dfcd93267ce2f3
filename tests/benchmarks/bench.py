"""How fast training is, beside the lecture's loop: a table, build/bench.json, build/bench.png.

Every case runs in this process, for a chunk of steps at a time and in turns with all others, so
that what else the machine does slows all alike. Microseconds are per replica and step; the
median over chunks is reported, and the 95th percentile. Ratios travel between machines,
microseconds don't.

To measure something else, add a function to SUITES that returns its cases.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib
import torch
from torch.nn import functional as F

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from helpers import data, layers, plotting, sweeps, training  # noqa: E402
from helpers.backpropagation import Stack  # noqa: E402
from tests.benchmarks import sliders  # noqa: E402

LECTURE = "lecture_loop"
BATCH_SIZE = 32
ROUNDS = 9
CHUNK_SECONDS = 0.1
REPLICAS_OF_GROWTH = 8
GROWTH = {
    "width": (50, 100, 200, 400, 800),
    "depth": (1, 2, 5, 10, 20),
    "batch": (8, 32, 128, 512),
    "corpus": (1, 2, 4, 8),
}
GROWTH_LABELS = {
    "width": "hidden width",
    "depth": "hidden layers",
    "batch": "batch size",
    "corpus": "corpus size (x world)",
}


@dataclass(frozen=True)
class Case:
    """Something to time: `build()` gives run(steps), whose steps count for `replicas` each."""

    name: str
    build: Callable[[], Callable[[int], object]]
    replicas: int = 1
    threads: int = 1


def lecture_loop(train: data.Split) -> Callable[[int], None]:
    """The lecture's loop with batchnorm, as it stands there."""
    Xtr, Ytr = train.contexts, train.targets
    g = torch.Generator().manual_seed(2147483647)
    n_embd, n_hidden, vocab_size = 10, 200, 27
    C = torch.randn((vocab_size, n_embd), generator=g)
    W1 = torch.randn((n_embd * 3, n_hidden), generator=g) * (5 / 3) / ((n_embd * 3) ** 0.5)
    W2 = torch.randn((n_hidden, vocab_size), generator=g) * 0.01
    b2 = torch.randn(vocab_size, generator=g) * 0
    bngain = torch.ones((1, n_hidden))
    bnbias = torch.zeros((1, n_hidden))
    bnmean_running = torch.zeros((1, n_hidden))
    bnstd_running = torch.ones((1, n_hidden))
    parameters = [C, W1, W2, b2, bngain, bnbias]
    for p in parameters:
        p.requires_grad = True
    lossi = []

    def run(steps: int) -> None:
        nonlocal bnmean_running, bnstd_running
        for i in range(steps):
            # minibatch construct
            ix = torch.randint(0, Xtr.shape[0], (BATCH_SIZE,), generator=g)
            Xb, Yb = Xtr[ix], Ytr[ix]
            # forward pass
            emb = C[Xb]
            embcat = emb.view(emb.shape[0], -1)
            hpreact = embcat @ W1
            bnmeani = hpreact.mean(0, keepdim=True)
            bnstdi = hpreact.std(0, keepdim=True)
            hpreact = bngain * (hpreact - bnmeani) / bnstdi + bnbias
            with torch.no_grad():
                bnmean_running = 0.999 * bnmean_running + 0.001 * bnmeani
                bnstd_running = 0.999 * bnstd_running + 0.001 * bnstdi
            h = torch.tanh(hpreact)
            logits = h @ W2 + b2
            loss = F.cross_entropy(logits, Yb)
            # backward pass
            for p in parameters:
                p.grad = None
            loss.backward()
            # update
            lr = 0.1 if i < 100000 else 0.01
            for p in parameters:
                p.data += -lr * p.grad
            lossi.append(loss.log10().item())

    return run


def fit(train: data.Split) -> Callable[[int], object]:
    """`training.fit` on the same net."""
    generator = torch.Generator().manual_seed(1)
    model = layers.name_mlp(27, generator=generator, **layers.SCHEMES["batchnorm"])
    return lambda steps: training.fit(model, train, steps, generator=generator, progress=False)


def explicit(
    train: data.Split, replicas: int, batch_size: int = BATCH_SIZE, **settings
) -> Callable[[int], None]:
    """What `sweeps.train_replicas` does per chunk of steps, draws and losses included."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(replicas)]
    settings = layers.SCHEMES["batchnorm"] | settings
    models = [layers.name_mlp(27, generator=generator, **settings) for generator in generators]
    stack = Stack(models, batch_size)

    def run(steps: int) -> None:
        for first in range(0, steps, sweeps.STEPS_PER_CHUNK):
            count = min(sweeps.STEPS_PER_CHUNK, steps - first)
            size = (count, batch_size)
            draws = [torch.randint(len(train), size, generator=g) for g in generators]
            rates = torch.tensor([[0.1] * replicas for _ in range(count)])
            losses = torch.empty(count, replicas)
            stack.take_steps(train, torch.stack(draws, 1), rates, losses)

    return run


def single_runs(train: data.Split) -> Iterator[Case]:
    """One net at a time: by the lecture's loop, by `fit`, and by explicit gradients."""
    yield Case(LECTURE, partial(lecture_loop, train))
    yield Case("fit", partial(fit, train))
    yield Case("explicit_r1", partial(explicit, train, 1))


def many_replicas(train: data.Split) -> Iterator[Case]:
    """Many nets at once, on one thread and on two."""
    for replicas in (4, 8, 16, 32, 64):
        for threads in (1, 2):
            name = f"replicas_r{replicas}_t{threads}"
            yield Case(name, partial(explicit, train, replicas), replicas, threads)


def growth(train: data.Split) -> Iterator[Case]:
    """How the cost grows, from the lecture's net, in one direction at a time."""
    count = REPLICAS_OF_GROWTH
    for width in GROWTH["width"]:
        yield Case(f"width_{width}", partial(explicit, train, count, hidden_size=width), count)
    for depth in GROWTH["depth"]:
        yield Case(f"depth_{depth}", partial(explicit, train, count, depth=depth), count)
    for batch in GROWTH["batch"]:
        yield Case(f"batch_{batch}", partial(explicit, train, count, batch), count)
    for times in GROWTH["corpus"]:
        longer = data.Split(train.contexts.repeat(times, 1), train.targets.repeat(times))
        yield Case(f"corpus_{times}", partial(explicit, longer, count), count)


SUITES = [single_runs, many_replicas, growth]


def measure(cases: list[Case], rounds: int, seconds: float) -> list[dict]:
    """One row for each case: name, us, us_p95, speedup_vs_lecture. Takes the cases in turns."""
    threads_before = torch.get_num_threads()
    runs = {case.name: case.build() for case in cases}
    steps = dict.fromkeys(runs, 20)
    microseconds: dict[str, list[float]] = {case.name: [] for case in cases}
    try:
        for number in range(rounds + 1):
            for case in cases:
                torch.set_num_threads(case.threads)
                count = steps[case.name]
                start = time.perf_counter()
                runs[case.name](count)
                elapsed = time.perf_counter() - start
                if number == 0:  # to warm up, and to see how many steps fill a chunk
                    steps[case.name] = max(10, round(count * seconds / elapsed))
                else:
                    microseconds[case.name].append(1e6 * elapsed / count / case.replicas)
    finally:
        torch.set_num_threads(threads_before)
    medians = {name: statistics.median(values) for name, values in microseconds.items()}
    return [
        {
            "name": name,
            "us": round(medians[name], 2),
            "us_p95": round(torch.tensor(values).quantile(0.95).item(), 2),
            "speedup_vs_lecture": round(medians[LECTURE] / medians[name], 3),
        }
        for name, values in microseconds.items()
    ]


def draw_growth(rows: list[dict], path: Path) -> None:
    """Writes a picture, one panel for each direction in which the net was grown."""
    matplotlib.use("Agg")
    plotting.use_style()
    figure, panels = matplotlib.pyplot.subplots(1, len(GROWTH), figsize=(12, 3.2), sharey=True)
    cost = {row["name"]: row["us"] for row in rows}
    for ax, (kind, sizes) in zip(panels, GROWTH.items(), strict=True):
        sizes = [size for size in sizes if f"{kind}_{size}" in cost]
        values = [cost[f"{kind}_{size}"] for size in sizes]
        ax.loglog(sizes, values, "o-", color=plotting.BLUE)
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.set_xlabel(GROWTH_LABELS[kind])
        ax.minorticks_off()
        if values:
            ax.set_title(f"x{sizes[-1] / sizes[0]:g} costs x{values[-1] / values[0]:.1f}")
    panels[0].set_ylabel(f"µs per replica-step, R = {REPLICAS_OF_GROWTH}")
    figure.savefig(path)
    matplotlib.pyplot.close(figure)


def machine() -> str:
    """The processor, its cores, and the version of torch."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, torch {torch.__version__}"


def commit() -> str:
    """The commit that was measured, with "+" where files have changed since; or "unknown"."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return run.stdout.strip() or "unknown"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short chunks: a smoke run")
    parser.add_argument("--only", default="", metavar="PREFIX", help="cases whose names start so")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="folder for the results")
    options = parser.parse_args(arguments)

    train = data.build_splits(data.load_names("world")).train
    cases = [
        case
        for suite in SUITES
        for case in suite(train)
        if case.name == LECTURE or case.name.startswith(options.only)
    ]
    # On a busy machine, who has just used two cores is given less of one.
    cases.sort(key=lambda case: case.threads)
    busy = os.getloadavg()[0]
    rows = measure(cases, *((3, 0.005) if options.quick else (ROUNDS, CHUNK_SECONDS)))
    if "slider".startswith(options.only) or options.only.startswith("slider"):
        rows += [{**row, "speedup_vs_lecture": None} for row in sliders.rows(options.quick)]

    print(f"{machine()}; load {busy:.1f} before the start\n")
    print(f"{'µs per replica-step or event':25}{'median':>10}{'p95':>10}{'x lecture':>11}")
    for row in rows:
        speedup = row["speedup_vs_lecture"]
        ratio = "" if speedup is None else f"{speedup:.2f}"
        print(f"{row['name']:25}{row['us']:13.1f}{row['us_p95']:10.1f}{ratio:>11}")
    options.out.mkdir(parents=True, exist_ok=True)
    record = {"machine": machine(), "commit": commit(), "rows": rows}
    (options.out / "bench.json").write_text(json.dumps(record, indent=1) + "\n")
    draw_growth(rows, options.out / "bench.png")


if __name__ == "__main__":
    main()
