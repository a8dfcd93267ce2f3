"""Lessons as people run them: in any folder, twice, out of order, interrupted."""

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

from notebooks import build

COURSE = Path(build.__file__).parents[1]
LESSONS = sorted((COURSE / "notebooks").glob("[0-9][0-9]_*.ipynb"))
NET = """
import torch
from helpers import data, layers, training, widgets
splits = data.build_splits(data.load_names())
generator = torch.Generator().manual_seed(1)
net = layers.name_mlp(27, batchnorm=True, generator=generator)
"""


@pytest.fixture(scope="module")
def awkward(tmp_path_factory):
    """A course that can't be written to, in a folder with spaces and letters beyond ASCII."""
    course = tmp_path_factory.mktemp("place") / "Größen & Ableitungen ∂" / "the course"
    for part in ("helpers", "data", "notebooks"):
        ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(COURSE / part, course / part, ignore=ignore)
    folders = [course, *(path for path in course.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield course
    for folder in folders:
        folder.chmod(0o755)


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def texts(cells):
    """The text outputs of each cell that promises to print the same each time."""
    return [
        [output.get("text") or output.data.get("text/plain") for output in cell.outputs]
        for cell in cells
        if cell.cell_type == "code" and "nbval-ignore-output" not in cell.metadata.get("tags", [])
    ]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_run_all_twice_gives_the_same_outputs_from_a_folder_elsewhere(lesson, awkward, tmp_path):
    before = contents(awkward)
    notebook = nbformat.read(awkward / "notebooks" / lesson.name, as_version=4)
    expected = texts(notebook.cells)
    count = len(notebook.cells)
    notebook.cells += nbformat.from_dict(notebook.cells)
    client = NotebookClient(
        notebook,
        timeout=build.CELL_TIMEOUT,
        resources={"metadata": {"path": str(tmp_path)}},
        coalesce_streams=True,
    )
    client.execute(
        env=os.environ
        | build.NO_PROGRESS_BARS
        | {"PYTHONPATH": str(awkward), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(tmp_path)}
    )
    assert texts(notebook.cells[:count]) == expected
    assert texts(notebook.cells[count:]) == expected
    assert contents(awkward) == before


@pytest.fixture
def kernel(tmp_path):
    """A function that runs code in a kernel and returns what it printed and its error's text.

    The code is interrupted once it has printed what `interrupt_at` says.
    """
    manager, client = start_new_kernel(
        cwd=str(COURSE / "notebooks"), env={**os.environ, "HOME": str(tmp_path)}
    )

    def run(code, interrupt_at=None):
        printed = []

        def hear(message):
            printed.append(message["content"].get("text", ""))
            if interrupt_at and interrupt_at in printed[-1]:
                manager.interrupt_kernel()

        reply = client.execute_interactive(code, timeout=120, output_hook=hear)
        return "".join(printed), reply["content"].get("evalue", "")

    assert run(build.BOOTSTRAP)[1] == ""
    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_a_cell_run_too_early_says_what_to_do(kernel):
    _, error = kernel("print(splits)")
    assert error.startswith("name 'splits' is not defined. If a cell above makes it, run that")
    assert kernel("splits = 1; print(splits)") == ("1\n", "")


def test_a_local_variable_is_not_blamed_on_another_cell(kernel):
    _, error = kernel("def f():\n    x += 1\nf()")
    assert "x" in error
    assert "cell above" not in error


TRAIN = """
with widgets.live_view(net, 10**7) as live:
    def on_step(step):
        live.on_step(step)
        if step.number == 100:
            print("trained")
    history = training.fit(net, splits.train, 10**7, generator=generator, on_step=on_step)
"""


def test_training_that_is_interrupted_can_go_on(kernel):
    kernel(NET)
    printed, error = kernel(TRAIN, interrupt_at="trained")
    assert error == ""
    assert "interrupted after" in printed
    printed, error = kernel(
        "assert history.interrupted and len(history.losses) < 10**7\n"
        "more = training.fit(net, splits.train, 50, generator=generator, progress=False)\n"
        "print(len(more.losses), training.evaluate(net, splits.val) < 4)"
    )
    assert (printed, error) == ("50 True\n", "")
