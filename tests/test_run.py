"""run.py on tiny lessons: what it says of a lesson that fails, and what it refuses to start."""

from pathlib import Path

import nbformat
import pytest

from notebooks import run

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
GOOD = ["steps = 3  # how long to train\nname = 'world'", "print(steps, name)"]


@pytest.fixture
def lessons(tmp_path):
    """The folder of a good lesson and of one that fails in the third of its four cells."""
    write(tmp_path / "01_good.ipynb", GOOD)
    write(tmp_path / "02_bad.ipynb", [*GOOD, "half = 1\nhalf / 0", "print('after')"])
    return tmp_path


def write(path: Path, sources: list[str], first_tag: str = "parameters") -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata.tags = [first_tag]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    nbformat.write(notebook, path)


def printed(path: Path) -> str:
    """All that the notebook's cells printed."""
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    return "".join(output.get("text", "") for cell in cells for output in cell.outputs)


def test_a_failing_lesson_is_named_with_its_cell_and_the_others_still_run(lessons, capsys):
    write(lessons / "03_good.ipynb", GOOD)
    out = lessons / "out"
    assert run.main(["--out", str(out), "-p", "steps", "4"], lessons) == 1
    told = capsys.readouterr().out
    assert "02_bad ... FAILED" in told
    assert "cell 3: half = 1\n    ZeroDivisionError: division by zero" in told
    assert f"{out}/02_bad.ipynb" in told
    assert printed(out / "02_bad.ipynb") == "4 world\n"
    assert "03_good ... ok" in told
    assert printed(out / "03_good.ipynb") == "4 world\n"


def test_a_cell_that_takes_too_long_is_named(lessons, capsys):
    write(lessons / "02_bad.ipynb", [*GOOD, "import time\ntime.sleep(60)"])
    arguments = ["02_bad", "--out", str(lessons / "out"), "--cell-timeout", "3"]
    assert run.main(arguments, lessons) == 1
    assert "cell 3: import time\n    A cell timed out" in capsys.readouterr().out


def test_a_lesson_runs_in_its_own_folder_with_the_parameters_given(lessons):
    write(lessons / "01_good.ipynb", [*GOOD, "import os; print(os.getcwd())"])
    parameters = ["-p", "steps", "1e-3", "-p", "name", "a b"]
    assert run.main(["01_good", "--out", str(lessons / "out"), *parameters], lessons) == 0
    assert printed(lessons / "out" / "01_good.ipynb") == f"0.001 a b\n{lessons}\n"
    assert not (lessons / "out" / "02_bad.ipynb").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "stpes", "4"], "01_good has no parameter stpes; it has steps, name"),
        (["03_none"], "there is no 03_none; there are 01_good, 02_bad"),
    ],
)
def test_a_misspelt_word_is_an_error_before_anything_runs(lessons, capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        run.main([*arguments, "--out", str(lessons / "out")], lessons)
    assert message in capsys.readouterr().err
    assert not (lessons / "out").exists()


def test_a_lesson_without_a_parameters_cell_is_an_error_before_anything_runs(lessons, capsys):
    write(lessons / "03_untagged.ipynb", GOOD, first_tag="other")
    with pytest.raises(SystemExit, match="2"):
        run.main(["--out", str(lessons / "out")], lessons)
    assert "03_untagged has no cell tagged parameters" in capsys.readouterr().err
    assert not (lessons / "out").exists()


@pytest.mark.parametrize(
    ("text", "value"), [("10", 10), ("1e-3", 0.001), ("True", True), ("world", "world"), ("", "")]
)
def test_a_parameter_is_the_python_value_it_spells_or_else_text(text, value):
    assert run.value(text) == value
    assert type(run.value(text)) is type(value)
