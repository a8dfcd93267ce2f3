"""The course in a class: nbgrader's round trip of a lesson, from its source to the points."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from notebooks import build

COURSE = Path(build.__file__).parents[1]
LESSON = "01_naive_training"
POINTS = {
    "uniform-loss-check": 1,
    "cross-entropy-check": 2,
    "saturated-fraction-check": 1,
    "tanh-backward-check": 1,
    "dead-units-check": 1,
}


def nbgrader(folder: Path, *arguments: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # nbgrader's alembic
    subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=folder,
        check=True,
        env={**os.environ, "PATH": path},
    )


def without_the_story(notebook):
    """The lesson's set-up, imports and exercises, which is all that the points depend on."""
    notebook.cells = [
        cell
        for cell in notebook.cells
        if "nbgrader" in cell.metadata
        or "bootstrap" in cell.metadata.get("tags", [])
        or cell.source.startswith("import math\n")
    ]
    return notebook


def answered(released, solved, old: str = "", new: str = ""):
    """What a student hands in who wrote the solutions, with `new` in place of `old`."""
    submission = copy.deepcopy(released)
    for cell, solution in zip(submission.cells, solved.cells, strict=True):
        cell.source = solution.source.replace(old, new) if old else solution.source
    return submission


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """By student: the points of each check, after nbgrader released the lesson and graded it."""
    folder = tmp_path_factory.mktemp("class")
    (folder / "helpers").symlink_to(COURSE / "helpers")  # where the bootstrap finds the course

    def write(notebook, *place):
        path = folder.joinpath(*place, "lesson", f"{LESSON}.ipynb")
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)

    solved = without_the_story(build.build(COURSE / "notebooks" / "src" / f"{LESSON}.py").solved)
    write(solved, "source")
    nbgrader(folder, "generate_assignment", "lesson", "--create")
    released = nbformat.read(folder / "release" / "lesson" / f"{LESSON}.ipynb", as_version=4)
    mistake = "(activations.abs() > 0.97).float().mean()", "(activations > 0.97).float().mean()"
    students = {
        "untouched": released,
        "solved": answered(released, solved),
        "mistaken": answered(released, solved, *mistake),
        "endless": answered(released, solved, "probability = 1", "while True: pass\n    p = 1"),
    }
    for student, submission in students.items():
        write(submission, "submitted", student)
    nbgrader(folder, "autograde", "lesson", "--create")
    with Gradebook(f"sqlite:///{folder}/gradebook.db") as gradebook:
        return {
            student: {
                grade.name: grade.score
                for notebook in gradebook.find_submission("lesson", student).notebooks
                for grade in notebook.grades
            }
            for student in students
        }


def test_an_untouched_lesson_scores_nothing(scores):
    assert scores["untouched"] == dict.fromkeys(POINTS, 0)


def test_a_solved_lesson_scores_all_points(scores):
    assert scores["solved"] == POINTS


def test_a_mistake_costs_the_points_of_its_exercise_and_no_others(scores):
    assert scores["mistaken"] == POINTS | {"saturated-fraction-check": 0}


def test_a_loop_that_never_ends_costs_the_points_of_its_exercise_and_no_others(scores):
    assert scores["endless"] == POINTS | {"uniform-loss-check": 0}
