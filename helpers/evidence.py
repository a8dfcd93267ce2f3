"""What the studies found: how it was made, how old it is, and how to make it again.

A study (helpers.studies) is a list of cells; a cell is one setting trained with several seeds.
Its results lie in `data/evidence/NAME-CORPUS.json`, made by `make evidence`, with the code version
that made them.
"""

import functools
import hashlib
import json
import math
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch

from helpers import data, sweeps
from helpers.studies import STUDIES, Cell, Measure

FOLDER = Path(__file__).parents[1] / "data" / "evidence"
CORPORA = ("world", "makemore")
CURVE_WIDTH = 250  # steps per point of a stored learning curve
LIVE_STEPS = 200_000  # replica-steps that a lesson may wait for: 10 to 20 seconds


@dataclass(frozen=True)
class Evidence:
    """The results of one study on one corpus: measurements by cell label."""

    name: str
    corpus: str
    made: str  # the day, ISO
    commit: str
    rows: dict[str, dict]

    def values(self, label: str, measurement: str = "val") -> torch.Tensor:
        """One measurement of one cell, a value per seed: (seeds,)."""
        return torch.tensor(self.rows[label][measurement])

    def curves(self, label: str) -> torch.Tensor:
        """Learning curves, means of CURVE_WIDTH steps: (seeds, points), nats."""
        return torch.tensor(self.rows[label]["curve"])


def load(name: str, corpus: str = "world") -> Evidence:
    """The recorded results of a study, and a printed line that says how old they are.

    On a corpus without a record, a study of at most LIVE_STEPS replica-steps is run now; a
    longer one falls back to the record on "world", and the line says so. Raises KeyError for
    a study that does not exist.
    """
    study = STUDIES[name]
    if record_path(name, corpus).exists():
        record = json.loads(record_path(name, corpus).read_text("utf-8"))
        note = f"made {record['made']} at {record['commit']}"
    elif study.seeds * sum(cell.steps for cell in study.cells) <= LIVE_STEPS:
        record = run(name, corpus)
        note = "run now"
    else:
        record = json.loads(record_path(name, "world").read_text("utf-8"))
        note = f"made {record['made']} at {record['commit']} (no record for {corpus!r})"
    print(f"study {name!r}: {study.seeds} seeds on {record['corpus']!r}, {note}")
    return Evidence(name, record["corpus"], record["made"], record["commit"], record["rows"])


def run(name: str, corpus: str, save: Path | None = None, progress: bool = True) -> dict:
    """The record of one study, made now.

    With `save`, the record is written there after every cell, and cells that a present record
    holds, made by the same code with the same settings, are kept: a killed run resumes.
    """
    study, splits = STUDIES[name], _splits(corpus)
    header = {
        "study": name,
        "question": study.question,
        "corpus": corpus,
        "made": date.today().isoformat(),
        "commit": _commit(),
        "code": code_digest(),
        "torch": torch.__version__.split("+")[0],
        "seeds": list(range(study.seeds)),
    }
    done = {}
    if save and save.exists():
        before = json.loads(save.read_text("utf-8"))
        if before["code"] == header["code"] and before["seeds"] == header["seeds"]:
            done = before["rows"]
    rows = {}
    for cell in study.cells:
        kept = done.get(cell.label)
        same = kept is not None and kept["cell"] == json.loads(json.dumps(asdict(cell)))
        rows[cell.label] = (
            kept if same else run_cell(cell, range(study.seeds), splits, study.measure, progress)
        )
        if save:
            save.parent.mkdir(parents=True, exist_ok=True)
            partial = save.with_suffix(".partial")
            partial.write_text(json.dumps({**header, "rows": rows}, indent=1) + "\n", "utf-8")
            partial.replace(save)
    return {**header, "rows": rows}


def run_cell(
    cell: Cell,
    seeds: Sequence[int],
    splits: data.Splits,
    measure: Measure | None,
    progress: bool = True,
) -> dict:
    """One row of a record: the cell, and a list over seeds for each measurement.

    "val" is the final validation loss, "curve" the minibatch losses averaged over CURVE_WIDTH
    steps (or over all, where there are fewer), "diverged" the step of divergence or None.
    """
    replicas = [sweeps.Replica(seed, cell.settings, cell.schedule()) for seed in seeds]
    sweep = sweeps.train_replicas(
        replicas,
        splits.train,
        cell.steps,
        validation=splits.val,
        batch_size=cell.batch_size,
        progress=progress,
    )
    width = min(CURVE_WIDTH, cell.steps)
    row = {
        "cell": asdict(cell),
        "val": _rounded(sweep.validation_losses),
        "curve": [_rounded(losses.view(-1, width).mean(1)) for losses in sweep.losses],
        "diverged": [None if end is None else end[0] for end in sweep.diverged],
    }
    if measure is not None:
        usable = [place for place, end in enumerate(sweep.diverged) if end is None]
        measured = {place: measure(sweep.model(place), splits, cell) for place in usable}
        for key in next(iter(measured.values()), {}):
            row[key] = _rounded(
                measured[place][key] if place in measured else math.nan
                for place in range(len(replicas))
            )
    return row


def record_path(name: str, corpus: str) -> Path:
    """Where the record of a study on a corpus lies."""
    return FOLDER / f"{name}-{corpus}.json"


def code_digest() -> str:
    """A short sha256 of the code whose change would change results."""
    folder = Path(__file__).parent
    files = [folder / "data.py", *sorted((folder / "layers").glob("*.py"))]
    files += [folder / name for name in ("studies.py", "backpropagation.py", "sweeps.py")]
    code = b"".join(path.read_bytes() for path in files)
    return hashlib.sha256(code).hexdigest()[:12]


def _rounded(values) -> list[float]:
    return [round(float(value), 5) for value in values]


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    folder = Path(__file__).parent
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "no git"


@functools.cache
def _splits(corpus: str) -> data.Splits:
    return data.build_splits(data.load_names(corpus))
