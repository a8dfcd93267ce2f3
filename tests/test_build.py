"""build.py on a tiny course: what it makes, what it refuses, and the bootstrap cell it puts in."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupytext import TextFileContentsManager

from notebooks import build

EXERCISE = (
    '# %% nbgrader={"schema_version": 3, "solution": true, "grade": false, "locked": false, '
    '"task": false, "grade_id": "double"}'
)
CHECK = (
    '# %% nbgrader={"schema_version": 3, "solution": false, "grade": true, "locked": true, '
    '"task": false, "grade_id": "double-check", "points": 2}'
)
SOURCE = f'''\
# %% [markdown]
# # A tiny lesson

# %% tags=["bootstrap"]
# filled in by notebooks/build.py

# %% tags=["parameters"]
steps = 3

# %%
import os

from tqdm.auto import trange

from helpers import checks

for _ in trange(steps):
    pass
print("graded" if "NBGRADER_EXECUTION" in os.environ else "read")

{EXERCISE}
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


{CHECK}
checks.double(double)

# %%
from IPython.display import display

view = {{"model_id": "0", "version_major": 2, "version_minor": 0}}
bundle = {{"text/plain": "a panel", "image/png": "iVBORw0KGgo="}}
display({{**bundle, "application/vnd.jupyter.widget-view+json": view}}, raw=True)
'''
HELPERS = {
    "__init__.py": '"""Unit Gaussian: a tiny copy."""\n',
    "lesson.py": 'def start():\n    print("started")\n',
    "checks.py": "def double(function):\n    try:\n        assert function(2) == 4\n"
    '    except NotImplementedError:\n        print("not attempted yet")\n',
}


def make_course(folder: Path, text: str = SOURCE, name: str = "01_tiny.py") -> Path:
    """The path of a lesson's source in a course made of nothing else."""
    for file, content in HELPERS.items():
        (folder / "helpers").mkdir(parents=True, exist_ok=True)
        (folder / "helpers" / file).write_text(content)
    source = folder / "notebooks" / "src" / name
    source.parent.mkdir(parents=True)
    source.write_text(text)
    return source


def built_from(notebook):
    """The notebook as it reads back from disk."""
    return nbformat.reads(nbformat.writes(notebook), as_version=4)


BAD_SOURCES = {
    "a second parameters cell": (
        "# %%\nimport os",
        '# %% tags=["parameters"]\nimport os',
        "cell 4 is the second parameters",
    ),
    "no parameters cell": ('["parameters"]', '["other"]', "no cell is tagged parameters"),
    "no bootstrap cell": ('["bootstrap"]', '["other"]', "no cell is tagged bootstrap"),
    "a BEGIN without its END": (
        "    ### END SOLUTION\n",
        "",
        "cell 5 needs ### BEGIN SOLUTION and ### END SOLUTION in pairs",
    ),
    "a solution without markers": (
        "    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION\n",
        "    return 2 * x\n",
        "cell 5 would be blanked whole",
    ),
    "a solution outside an exercise": (EXERCISE, "# %%", "cell 5 has solution markers"),
    "a grade_id used twice": ('"double-check"', '"double"', "cell 6 is the second double"),
    "a solution without its check": (
        CHECK,
        f"# %%\n1\n\n{CHECK}",
        "cell 5 is a solution; put its check cell right after it",
    ),
    "a check of two lines": (
        "checks.double(double)",
        "checks.double(double)\nprint()",
        "cell 6 is a check; make it one line",
    ),
    "a check without points": (', "points": 2', "", "cell 6 has metadata that nbgrader refuses"),
    "an old nbgrader schema": ('"schema_version": 3', '"schema_version": 2', "Outdated schema"),
    "31 lines of code": ("import os\n", "import os\n" + "steps\n" * 31, "cell 4 has 40 lines"),
    "161 words of text": ("tiny lesson", "word " * 159, "cell 1 has 161 words"),
    "interact": ("import os\n", "interact(print)\n", "cell 4 uses interact or widgets.Output"),
    "an Output widget": ("import os\n", "widgets.Output()\n", "cell 4 uses interact or widgets"),
}


