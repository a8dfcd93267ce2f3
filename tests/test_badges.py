"""Where the course is on GitHub: said once, in build.py, and the same in every other place."""

import re
import shutil
import subprocess
import sys

import pytest

from notebooks import badges, build


@pytest.fixture
def course(tmp_path):
    """A copy of all that could name the repository."""
    copy = tmp_path / "course"
    unseen = shutil.ignore_patterns(".?*", "__pycache__", "build")
    return shutil.copytree(badges.COURSE, copy, ignore=unseen)


def contents(course):
    """The bytes of each file, except what Python leaves behind."""
    files = [path for path in course.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {path.relative_to(course).as_posix(): path.read_bytes() for path in files}


def make_badges(course, *arguments):
    command = [sys.executable, "-m", "notebooks.badges", *arguments]
    return subprocess.run(command, cwd=course, capture_output=True, text=True)


def test_readme_sources_and_notebooks_name_the_repository_and_release_of_build():
    assert badges.out_of_line() == {}, "run: make badges"


def test_every_badge_opens_a_notebook_that_is_there():
    readme = (badges.COURSE / "README.md").read_text("utf-8")
    place = f"https://colab.research.google.com/github/{build.REPOSITORY}/blob/{build.RELEASE}/"
    paths = re.findall(rf"{re.escape(place)}([^)]+)\)", readme)
    lessons = sorted((badges.COURSE / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    assert paths == [f"notebooks/{path.name}" for path in lessons]
    assert readme.count("colab.research.google.com") == len(paths)


def places(course):
    """The files that name the repository."""
    needle = build.REPOSITORY.encode()
    return {name for name, content in contents(course).items() if needle in content}


def test_another_repository_reaches_every_place_and_the_way_back_restores_every_byte(course):
    before, named = contents(course), places(course)
    assert make_badges(course, "some-body/another.course").returncode == 0
    after = contents(course)
    assert {name for name in before | after if before.get(name) != after.get(name)} == named
    assert not places(course)
    assert make_badges(course, build.REPOSITORY).returncode == 0
    assert contents(course) == before


def test_a_new_release_reaches_every_place(course):
    path = course / "notebooks" / "build.py"
    path.write_text(path.read_text("utf-8").replace(f'"{build.RELEASE}"', '"v9.9"'), "utf-8")
    assert make_badges(course).returncode == 0
    for name in places(course):
        text = (course / name).read_text("utf-8")
        assert "v9.9" in text
        assert build.RELEASE not in text


@pytest.mark.parametrize("name", ["course", "https://github.com/me/course", "me/course.git"])
def test_a_bad_name_is_refused_and_changes_nothing(course, name):
    before = contents(course)
    result = make_badges(course, name)
    assert result.returncode == 2
    assert f"{name} is no repository on GitHub" in result.stderr
    assert contents(course) == before
