"""The committed notebooks: built from their sources, run top to bottom, and fit to be read."""

import base64
from pathlib import Path

import nbformat
import pytest

from notebooks import build

NOTEBOOKS = Path(build.__file__).parent
SOURCES = sorted((NOTEBOOKS / "src").glob("*.py"))
LEARNERS = sorted(NOTEBOOKS.glob("*.ipynb"))
SOLVED = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))

each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
each_notebook = pytest.mark.parametrize(
    "path", LEARNERS + SOLVED, ids=lambda path: path.relative_to(NOTEBOOKS).as_posix()
)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def outputs(path: Path) -> list[nbformat.NotebookNode]:
    return [output for cell in code_cells(path) for output in cell.outputs]


def without_outputs(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook as `build` makes it: read back from JSON, not executed."""
    notebook = nbformat.reads(nbformat.writes(notebook), as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def test_every_notebook_has_a_source_and_every_source_both_notebooks():
    lessons = [path.stem for path in SOURCES]
    assert [path.stem for path in LEARNERS] == lessons
    assert [path.stem for path in SOLVED] == lessons


@each_source
@pytest.mark.parametrize("folder", ["", "solutions"])
def test_a_committed_notebook_is_what_its_source_builds(source, folder):
    pair = build.build(source)
    committed = nbformat.read(NOTEBOOKS / folder / f"{source.stem}.ipynb", as_version=4)
    built = without_outputs(pair.solved if folder else pair.learner)
    assert without_outputs(committed) == built, f"run: make build LESSONS={source.stem}"


@each_source
def test_a_source_holds_the_bootstrap_cell_that_is_built_into_its_notebooks(source):
    assert build.BOOTSTRAP in source.read_text("utf-8"), f"run: make build LESSONS={source.stem}"


@each_notebook
def test_a_notebook_was_run_once_from_top_to_bottom(path):
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))


@each_notebook
def test_a_notebook_shows_no_error_no_warning_and_no_progress_bar(path):
    for output in outputs(path):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text
        text = output.get("text", "") or output.data.get("text/plain", "")
        assert "%|" not in text
        assert "widget-view" not in " ".join(output.get("data", {})), "a widget without a picture"


@each_notebook
def test_a_notebook_and_its_pictures_are_small(path):
    assert path.stat().st_size <= 1_000_000
    pictures = [
        output.data["image/png"]
        for output in outputs(path)
        if "data" in output and "image/png" in output.data
    ]
    for number, picture in enumerate(pictures, 1):
        assert len(base64.b64decode(picture)) <= 60_000, f"picture {number} of {path.name}"


@each_notebook
def test_only_versions_and_timings_are_kept_from_comparison(path):
    for cell in code_cells(path):
        tags = set(cell.metadata.get("tags", []))
        assert "NBVAL" not in cell.source
        if {tag for tag in tags if tag.startswith("nbval") or tag == "raises-exception"}:
            assert tags in ({"bootstrap", "nbval-ignore-output"}, {"timing", "nbval-ignore-output"})
