"""grade.py on a class of broken submissions: each gets the points it earned, and a reason."""

import csv
import json
import shutil
from pathlib import Path

import nbformat
import pytest

from notebooks import build, grade

COURSE = Path(build.__file__).parents[1]
LESSON = "01_naive_training"
FULL = {
    "uniform-loss": "1",
    "cross-entropy": "2",
    "saturated-fraction": "1",
    "tanh-backward": "1",
    "dead-units": "1",
}


def submission(**edits):
    """The solved lesson as a dictionary, with the source of some cells edited.

    An edit is named after the cell's grade_id; None takes the cell out.
    """
    pair = build.build(COURSE / "notebooks" / "src" / f"{LESSON}.py")
    notebook = json.loads(nbformat.writes(pair.solved))
    edits = {name.replace("_", "-"): edit for name, edit in edits.items()}
    notebook["cells"] = [
        cell for cell in notebook["cells"] if edits.get(cell["id"], "") is not None
    ]
    for cell in notebook["cells"]:
        if cell["id"] in edits:
            cell["source"] = edits[cell["id"]]
    return notebook


def without_metadata(notebook):
    for cell in notebook["cells"]:
        cell["metadata"] = {}
    return notebook


def twice(notebook):
    notebook["cells"] += [cell for cell in notebook["cells"] if cell["id"] == "uniform-loss"]
    return notebook


def with_a_cell(source, notebook):
    notebook["cells"].insert(0, {"cell_type": "code", "source": source})
    return notebook


def untouched():
    pair = build.build(COURSE / "notebooks" / "src" / f"{LESSON}.py")
    return json.loads(nbformat.writes(pair.learner))


OWN_FUNCTION = "def my_log(x):\n    return math.log(x)\n\nprint(1 / 0)"
# By student: what was handed in, the exercises that score nothing, what the table says of it.
CLASS = {
    "solved": (submission(), [], ""),
    "untouched": (untouched(), list(FULL), "uniform-loss: not attempted yet"),
    "broken-json": ("{", list(FULL), "not a notebook: JSONDecodeError"),
    "empty-file": ("", list(FULL), "not a notebook"),
    "other-json": ("[1, 2]", list(FULL), "not a notebook"),
    "deleted-cell": (submission(dead_units=None), ["dead-units"], "dead-units: its cell is gone"),
    "no-cells": ({"cells": []}, list(FULL), "cross-entropy: its cell is gone"),
    "renamed-function": (
        submission(tanh_backward="def tanh_back(h, grad_h):\n    return (1 - h**2) * grad_h"),
        ["tanh-backward"],
        "tanh-backward: no function is called tanh_backward",
    ),
    "syntax-error": (
        submission(uniform_loss="def uniform_loss(vocab_size)\n    return 1"),
        ["uniform-loss"],
        "uniform-loss: SyntaxError: expected ':'",
    ),
    "endless-cell": (
        submission(uniform_loss="while True:\n    pass"),
        ["uniform-loss"],
        "uniform-loss: it was still running after 20 seconds",
    ),
    "dies": (
        submission(uniform_loss="import os\nos._exit(0)"),
        ["uniform-loss"],
        "uniform-loss: it ended the Python process",
    ),
    "exits": (submission(uniform_loss="exit()"), ["uniform-loss"], "uniform-loss: SystemExit"),
    "mistaken": (
        submission(dead_units="def dead_units(activations):\n    return activations.all(0)"),
        ["dead-units"],
        "dead-units: wrong value on",
    ),
    "no-metadata": (without_metadata(submission()), [], "metadata is gone, found by the function"),
    "copied-cell": (twice(submission()), [], "uniform-loss: its cell is there twice"),
    "magic": (with_a_cell("%timeit 1\n!ls", submission()), [], ""),
    "own-function": (
        with_a_cell(
            OWN_FUNCTION,
            submission(uniform_loss="def uniform_loss(n):\n    return my_log(n)"),
        ),
        [],
        "",
    ),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """By student: the row of the table, as a dictionary."""
    folder = tmp_path_factory.mktemp("submissions")
    for student, (notebook, *_) in CLASS.items():
        (folder / student).mkdir()
        text = notebook if isinstance(notebook, str) else json.dumps(notebook)
        (folder / student / f"{LESSON}.ipynb").write_text(text)
    (folder / "misnamed").mkdir()
    (folder / "misnamed" / "homework.ipynb").write_text(json.dumps(submission()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grade, "TIME_LIMIT", 20.0)
        grade.main([str(folder), "--jobs", "2"])
    assert not (folder / "grades.csv.partial").exists()
    with (folder / "grades.csv").open(newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("student", CLASS)
def test_a_submission_gets_the_points_it_earned_and_a_reason_for_the_others(rows, student):
    _, lost, reason = CLASS[student]
    row = rows[student]
    expected = FULL | dict.fromkeys(lost, "0")
    assert {key: row[key] for key in FULL} == expected
    assert row["total"] == str(sum(map(int, expected.values())))
    assert reason in row["problem"]
    assert bool(reason) == bool(row["problem"])


def test_a_notebook_with_another_name_is_said_to_be_no_lesson(rows):
    assert "no lesson has this name; there are 01_naive_training" in rows["misnamed"]["problem"]
    assert rows["misnamed"]["total"] == "0"


def test_the_solutions_of_every_lesson_get_all_points(tmp_path):
    (tmp_path / "teacher").mkdir()
    solutions = sorted((COURSE / "notebooks" / "solutions").glob("*.ipynb"))
    for solved in solutions:
        shutil.copy(solved, tmp_path / "teacher")
    grade.main([str(tmp_path)])
    with (tmp_path / "grades.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["lesson"] for row in rows] == [path.stem for path in solutions]
    for solved, row in zip(solutions, rows, strict=True):
        exercises, _ = grade.read_lesson(solved)
        assert (row["problem"], int(row["total"])) == ("", sum(e.points for e in exercises))


def test_a_folder_without_submissions_is_an_error(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        grade.main([str(tmp_path)])
    assert "there is no" in capsys.readouterr().err


def test_a_fault_in_the_grading_costs_one_row(tmp_path, monkeypatch):
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / f"{LESSON}.ipynb").write_text("{}")

    def fail(*_):
        raise RuntimeError("ours")

    monkeypatch.setattr(grade, "grade", fail)
    grade.main([str(tmp_path)])
    assert "not graded: RuntimeError('ours')" in (tmp_path / "grades.csv").read_text()