@pytest.mark.parametrize(("old", "new", "message"), BAD_SOURCES.values(), ids=BAD_SOURCES)
def test_a_bad_source_is_refused_with_its_file_cell_and_cure(tmp_path, old, new, message):
    assert old in SOURCE
    source = make_course(tmp_path, SOURCE.replace(old, new))
    with pytest.raises(build.BuildError, match=r"^01_tiny\.py, ") as refusal:
        build.build(source)
    assert message in str(refusal.value)


def test_a_file_not_called_after_its_number_and_topic_is_refused(tmp_path):
    with pytest.raises(build.BuildError, match=r"tiny\.py, the file itself: call it NN_topic\.py"):
        build.build(make_course(tmp_path, name="tiny.py"))


def test_all_problems_of_a_source_are_told_at_once(tmp_path):
    text = SOURCE.replace('["parameters"]', "[]").replace("import os\n", "interact(print)\n")
    with pytest.raises(build.BuildError) as refusal:
        build.build(make_course(tmp_path, text))
    assert len(str(refusal.value).splitlines()) == 2


def test_the_limits_themselves_are_allowed(tmp_path):
    text = SOURCE.replace("import os\n", "import os\n" + "steps\n" * 21)
    text = text.replace("tiny lesson", "word " * 158)
    cells = build.build(make_course(tmp_path, text)).solved.cells
    assert len(cells[3].source.splitlines()) == 30
    assert len(cells[0].source.split()) == 160


def test_the_learner_gets_a_stub_and_the_solved_notebook_the_solution(tmp_path):
    pair = build.build(make_course(tmp_path))
    stub, check = pair.learner.cells[4:6]
    assert stub.source == (
        'def double(x):\n    """Twice x."""\n    # YOUR CODE HERE\n    raise NotImplementedError()'
    )
    assert check.metadata.editable is False
    assert "return 2 * x" in pair.solved.cells[4].source


def test_the_learners_notebook_is_what_nbgrader_releases_of_the_solved_one(tmp_path):
    pair = build.build(make_course(tmp_path))
    assignment = tmp_path / "source" / "tiny" / "01_tiny.ipynb"
    assignment.parent.mkdir(parents=True)
    nbformat.write(pair.solved, assignment)
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", "tiny", "--create"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # nbgrader's alembic
    subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "PATH": path})
    released = nbformat.read(tmp_path / "release" / "tiny" / "01_tiny.ipynb", as_version=4)
    del released.metadata["jupytext"]
    assert released == built_from(pair.learner)


def test_cell_ids_are_the_grade_ids_or_the_places(tmp_path):
    pair = build.build(make_course(tmp_path))
    ids = ["01-001", "01-002", "01-003", "01-004", "double", "double-check", "01-007"]
    assert [cell.id for cell in pair.learner.cells] == ids
    assert [cell.id for cell in pair.solved.cells] == ids


def test_building_again_changes_nothing(tmp_path):
    source = make_course(tmp_path)
    first = build.build(source)
    source.write_text(build.with_bootstrap(SOURCE))
    second = build.build(source)
    assert [built_from(notebook) for notebook in first] == [built_from(n) for n in second]
    nbformat.validate(second.learner)


def test_both_notebooks_are_executed_and_fit_to_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    source = make_course(tmp_path)
    build.build_files(source)
    folder = source.parent.parent
    learner = nbformat.read(folder / "01_tiny.ipynb", as_version=4)
    solved = nbformat.read(folder / "solutions" / "01_tiny.ipynb", as_version=4)
    assert learner.cells[5].outputs[0].text == "not attempted yet\n"
    assert solved.cells[5].outputs == []
    for notebook in (learner, solved):
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == [1, 2, 3, 4, 5, 6]
        assert [output.text for output in code[2].outputs] == ["read\n"]  # and no progress bar
        assert set(code[5].outputs[0].data) == {"text/plain", "image/png"}
        assert notebook.metadata.language_info == {"name": "python"}
        assert set(notebook.metadata) <= {"kernelspec", "language_info", "jupytext"}
        assert not any("execution" in cell.metadata for cell in code)
    assert build.BOOTSTRAP in source.read_text()


