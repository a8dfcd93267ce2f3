"""All code, the lessons' too, is written in what Python 3.10 to 3.13 understand."""

import ast
import json
import os
import subprocess
from pathlib import Path

import nbformat
import pytest

COURSE = Path(__file__).parents[1]
FOLDERS = ("helpers", "notebooks", "tests", "data")
COMPILE = """
import json, sys
for name, source in json.load(sys.stdin).items():
    compile(source, name, "exec")
"""


@pytest.fixture(scope="module")
def sources():
    """The text of each file and of each code cell."""
    paths = sorted(path for folder in FOLDERS for path in (COURSE / folder).rglob("*.py"))
    texts = {str(path.relative_to(COURSE)): path.read_text("utf-8") for path in paths}
    for lesson in sorted((COURSE / "notebooks").glob("**/[0-9][0-9]_*.ipynb")):
        for place, cell in enumerate(nbformat.read(lesson, as_version=4).cells, 1):
            if cell.cell_type == "code":
                texts[f"{lesson.relative_to(COURSE)}, cell {place}"] = cell.source
    return texts


def test_it_parses_as_python_3_10(sources):
    assert sources
    for name, source in sources.items():
        ast.parse(source, name, feature_version=(3, 10))


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_it_compiles_without_a_warning_under_python(sources, version):
    python = [f"python{version}", "-W", "error", "-c"]
    environment = os.environ | {"PYENV_VERSION": version}  # pyenv hides all but one otherwise
    try:
        subprocess.run([*python, ""], env=environment, capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip(f"there is no python{version}")
    result = subprocess.run(
        [*python, COMPILE],
        input=json.dumps(sources),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
