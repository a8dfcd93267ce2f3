"""Build each lesson's two notebooks from its source: python notebooks/build.py [NAME ...]

`src/NN_topic.py` (jupytext's percent format, solutions inside) becomes `solutions/NN_topic.ipynb`
and, released the way nbgrader releases an assignment, `NN_topic.ipynb`. Both are executed, and
nothing is written unless both ran to their end.
"""

import argparse
import copy
import os
import re
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbformat import NotebookNode
from nbgrader.converters import GenerateAssignment
from nbgrader.nbgraderformat import MetadataValidator, SchemaTooOldError, ValidationError
from nbgrader.preprocessors import SaveCells

REPOSITORY = "unit-gaussian/unit-gaussian"
RELEASE = "v1.0"

BOOTSTRAP = f"""\
# @title Set-up: find the course and its helpers
import os
import subprocess
import sys
from pathlib import Path

cache = Path.home() / ".cache/unit-gaussian/{RELEASE}"
here = Path.cwd()
markers = [Path(f, "helpers/__init__.py") for f in (here, *here.parents, *sys.path, cache)]
ours = [m for m in markers if m.is_file() and "Unit Gaussian" in m.read_text("utf-8", "ignore")]
course = ours[0].parent.parent if ours else None
if course is None and "google.colab" in sys.modules:  # fetch it once
    clone = Path(f"{{cache}}-{{os.getpid()}}")
    command = "git clone --depth 1 --branch {RELEASE} https://github.com/{REPOSITORY}"
    if subprocess.run([*command.split(), clone], capture_output=True).returncode == 0:
        course = cache if cache.exists() else clone.rename(cache)
if course is None:
    raise RuntimeError("Open this notebook inside the course's folder, or in Colab with a network.")
if str(course / "helpers") not in getattr(sys.modules.get("helpers"), "__path__", []):
    for name in [name for name in sys.modules if name.split(".")[0] == "helpers"]:
        del sys.modules[name]  # another package of that name
sys.path.insert(0, str(course))
from helpers import lesson

lesson.start()"""
# The source holds the same text, because JupyterLab opens the solved notebook with its cells.
BOOTSTRAP_CELL = f'# %% tags=["bootstrap", "nbval-ignore-output"]\n{BOOTSTRAP}\n\n'

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
METADATA = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
PAIRING = {
    "formats": "solutions//ipynb,src//py:percent",
    "notebook_metadata_filter": "-all",
    "cell_metadata_filter": "tags,nbgrader,-all",
}
MOST_LINES, MOST_WORDS = 30, 160
CELL_TIMEOUT = 300  # seconds
# tqdm draws no bar before this many seconds, so that none is committed half-drawn.
NO_PROGRESS_BARS = {"TQDM_DELAY": "86400"}

Pair = namedtuple("Pair", ["learner", "solved"])


class BuildError(Exception):
    """A source that cannot be built, or a lesson that does not run; the message says where."""


def build(source: Path) -> Pair:
    """The learner's and the solved notebook of one lesson, not executed."""
    cells = jupytext.reads(with_bootstrap(source.read_text("utf-8")), fmt="py:percent").cells
    if found := list(problems(source.name, cells)):
        raise BuildError("\n".join(f"{source.name}, {problem}" for problem in found))
    for place, cell in enumerate(cells, 1):
        cell.metadata = {key: cell.metadata[key] for key in {"tags", "nbgrader"} & {*cell.metadata}}
        if "bootstrap" in cell.metadata.get("tags", []):  # folded in Colab and in JupyterLab
            cell.metadata.update(cellView="form", jupyter={"source_hidden": True})
        cell.id = cell.metadata.get("nbgrader", {}).get("grade_id", f"{source.name[:2]}-{place:03}")
    solved = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    learner = copy.deepcopy(solved)
    for preprocessor in GenerateAssignment().preprocessors:
        if preprocessor is not SaveCells:  # the one that needs the teacher's database
            learner, _ = preprocessor().preprocess(learner, {})
    solved.metadata.jupytext = PAIRING
    return Pair(learner, solved)


def with_bootstrap(text: str) -> str:
    """The source with today's bootstrap cell in place of the one it has."""
    return re.sub(r'(?ms)^# %%[^\n]*"bootstrap".*?(?=^# %%|\Z)', lambda old: BOOTSTRAP_CELL, text)


