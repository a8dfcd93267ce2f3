"""The zips for a class, unzipped in an empty folder."""

import json
import os
import re
import subprocess
import sys
from zipfile import ZipFile

import pytest

from notebooks import handout

LESSONS = sorted((handout.COURSE / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture(scope="module", params=["handout", "solutions"])
def unzipped(request, tmp_path_factory):
    """The kind of zip, and the folder that is in it."""
    folder = tmp_path_factory.mktemp(request.param)
    solutions = ["--solutions"] if request.param == "solutions" else []
    handout.main([*solutions, "--out", str(folder / "course.zip")])
    with ZipFile(folder / "course.zip") as archive:
        archive.extractall(folder)
    (folder / "course.zip").unlink()
    assert {path.name for path in folder.iterdir()} == {"unit-gaussian", "course"}
    return request.param, folder / "unit-gaussian"


def code_cells(notebook):
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_it_holds_every_lesson_with_the_answers_only_in_the_solutions(unzipped):
    kind, course = unzipped
    notebooks = sorted((course / "notebooks").glob("*"))
    assert [path.name for path in notebooks] == [path.name for path in LESSONS]
    for path in notebooks:
        text = path.read_text("utf-8")
        assert ("BEGIN SOLUTION" in text) == (kind == "solutions")
        assert ("YOUR CODE HERE" in text) == (kind == "handout")
        assert '"output_type": "error"' not in text


def test_it_holds_nothing_of_the_teachers_or_the_makers(unzipped):
    _, course = unzipped
    expected = {"README.md", "LICENSE", "requirements.txt", "helpers", "data", "notebooks"}
    assert {path.name for path in course.iterdir()} == expected
    assert not [*course.rglob("__pycache__"), *course.rglob("*.pyc"), *course.rglob("build*")]


def run_first_cells(notebook, folder, home):
    """What the first cells of a notebook print, run in a folder with that home, without network."""
    cells = code_cells(notebook)[:4]  # set-up, imports, parameters, data
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    no_network = "import socket\nsocket.socket.connect = None"
    result = subprocess.run(
        [sys.executable, "-"],
        input="\n".join([no_network, *cells, "print(lesson.__file__)"]),
        cwd=folder,
        env={**environment, "HOME": str(home), "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Unit Gaussian on Python")
    return lines


def test_the_first_cells_of_a_lesson_run_where_it_was_unzipped(unzipped, tmp_path):
    _, course = unzipped
    notebook = course / "notebooks" / LESSONS[0].name
    lines = run_first_cells(notebook, course / "notebooks", tmp_path)
    assert lines[-1] == f"{course}/helpers/lesson.py"


def test_a_single_file_runs_in_an_empty_folder_twice(unzipped, tmp_path):
    _, course = unzipped
    home, empty = tmp_path / "home", tmp_path / "empty"
    empty.mkdir()
    notebook = course.parent / "course" / LESSONS[0].name
    first = run_first_cells(notebook, empty, home)
    assert first[-1].startswith(f"{home}/.cache/unit-gaussian/")
    assert run_first_cells(notebook, empty, home) == first
    assert not list(empty.iterdir())


def test_every_lesson_comes_as_a_single_file_too(unzipped):
    _, course = unzipped
    single = sorted((course.parent / "course").iterdir())
    assert [path.name for path in single] == [path.name for path in LESSONS]
    assert all(path.stat().st_size < 2_000_000 for path in single)


def test_its_readme_names_only_what_is_there(unzipped):
    _, course = unzipped
    text = (course / "README.md").read_text("utf-8")
    assert "{" not in text
    for name in re.findall(r"requirements\.txt|\bhelpers\b|\bdata\b|\bnotebooks$", text, re.M):
        assert (course / name).exists()


def test_the_same_files_give_the_same_zip(tmp_path):
    handout.pack(tmp_path / "first.zip")
    handout.pack(tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()