def test_a_lesson_that_fails_names_its_cell_and_leaves_the_files_alone(tmp_path):
    source = make_course(tmp_path, SOURCE.replace("return 2 * x", "return 3 * x"))
    committed = [source.parent.parent / part / "01_tiny.ipynb" for part in ("", "solutions")]
    for path in committed:
        path.parent.mkdir(exist_ok=True)
        path.write_text("committed before")
    with pytest.raises(build.BuildError, match=r"(?s)solutions/01_tiny.ipynb, cell 6: .*Assertion"):
        build.build_files(source)
    assert [path.read_text() for path in committed] == ["committed before"] * 2


def test_an_unknown_lesson_is_named():
    command = [sys.executable, build.__file__, "99_nothing"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "99_nothing.py" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("root", [".", "notebooks"])
def test_jupyterlab_opens_the_solved_notebook_with_its_sources_cells(tmp_path, root):
    source = make_course(tmp_path)
    solved = tmp_path / "notebooks" / "solutions" / "01_tiny.ipynb"
    solved.parent.mkdir()
    nbformat.write(build.build(source).solved, solved)
    source.write_text(build.with_bootstrap(SOURCE).replace("steps = 3", "steps = 4"))
    long_ago = solved.stat().st_mtime - 3600  # as the source is after every build
    os.utime(source, (long_ago, long_ago))
    config = Path(build.__file__).with_name("jupytext.toml").read_text()
    (tmp_path / "notebooks" / "jupytext.toml").write_text(config)

    contents = TextFileContentsManager()
    contents.root_dir = str(tmp_path / root)
    path = solved.relative_to(tmp_path / root).as_posix()
    cells = contents.get(path)["content"].cells
    assert cells[1].source == build.BOOTSTRAP
    assert cells[2].source == "steps = 4"


def start(folder: Path, before: str = "", after: str = ""):
    """The finished process of a script in `folder` whose middle is the bootstrap cell."""
    script = f"{before}\n{build.BOOTSTRAP}\n{after}\nprint(lesson.__file__)"
    home = folder / "home"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=folder,
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
    )


def make_foreign_helpers(folder: Path) -> None:
    (folder / "helpers").mkdir(parents=True)
    (folder / "helpers" / "__init__.py").write_text('"""Somebody else\'s helpers."""\n')
    (folder / "helpers" / "lesson.py").write_text("raise SystemExit('not ours')\n")


def test_the_bootstrap_is_short_and_needs_only_the_standard_library():
    assert len(build.BOOTSTRAP.splitlines()) <= 25
    assert "pip" not in build.BOOTSTRAP
    modules = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(build.BOOTSTRAP))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert modules - {"helpers"} <= sys.stdlib_module_names


@pytest.mark.parametrize("place", [".", "notebooks", "notebooks/deep/down"])
def test_the_bootstrap_finds_the_course_from(tmp_path, place):
    make_course(tmp_path)
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    result = start(tmp_path / place)
    assert result.stdout == f"started\n{tmp_path}/helpers/lesson.py\n", result.stderr


def test_the_bootstrap_finds_the_course_on_pythons_path(tmp_path):
    make_course(tmp_path / "course")
    (tmp_path / "elsewhere").mkdir()
    script = f"{build.BOOTSTRAP}\nprint(lesson.__file__)"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path / "elsewhere",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "course")},
        capture_output=True,
        text=True,
    )
    assert result.stdout == f"started\n{tmp_path}/course/helpers/lesson.py\n", result.stderr


def test_the_bootstrap_is_not_misled_by_foreign_helpers(tmp_path):
    make_course(tmp_path)
    make_foreign_helpers(tmp_path / "notebooks")
    make_foreign_helpers(tmp_path / "notebooks" / "here")
    result = start(tmp_path / "notebooks" / "here", before="import helpers")
    assert result.stdout == f"started\n{tmp_path}/helpers/lesson.py\n", result.stderr


def test_the_bootstrap_run_again_keeps_the_modules_that_are_loaded(tmp_path):
    make_course(tmp_path)
    again = f"first = lesson\n{build.BOOTSTRAP}\nassert lesson is first"
    result = start(tmp_path, after=again)
    assert result.returncode == 0, result.stderr


def test_the_bootstrap_outside_the_course_says_in_one_sentence_what_to_do(tmp_path):
    result = start(tmp_path)
    last = result.stderr.splitlines()[-1]
    assert last.startswith("RuntimeError: Open this notebook inside the course's folder")
    assert not (tmp_path / "home").exists()
