"""Which helper may import which, and that importing one does nothing else."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "helpers"
ALLOWED = {
    "data": set(),
    "layers": set(),
    "training": {"data", "layers"},
    "diagnostics": {"data", "layers", "training"},
    "backpropagation": {"data", "layers"},
    "sweeps": {"backpropagation", "data", "layers", "training"},
    "studies": {"data", "layers", "training"},
    "evidence": {"data", "studies", "sweeps"},
    "plotting": {"training", "diagnostics", "sweeps"},
    "widgets": {"plotting", "diagnostics", "layers", "data", "training"},
    "clinic": {"data", "diagnostics", "layers", "training"},
    "checks": {"clinic", "layers"},
    "lesson": {"plotting"},
}
FILES = sorted(path for path in HELPERS.rglob("*.py") if path != HELPERS / "__init__.py")
EVERY_FILE = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)

# Prints, for each module, what importing it changed beyond `sys.modules`.
WATCH_IMPORTS = """
import contextlib, importlib, io, json, os, random, sys, threading
import matplotlib.pyplot, numpy, torch

def state():
    return {
        "the working directory": os.getcwd(),
        "the environment": dict(os.environ),
        "the search path": list(sys.path),
        "threads running": threading.active_count(),
        "torch threads": torch.get_num_threads(),
        "torch's default type": str(torch.get_default_dtype()),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's random state": torch.get_rng_state().tolist(),
        "numpy's random state": str(numpy.random.get_state()),
        "python's random state": random.getstate(),
        "matplotlib's style": str(dict(matplotlib.rcParams)),
        "figures": matplotlib.pyplot.get_fignums(),
    }

changes = {}
for name in sys.argv[1:]:
    before, printed = state(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        importlib.import_module(name)
    after = state()
    changes[name] = [what for what in before if before[what] != after[what]]
    changes[name] += ["what is printed"] * bool(printed.getvalue())
print(json.dumps(changes))
"""


def module_name(path):
    """The dotted name of a file: helpers/checks/verdict.py gives helpers.checks.verdict."""
    parts = path.relative_to(HELPERS.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path):
    """The dotted name of everything a file imports, wherever in it: helpers.data.Split, ..."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module}.{alias.name}" for alias in node.names)


@EVERY_FILE
def test_a_helper_imports_only_the_helpers_below_it(path):
    owner = path.relative_to(HELPERS).with_suffix("").parts[0]
    inside = {name.split(".")[1] for name in imports(path) if name.startswith("helpers.")}
    assert owner in ALLOWED, f"{owner} has no row in the table of imports"
    assert inside - {owner} <= ALLOWED[owner]


@EVERY_FILE
def test_a_helper_imports_explicitly_and_never_a_notebook_or_a_test(path):
    for name in imports(path):
        assert not name.endswith(".*"), f"{name}: a star hides what is used"
        assert not name.startswith("."), f"{name}: write the whole name, helpers.…"
        assert name.split(".")[0] not in {"notebooks", "tests", "exercises"}


def test_plotting_takes_nothing_but_record_types_from_the_modules_that_measure():
    for path in FILES:
        if path.relative_to(HELPERS).with_suffix("").parts[0] == "plotting":
            for name in imports(path):
                if name.startswith("helpers.") and not name.startswith("helpers.plotting."):
                    assert name.split(".")[-1][0].isupper(), f"{path.name} imports {name}"


def test_importing_a_helper_changes_nothing_and_prints_nothing():
    names = [module_name(path) for path in FILES]
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", WATCH_IMPORTS, *names],
        cwd=HELPERS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {name: [] for name in names}
