"""A pretended Colab that fetches this project, and the versions that the real one ships."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

from notebooks import build

COURSE = Path(build.__file__).parents[1]
LESSONS = sorted((COURSE / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """The environment of a machine with `google.colab`, where GitHub is a folder of this disk."""
    folder = tmp_path_factory.mktemp("colab")
    (folder / "site" / "google" / "colab").mkdir(parents=True)
    (folder / "site" / "google" / "colab" / "__init__.py").touch()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "PYTHON"))}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    published = folder / "published.git"
    git = ["git", "-c", "user.name=A Teacher", "-c", "user.email=teacher@example.org"]
    git += [f"--git-dir={published}", f"--work-tree={COURSE}"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"], ["tag", build.RELEASE]):
        subprocess.run([*git, *command], cwd=COURSE, env=environment, check=True)
    return environment | {
        "PYTHONPATH": str(folder / "site"),
        "MPLBACKEND": "agg",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{published.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{build.REPOSITORY}",
    }


def run_first_cells(lesson, folder, environment):
    """A finished session in `folder`, also its home: the lesson up to the cell with the data."""
    cells = [c.source for c in nbformat.read(lesson, as_version=4).cells if c.cell_type == "code"]
    last = next(place for place, source in enumerate(cells) if "load_names" in source)
    before = "import google.colab, socket\nsocket.socket.connect = None  # only git may"
    return subprocess.run(
        [sys.executable, "-W", "error", "-"],
        input="\n".join([before, *cells[: last + 1], "print(lesson.__file__)"]),
        cwd=folder,
        env=environment | {"HOME": str(folder)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_fetches_the_course_once_and_finds_its_data(lesson, colab, tmp_path):
    first = run_first_cells(lesson, tmp_path, colab)
    assert (first.returncode, first.stderr) == (0, "")
    cache = tmp_path / ".cache" / "unit-gaussian"
    assert [path.name for path in cache.iterdir()] == [build.RELEASE]
    assert first.stdout.splitlines()[-1] == f"{cache / build.RELEASE}/helpers/lesson.py"
    neither_git_nor_network = {"PATH": "", "GIT_CONFIG_VALUE_0": "https://elsewhere.example"}
    again = run_first_cells(lesson, tmp_path, colab | neither_git_nor_network)
    assert (again.returncode, again.stdout, again.stderr) == (0, first.stdout, "")


def test_two_lessons_may_fetch_the_course_at_once(colab, tmp_path):
    with ThreadPoolExecutor() as pool:
        sessions = pool.map(lambda lesson: run_first_cells(lesson, tmp_path, colab), LESSONS[:2])
    assert [session.returncode for session in sessions] == [0, 0]


def test_without_a_network_a_lesson_says_what_to_do_and_leaves_nothing(colab, tmp_path):
    nowhere = {"GIT_CONFIG_KEY_0": "url.file:///nowhere.insteadOf"}
    result = run_first_cells(LESSONS[0], tmp_path, colab | nowhere)
    assert result.stderr.splitlines()[-1].startswith("RuntimeError: Open this notebook")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def pins(file):
    """The version of each package that a requirements file names."""
    return dict(re.findall(r"^([\w-]+)(.*)$", (COURSE / file).read_text("utf-8"), re.M))


def test_colabs_versions_have_the_torch_that_the_outputs_were_made_with():
    assert pins("tests/colab.txt")["torch"] == pins("requirements.txt")["torch"]


def test_colabs_versions_name_every_package_that_a_lesson_imports():
    sources = [*COURSE.glob("helpers/**/*.py"), *COURSE.glob("notebooks/src/*.py")]
    text = "\n".join(path.read_text("utf-8") for path in sources)
    imported = set(re.findall(r"^ *(?:import|from) (\w+)", text, re.M)) & {
        *pins("requirements.txt")
    }
    assert imported >= {"torch", "matplotlib", "numpy", "tqdm", "ipywidgets"}
    assert imported <= {*pins("tests/colab.txt")}