def problems(name: str, cells: list[NotebookNode]) -> Iterator[str]:
    """What keeps a source from being built: one sentence each, with the cell and the cure."""
    if not re.fullmatch(r"\d\d_[a-z0-9_]+\.py", name):
        yield "the file itself: call it NN_topic.py, such as 01_naive_training.py"
    seen = set()
    for place, (cell, following) in enumerate(zip(cells, [*cells[1:], None], strict=True), 1):
        labels = {"bootstrap", "parameters"} & {*cell.metadata.get("tags", [])}
        labels |= {*filter(None, [cell.metadata.get("nbgrader", {}).get("grade_id")])}
        for label in labels & seen:
            yield f"cell {place} is the second {label}; a lesson has each tag and grade_id once"
        seen |= labels
        for problem in _cell_problems(cell, following):
            yield f"cell {place} {problem}"
    for tag in ("bootstrap", "parameters"):
        if tag not in seen:
            yield f'the file itself: no cell is tagged {tag}; head one with # %% tags=["{tag}"]'


def _cell_problems(cell: NotebookNode, following: NotebookNode | None) -> Iterator[str]:
    code = cell.cell_type == "code"
    size = len(cell.source.splitlines() if code else cell.source.split())
    if size > (MOST_LINES if code else MOST_WORDS):
        yield f"has {size} {'lines; split it' if code else 'words; cut or split it'}"
    if re.search(r"\binteract\(|\bOutput\(", cell.source):
        yield "uses interact or widgets.Output; show a panel from helpers.widgets"
    try:
        MetadataValidator().validate_cell(cell)
    except (ValidationError, SchemaTooOldError) as error:
        yield f"has metadata that nbgrader refuses: {error.args[0]}"
    exercise = cell.metadata.get("nbgrader", {})
    markers = re.findall(r"### (BEGIN|END) SOLUTION", cell.source)
    if markers != ["BEGIN", "END"] * (len(markers) // 2):
        yield "needs ### BEGIN SOLUTION and ### END SOLUTION in pairs, in this order"
    if markers and not exercise.get("solution"):
        yield "has solution markers; give it nbgrader's solution metadata or take them out"
    if exercise.get("solution"):
        if not markers:
            yield "would be blanked whole; put ### BEGIN SOLUTION, ### END SOLUTION in its body"
        if not (following and following.metadata.get("nbgrader", {}).get("grade")):
            yield "is a solution; put its check cell right after it"
    if exercise.get("grade") and not re.fullmatch(r"checks\..+\)", cell.source):
        yield "is a check; make it one line, checks.some_check(some_function)"


def execute(notebook: NotebookNode, path: Path) -> NotebookNode:
    """The notebook run in the folder it will lie in, with outputs that are fit to commit."""
    executed, started = copy.deepcopy(notebook), [0]
    client = NotebookClient(
        executed,
        timeout=CELL_TIMEOUT,
        extra_arguments=["--log-level=CRITICAL"],  # the kernel's log is not the lesson's
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=lambda cell, cell_index: started.append(cell_index + 1),
        record_timing=False,
        coalesce_streams=True,
    )
    # Under NBGRADER_EXECUTION an untouched exercise is an error; here it is part of the story.
    environment = {key: os.environ[key] for key in os.environ.keys() - {"NBGRADER_EXECUTION"}}
    try:
        client.execute(env=environment | NO_PROGRESS_BARS)
    except (CellControlSignal, DeadKernelError) as error:
        raise BuildError(f"{path}, cell {started[-1]}: {error}") from None
    executed.metadata = notebook.metadata  # without the kernel's version numbers
    for output in (output for cell in executed.cells for output in cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            output.data.pop("application/vnd.jupyter.widget-view+json", None)  # dead without kernel
    return executed


def build_files(source: Path) -> None:
    """Write the two notebooks, executed, above the source's folder; renew its bootstrap cell."""
    text = source.read_text("utf-8")
    if text != with_bootstrap(text):
        source.write_text(with_bootstrap(text), "utf-8")
    texts = {}
    for notebook, folder in zip(build(source), ("", "solutions"), strict=True):
        path = source.parent.parent / folder / f"{source.stem}.ipynb"
        path.parent.mkdir(exist_ok=True)
        print(f"running {path}", flush=True)
        texts[path] = nbformat.writes(execute(notebook, path)) + "\n"
    for path, text in texts.items():
        partial = path.with_suffix(".partial")
        partial.write_text(text, "utf-8")
        partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the lessons' notebooks from their sources.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 01_naive_training")
    names = parser.parse_args().names
    folder = Path(__file__).parent / "src"
    try:
        for source in [folder / f"{name}.py" for name in names] or sorted(folder.glob("*.py")):
            build_files(source)
    except (BuildError, FileNotFoundError) as error:
        raise SystemExit(error) from None


if __name__ == "__main__":
    main()
